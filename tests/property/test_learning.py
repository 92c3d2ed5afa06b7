"""A learned policy allows all that was learned, and no method that nobody was seen to use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.analysis.lint import Lint, lint
from authz_server.identity.settings import IdentitySettings
from authz_server.learning.files import check, files_of
from authz_server.learning.observations import Observations
from authz_server.learning.service import Wishes, learn_services
from authz_server.policy.files import policy_file
from authz_server.policy.loader import load_files
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan
from authz_server.replay.judge import Judge, Outcome
from authz_server.replay.recorded import read_record
from tests.recorded import record_of, user

METHODS = ("GET", "PUT", "DELETE", "POST")
PLACE = Path("learned")
SEGMENTS = st.one_of(
    st.sampled_from(
        ["orders", "items", "search", "v1", "c7-1", "c7-2", "c8-1", "2026-03-01", "2026-03-02", "a.b", "a b"]
    ),
    st.integers(0, 30).map(str),
    st.integers(0, 3).map(lambda n: f"0b9c7e1a-8c2b-4d3e-9f10-11223344556{n}"),
    st.text("abcxyz", min_size=1, max_size=3),
)
PATHS = st.tuples(st.lists(SEGMENTS, max_size=4), st.booleans()).map(
    lambda drawn: "/" + "/".join(drawn[0]).replace(" ", "%20") + ("/" if drawn[1] and drawn[0] else "")
)
CALLERS = st.sampled_from([None, "spiffe://shop.example/web", "spiffe://shop.example/app"])
USERS = st.sampled_from([None, user("ann"), user("bob"), user("ann", "partner")])
RECORDS = st.fixed_dictionaries(
    {
        "path": PATHS,
        "workload": CALLERS,
        "user": USERS,
        "method": st.sampled_from(METHODS),
        "host": st.sampled_from(["a.example", "b.example"]),
    }
)


def learned(lines: list[bytes], words: int) -> tuple[Plan, list[bytes]]:
    """The learned policies, and what they were learned from; everything that was written is good."""
    observations = Observations(None, None, allow_anonymous=True)
    observations.take(lines)
    services = learn_services(observations, Wishes(min_count=1, words=words))
    files = files_of(services, PLACE)
    checked = check(files, PLACE, services, {}, None, IdentitySettings(), 0.0)
    assert checked.good, (checked, files)
    found: list[Lint] = []

    def look(plan: Plan, parsed: Sequence[ParsedFile]) -> tuple[()]:
        found.extend(lint(plan, parsed, 0.0))
        return ()

    read = [policy_file(PLACE, name, content) for name, content in files.items()]
    plan = load_files(PLACE, read, (), judge=look).plan
    assert plan is not None
    assert found == []
    assert observations.records == len(lines)
    assert not observations.left
    return plan, lines


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=40), st.sampled_from([0, 3, 20]))
def test_what_was_learned_is_allowed_and_no_other_method(asked: list[dict[str, Any]], words: int) -> None:
    """For any requests, at the engine that serves."""
    plan, lines = learned([record_of(**each) for each in asked], words)
    judge = Judge(plan)
    for line in lines:
        outcome = judge.decide(read_record(line))
        assert (outcome.allowed, outcome.would_deny) == (True, False)
    # Templates say how many segments a path has, so that no method goes from one number of them to another.
    seen = {(each["method"], each["path"].count("/")) for each in asked}
    for each in asked:
        for method in METHODS:
            if (method, each["path"].count("/")) not in seen:
                assert not judge.decide(read_record(record_of(**each | {"method": method}))).allowed


@settings(max_examples=30, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=20))
def test_nobody_else_is_allowed_anything(asked: list[dict[str, Any]]) -> None:
    """A workload that is on no record, and no user."""
    plan, _ = learned([record_of(**each) for each in asked], 20)
    judge = Judge(plan)
    stranger = {"workload": "spiffe://shop.example/stranger", "user": None}
    for each in asked:
        assert isinstance(outcome := judge.decide(read_record(record_of(**each | stranger))), Outcome)
        assert not outcome.allowed
