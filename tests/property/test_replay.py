"""A record that is replayed on other policies gives what they decide about the whole request, or nothing."""

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.policy.plan import Plan
from authz_server.replay.judge import Judge, Outcome
from authz_server.replay.recorded import Undecidable, read_record
from tests.property.test_reference import SEEDS, Documents, engine_of, requests
from tests.reference.engine import Engine
from tests.reference.worlds import World


def in_audit(documents: Documents, seed: int) -> Documents:
    """The documents with some rules and services in audit, for some seeds."""
    for number, document in enumerate(documents.values()):
        if document["kind"] == "service" and (seed + number) % 4 == 0:
            document["mode"] = "audit"
        for place, rule in enumerate(document.get("rules", []) if document["kind"] == "service" else []):
            if (seed + number + place) % 7 == 0:
                rule["mode"] = "audit"
    return documents


def outcomes(recorded_on: Engine, replayed_on: Engine, seed: int) -> list[tuple[Outcome | str, Outcome]]:
    """For each request what the replay says, and what is decided."""
    judge = Judge(plan_of(replayed_on))
    found: list[tuple[Outcome | str, Outcome]] = []
    for asked in requests(seed):
        record = read_record(msgspec.json.encode(recorded_on.answer(asked).record))
        answer = replayed_on.answer(asked).record
        decided = Outcome(answer["decision"] == "allow", answer["reason"], answer["rule"], answer["would_deny"])
        try:
            found.append((judge.decide(record), decided))
        except Undecidable as error:
            found.append((error.why, decided))
    return found


def plan_of(engine: Engine) -> Plan:
    """The compiled policies of an engine."""
    assert engine.plan is not None
    return engine.plan


@settings(max_examples=60)
@given(SEEDS, SEEDS, st.booleans())
def test_a_replay_is_right_or_undecidable(seed: int, other: int, audits: bool) -> None:
    """For any two sets of policies and any request."""
    before, after = World(seed).documents, World(other).documents
    if audits:
        before, after = in_audit(before, seed), in_audit(after, other)
    for replayed, decided in outcomes(engine_of(before), engine_of(after), seed):
        assert isinstance(replayed, str) or replayed == decided


@settings(max_examples=20)
@given(SEEDS)
def test_the_same_policies_decide_as_they_did(seed: int) -> None:
    """Where they can, and that is most of what was asked of rules."""
    engine = engine_of(World(seed).documents)
    for replayed, decided in outcomes(engine, engine, seed):
        assert isinstance(replayed, str) or replayed == decided


def test_most_records_are_decided() -> None:
    """A replay that finds everything undecidable would prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        found = outcomes(engine_of(World(seed).documents), engine_of(World(seed + 100).documents), seed)
        seen.update(each if isinstance(each, str) else each.reason for each, _ in found)
    assert seen["allowed"] > 20
    assert seen["denied_by_rule"] > 20
    assert {"no_rule_allows", "unauthenticated", "no_service", "ambiguous_path"} <= set(seen)
    assert seen["not_recorded"] < sum(seen.values()) / 3
