"""Narrower policies that are suggested open nothing, and allow everything that is on record."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.documents.load import parse
from authz_server.policy.files import policy_file
from authz_server.policy.loader import load_files
from authz_server.pruning.narrower import Policies
from authz_server.pruning.narrowing import narrowings_of
from authz_server.pruning.suggestion import Suggestion, suggest
from authz_server.usage.counting import Counting
from authz_server.usage.findings import findings_of
from authz_server.usage.state import State
from tests.property.test_reference import SEEDS, Documents, engine_of, requests
from tests.reference.worlds import NOW, World

DAY = 86_400.0
LATER = NOW + DAY
DIRECTORY = Path("policies")


def policies_of(documents: Documents) -> Policies:
    """The documents as they are loaded."""
    files = [policy_file(DIRECTORY, name, json.dumps(document).encode()) for name, document in documents.items()]
    plan = load_files(DIRECTORY, files, ()).plan
    assert plan is not None
    return Policies(DIRECTORY, files, plan)


def suggested(documents: Documents, records: list[dict[str, Any]]) -> Suggestion:
    """What is suggested when these are on record; what takes long is not compared, and holds all the same."""
    policies = policies_of(documents)
    lines = [msgspec.json.encode(record) for record in records]
    counting = Counting(State(began=NOW - 100 * DAY))
    counting.take_up(policies.plan, NOW - 100 * DAY)
    counting.add(lines)
    narrowings = narrowings_of(findings_of(counting.state, policies.plan, LATER, 30), policies.plan)
    return suggest(policies, narrowings, lambda: lines, NOW, timeout_s=0.5)


def narrower(documents: Documents, suggestion: Suggestion) -> Documents:
    """The documents after the suggestion."""
    changed = dict(documents)
    for name, (_, content) in suggestion.files.items():
        document, problems = parse(content, name)
        assert document is not None
        assert not problems
        changed[name] = document.root.value
    return changed


@settings(max_examples=15)
@given(SEEDS, st.integers(0, 40))
def test_a_suggestion_opens_nothing_and_keeps_what_is_on_record(seed: int, recorded: int) -> None:
    """For any policies and requests, of which only the first are on record; decided by the engine that serves."""
    documents = World(seed).documents
    engine = engine_of(documents)
    asked = requests(seed)
    before = [engine.answer(each).record for each in asked]
    suggestion = suggested(documents, before[:recorded])
    narrowed = engine_of(narrower(documents, suggestion))
    after = [narrowed.answer(each).record for each in asked]
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        assert old["decision"] == "allow" or new["decision"] == "deny"
        assert new["decision"] == old["decision"] or number >= recorded


def test_something_is_suggested() -> None:
    """A suggestion that leaves everything as it is would prove nothing."""
    kinds: set[str] = set()
    for seed in range(6):
        documents = World(seed).documents
        engine = engine_of(documents)
        records = [engine.answer(each).record for each in requests(seed)]
        for narrowing in suggested(documents, records).narrowings:
            kinds |= {
                "rule" if not edit.place else f"{edit.place[0]}{'' if edit.becomes is None else f' {edit.place[-1]}'}"
                for edit in narrowing.edits
            }
    assert {"rule", "from", "to", "to paths"} <= kinds
