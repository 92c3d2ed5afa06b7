"""What two policies decide differently, held against all combinations of small ones."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from authz_server.analysis.difference import Comparison, Flip, compare
from authz_server.errors import OUTCOMES, Reason
from authz_server.policy.loader import load_policies
from authz_server.policy.plan import Plan
from tests.reference.asked import Asked, Documents, Expected
from tests.reference.evaluator import evaluate
from tests.reference.pairs import CONDITIONS_OF_PAIRS, Pair
from tests.reference.worlds import NOW

PAIRS = int(os.environ.get("AUTHZ_PAIRS", "12"))


def plan_of(documents: Documents) -> Plan:
    """The plan of some documents."""
    with TemporaryDirectory() as directory:
        for name, document in documents.items():
            (Path(directory) / name).write_text(json.dumps(document))
        loaded = load_policies(Path(directory))
    assert loaded.plan is not None, [str(problem) for problem in loaded.problems]
    return loaded.plan


def seen(documents: Documents, expected: Expected) -> object:
    """What somebody outside notices of a decision."""
    if expected.reason != "allowed":
        return OUTCOMES[Reason(expected.reason)].http_status
    rules = {f"s/{rule['id']}": rule for rule in documents["s.yaml"]["rules"]}
    return str(rules[expected.rule or ""].get("answer"))


def asked_of(flip: Flip) -> Asked:
    """The example, as the reference is asked it."""
    action, who, given = flip.probe.action, flip.probe.who, flip.probe.circumstances
    user = None
    if who.user is not None:
        user = {
            "issuer": who.user.issuer,
            "sub": who.user.subject,
            "scopes": sorted(who.user.scopes),
            **who.user.claims,
        }
    upgrade = {"upgrade": action.upgrade, "connection": "upgrade"} if action.upgrade else {}
    return Asked(
        method=action.method,
        target=action.target,
        host=action.host,
        headers={**given.headers, **upgrade},
        workload=who.workload,
        user=user,
        address=who.address,
        port=action.port,
        now=given.now,
    )


def method_of(pair: Pair, asked: Asked, old: Expected, new: Expected) -> str:
    """The method, where it matters: all that the policies do not name are alike, and all where one has no service."""
    if "no_service" in (old.reason, new.reason) or asked.method not in repr((pair.old, pair.new)):
        return "another"
    return asked.method


def check_examples(pair: Pair, found: Comparison) -> set[object]:
    """Each example is what it is said to be; returns what the rows say."""
    rows: set[object] = set()
    for flip in found.flips:
        asked = asked_of(flip)
        old, new = (evaluate(each, asked, CONDITIONS_OF_PAIRS) for each in (pair.old, pair.new))
        assert (old, new) == (
            Expected(flip.old.reason, flip.old.rule),
            Expected(flip.new.reason, flip.new.rule),
        ), asked
        assert seen(pair.old, old) != seen(pair.new, new), asked
        assert not flip.supposed
        rows.add((method_of(pair, asked, old, new), old, new))
    return rows


@pytest.mark.parametrize("seed", range(PAIRS))
def test_the_differences_are_those_that_all_combinations_have(seed: int) -> None:
    """No combination is decided differently but has its row, and the example of each row is decided differently."""
    pair = Pair(seed)
    found = compare(plan_of(pair.old), plan_of(pair.new), NOW, timeout_s=600)
    assert not found.cut
    rows = check_examples(pair, found)
    for asked in pair.requests():
        old, new = (evaluate(each, asked, CONDITIONS_OF_PAIRS) for each in (pair.old, pair.new))
        if seen(pair.old, old) != seen(pair.new, new):
            assert (method_of(pair, asked, old, new), old, new) in rows, (asked, old, new)
