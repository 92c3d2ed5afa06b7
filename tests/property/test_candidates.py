"""With a candidate all is decided as without one, and what is told of it is what it would decide by itself."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from authz_server.policy import candidate as candidates
from authz_server.policy.candidate import NOBODY, Candidate
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.rollout import Rollout
from tests.reference.asked import Asked
from tests.reference.engine import Engine
from tests.reference.worlds import World, ask

SEEDS = st.integers(0, 2**32)
REQUESTS = 30
EVERYBODY = Rollout(100, "workload")
SAID = ("decision", "reason", "rule", "would_deny")
BEFORE_POLICIES = {"workload_refused"}
"""Who a workload is does not depend on policies, but whether its path is looked at before does."""


class Scene:
    """Two worlds: the one's policies in force, and the other's as candidate."""

    def __init__(self, seed: int, other_seed: int, rollout: Rollout | None = None) -> None:
        runtime = ConditionRuntime()
        self.enforced = Engine(World(seed).documents)
        self.both, self.candidate = (Engine(World(each).documents, runtime) for each in (seed, other_seed))
        snapshots = [engine.snapshot for engine in (self.both, self.candidate)]
        assert all(snapshots)
        ours, theirs = [snapshot for snapshot in snapshots if snapshot is not None]
        self.both.snapshot = replace(ours, candidate=Candidate(theirs.policies, NOBODY, rollout=rollout))

    def differences(self, asked: Asked) -> list[Any]:
        """What a candidate that decides for nobody has changed, and what is told wrongly of it."""
        alone, other, both = (engine.answer(asked) for engine in (self.enforced, self.candidate, self.both))
        found: list[Any] = []
        own = {"decision_id", "latency_us", "compared"} | ({"inputs", "absent"} if both.record["compared"] else set())
        if both.record["reason"] == "ambiguous_path" and both.record["compared"]:
            own |= {"workload", "user", "token_hash", "via", "workload_by", "actor"}
        kept = [{name: value for name, value in each.record.items() if name not in own} for each in (alone, both)]
        if alone.said != both.said or kept[0] != kept[1]:
            found.append((alone.record, both.record))
        said = {name: other.record[name] for name in SAID}
        differs = said != {name: alone.record[name] for name in SAID}
        told = both.record["compared"]
        if not {alone.record["reason"], other.record["reason"]} & BEFORE_POLICIES and told != (
            {"revision": other.record["revision"], **said} if differs else None
        ):
            found.append((told, alone.record, other.record))
        return found


def requests(seed: int) -> list[Asked]:
    """The same for the same seed."""
    chance = Random(seed)  # noqa: S311 - nothing is protected by it
    return [ask(chance) for _ in range(REQUESTS)]


@settings(max_examples=20)
@given(SEEDS, SEEDS)
def test_a_candidate_changes_nothing_and_what_it_says_is_told(seed: int, other_seed: int) -> None:
    """The same answer and the same record, but for what is said of the candidate: its own decision."""
    scene = Scene(seed, other_seed)
    assert [found for asked in requests(seed ^ other_seed) for found in scene.differences(asked)] == []


def test_a_candidate_that_decides_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies that change places make a difference."""
    in_place = candidates.judge_alone

    def swapped(policies: Any, candidate: Candidate, asked: Any) -> Any:
        return in_place(candidate.policies, asked)

    monkeypatch.setattr("authz_server.pipeline.judge_both", swapped)
    assert any(Scene(seed, seed + 100).differences(asked) for seed in range(5) for asked in requests(seed))


@settings(max_examples=15)
@given(SEEDS, SEEDS)
def test_in_the_share_the_candidate_decides_as_it_would_by_itself(seed: int, other_seed: int) -> None:
    """Whoever has no workload is decided as ever, and so is a path that is refused in force."""
    scene = Scene(seed, other_seed, EVERYBODY)
    for asked in requests(seed ^ other_seed):
        alone, other, both = (engine.answer(asked) for engine in (scene.enforced, scene.candidate, scene.both))
        decided_by_candidate = both.record["policies"] == "candidate"
        refused = alone.record["reason"] in {"ambiguous_path", *BEFORE_POLICIES}
        assert not (decided_by_candidate and both.record["workload"] is None)
        if both.record["workload"] is not None and not refused and alone.record["service"] is not None:
            assert decided_by_candidate
        by = other if decided_by_candidate else alone
        assert both.code == by.code
        assert [both.record[name] for name in (*SAID, "revision")] == [by.record[name] for name in (*SAID, "revision")]
