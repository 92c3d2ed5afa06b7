"""The engine decides as the reference evaluator does, and as the laws of the policy language demand."""

from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from authz_server.policy import index
from tests.reference.asked import Asked, Expected
from tests.reference.engine import Engine
from tests.reference.evaluator import evaluate
from tests.reference.worlds import CONDITIONS, TARGETS, World, ask

SEEDS = st.integers(0, 2**32)
REQUESTS = 40
Documents = dict[str, dict[str, Any]]


def requests(seed: int, count: int = REQUESTS) -> list[Asked]:
    """The same for the same seed."""
    chance = Random(seed)  # noqa: S311 - nothing is protected by it
    return [ask(chance) for _ in range(count)]


def engine_of(documents: Documents) -> Engine:
    """The engine with these documents, which are good."""
    engine = Engine(documents)
    assert not engine.problems, "\n".join(map(str, engine.problems))
    return engine


def differences(seed: int) -> list[tuple[Asked, Expected, Expected]]:
    """Where engine and reference disagree about the requests of a world."""
    documents = World(seed).documents
    engine = engine_of(documents)
    found = []
    for asked in requests(seed):
        answer, expected = engine.answer(asked), evaluate(documents, asked, CONDITIONS)
        if answer.decided != expected or (answer.code == 0) is not (expected.reason == "allowed"):
            found.append((asked, answer.decided, expected))
    return found


@settings(max_examples=60)
@given(SEEDS)
def test_the_engine_decides_as_the_reference_does(seed: int) -> None:
    """The same reason and the same rule, from the bytes of the message to the record."""
    assert differences(seed) == []


def test_a_broken_engine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that are in force at the wrong time make a difference."""
    monkeypatch.setattr(index.Candidate, "exists", lambda _candidate, _now: True)
    assert any(differences(seed) for seed in range(10))


@settings(max_examples=15)
@given(SEEDS)
def test_the_order_of_files_and_rules_changes_nothing(seed: int) -> None:
    """Nor the same rule again under another id, as to whether a request is allowed."""
    documents = World(seed).documents
    chance = Random(seed)  # noqa: S311 - nothing is protected by it
    shuffled: Documents = {}
    for name in chance.sample(list(documents), len(documents)):
        document = deepcopy(documents[name])
        if "rules" in document:
            again = [{**rule, "id": f"{rule['id']}-again"} for rule in document["rules"]]
            document["rules"] = chance.sample([*document["rules"], *again], 2 * len(again))
        shuffled[name] = document
    before, after = engine_of(documents), engine_of(shuffled)
    for asked in requests(seed):
        assert before.answer(asked).decided.reason == after.answer(asked).decided.reason


@settings(max_examples=15)
@given(SEEDS, SEEDS, st.sampled_from(["allow", "deny"]))
def test_one_more_rule_moves_decisions_in_its_own_direction(seed: int, other: int, effect: str) -> None:
    """A deny rule never allows more, an allow rule never denies more."""
    documents = World(seed).documents
    services = sorted(name for name, document in documents.items() if document["kind"] == "service")
    for name in services:
        # Of any rule that may be added.
        documents[name]["body"] = "json"
    more = deepcopy(documents)
    added = World(other).rule("added", effect)
    for name in services:
        if "path_prefix" not in more[name]:
            more[name]["rules"].append(added)
    before, after = engine_of(documents), engine_of(more)
    for asked in requests(seed):
        was, now = before.answer(asked).code == 0, after.answer(asked).code == 0
        assert was or not now or effect == "allow"
        assert now or not was or effect == "deny"


MUTATIONS = ["{}/", "{}.", "{}..", "{}%20", "{}./", "{}%20%20", "{}.%20"]


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(MUTATIONS))
def test_no_spelling_of_a_path_escapes_a_deny_rule(seed: int, mutation: str) -> None:
    """A path that is denied by a rule stays denied in other case, with trailing slashes, dots and spaces."""
    documents = World(seed).documents
    for document in documents.values():
        for rule in document.get("rules", []):
            # Conditions may tell spellings apart.
            rule.pop("when", None)
    engine = engine_of(documents)
    for asked in requests(seed):
        if engine.answer(asked).decided.reason != "denied_by_rule" or "?" in asked.target or asked.target.endswith("/"):
            continue
        for target in (mutation.format(asked.target), asked.target.upper(), asked.target.swapcase()):
            assert engine.answer(replace(asked, target=target)).code != 0, (asked, target)


LENIENT_MUTATIONS = [
    *("/x/..{}", "/x%2f..{}", "/x/..;{}", "/x\\..{}", "/x/%252e%252e{}", "/.{}", "/%2e{}", "/{}", "//x{}"),
    *("{};p", "{}%3bp", "{}%3fq", "{}%23f", "{}/x/..", "{}/%2e", "{}%2f", "{}%5c", "{}\\"),
]


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(LENIENT_MUTATIONS))
def test_no_reading_of_a_path_escapes_a_deny_rule(seed: int, mutation: str) -> None:
    """Where all services are lenient: what some backend may take for a path that a rule denies is denied."""
    documents = World(seed).documents
    for document in documents.values():
        if document["kind"] == "service":
            document["paths"] = "lenient"
        for rule in document.get("rules", []):
            # Conditions may tell spellings apart.
            rule.pop("when", None)
    engine = engine_of(documents)
    for asked in requests(seed):
        plain = not set("?%;\\") & set(asked.target) and not any(part in asked.target for part in ("//", "/."))
        if plain and asked.target != "/" and engine.answer(asked).decided.reason == "denied_by_rule":
            target = mutation.format(asked.target)
            assert engine.answer(replace(asked, target=target)).code != 0, (asked, target)


def test_the_requests_meet_the_rules() -> None:
    """Worlds in which everything is denied would prove nothing."""
    seen: dict[str, int] = {}
    for seed in range(25):
        engine = engine_of(World(seed).documents)
        for asked in requests(seed):
            reason = engine.answer(asked).decided.reason
            seen[reason] = seen.get(reason, 0) + 1
    assert seen["allowed"] > 40
    assert seen["denied_by_rule"] > 40
    assert {
        "body_incomplete",
        "unauthenticated",
        "step_up_required",
        "deny_rule_error",
        "no_rule_allows",
        "no_service",
    } <= set(seen)
    assert len(TARGETS) > 30
