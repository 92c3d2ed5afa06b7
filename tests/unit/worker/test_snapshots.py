"""Snapshots of a worker between their arrival and their use."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings, UpstreamTokens
from authz_server.identity.signing_keys import Rotation, private_document, rotated
from authz_server.policy.callers import Caller
from authz_server.policy.index import PolicyIndex
from authz_server.policy.packing import pack
from authz_server.policy.plan import Plan
from authz_server.policy.rollout import Rollout
from authz_server.request.operation import canonical_operation
from authz_server.snapshot import Snapshot
from authz_server.worker.messages import PackedCandidate, Prepare, SigningKeys
from authz_server.worker.snapshots import Snapshots, WrongGeneration, indexes_of
from tests.builders import plan_of, request
from tests.unit.worker.test_server import SETTINGS

NO_KEYS = b'{"keys": []}'

POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: all, effect: allow, from: anyone, when: request.method == "GET"}
"""


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, orders=POLICY)


@pytest.fixture(name="snapshots")
def _snapshots() -> Snapshots:
    return Snapshots(SETTINGS, lambda _issuer: None)


def parts(snapshot: Snapshot) -> list[object]:
    """What a snapshot is made of."""
    return [snapshot.policies, snapshot.verifiers.workloads, snapshot.verifiers.users]


def test_a_snapshot_is_used_when_it_is_activated(snapshots: Snapshots, plan: Plan) -> None:
    """Prepared first, and once."""
    snapshots.prepare(Prepare(1, pack(plan), {}, {}))
    assert snapshots.activate(1).policies.revision == plan.revision
    with pytest.raises(WrongGeneration):
        snapshots.activate(1)


def test_another_generation_is_not_activated(snapshots: Snapshots, plan: Plan) -> None:
    """The control process and the worker would mean different things."""
    snapshots.prepare(Prepare(1, pack(plan), {}, {}))
    with pytest.raises(WrongGeneration):
        snapshots.activate(2)


def test_policies_are_kept_where_only_keys_change(snapshots: Snapshots, plan: Plan) -> None:
    """Those of the active snapshot, not those of one that was never activated."""
    snapshots.prepare(Prepare(1, pack(plan), {}, {}))
    active = snapshots.activate(1)
    snapshots.prepare(Prepare(2, pack(structs.replace(plan, revision="never")), {}, {}))
    snapshots.prepare(Prepare(3, None, {}, {}))
    assert snapshots.activate(3).policies is active.policies


def test_verifiers_are_kept_where_only_policies_change(snapshots: Snapshots, plan: Plan) -> None:
    """An edit of policies costs no verified token; other keys or bundles cost all of them."""
    verifiers = []
    bundle = b""
    for generation, (keys, bundles) in enumerate(
        [({}, {}), ({}, {}), ({"corp": NO_KEYS}, {}), ({"corp": NO_KEYS}, {"shop.example": bundle})], start=1
    ):
        snapshots.prepare(Prepare(generation, pack(plan), keys, bundles))
        verifiers.append(snapshots.activate(generation).verifiers)
    assert verifiers[0] is verifiers[1]
    assert len({id(one) for one in verifiers}) == 3


def test_the_first_snapshot_needs_policies(snapshots: Snapshots) -> None:
    """There are none to keep."""
    with pytest.raises(WrongGeneration):
        snapshots.prepare(Prepare(1, None, {}, {}))


def test_a_snapshot_that_is_no_longer_used_is_freed_at_once(snapshots: Snapshots, plan: Plan) -> None:
    """Nothing in it refers to itself: what is frozen out of garbage collection would stay for ever."""
    snapshots.prepare(Prepare(1, pack(plan), {}, {}))
    gc.collect()
    gc.disable()
    try:
        old = [weakref.ref(part) for part in parts(snapshots.activate(1))]
        snapshots.prepare(Prepare(2, pack(plan), {"corp": NO_KEYS}, {}))
        snapshots.activate(2)
        assert [part() for part in old] == [None] * len(old)
    finally:
        gc.enable()


def test_where_upstreams_get_tokens_there_is_no_snapshot_without_keys(plan: Plan) -> None:
    """It would let a client's own copy through, or nothing."""
    identity = IdentitySettings(upstream_tokens=UpstreamTokens("x-authz-token", "a"))
    snapshots = Snapshots(structs.replace(SETTINGS, identity=identity), lambda _issuer: None)
    for keys in (None, SigningKeys(NO_KEYS)):
        with pytest.raises(ValueError, match="no keys"):
            snapshots.prepare(Prepare(1, pack(plan), {}, {}, signing_keys=keys))
    keys = SigningKeys(private_document(rotated((), 0.0, Rotation(60.0, 60.0))))
    snapshots.prepare(Prepare(1, pack(plan), {}, {}, signing_keys=keys))
    assert snapshots.activate(1).upstream_tokens is not None


def test_a_revocation_costs_no_verified_token(snapshots: Snapshots, plan: Plan) -> None:
    """The verifiers are others, of the generation under which the cached entries were verified."""
    revoked = Revocations(workloads=frozenset({"spiffe://shop.example/a"}))
    generations = []
    for generation, (keys, revocations) in enumerate(
        [({}, None), ({}, revoked), ({}, revoked), ({}, Revocations()), ({"corp": NO_KEYS}, Revocations())], start=1
    ):
        snapshots.prepare(Prepare(generation, pack(plan), keys, {}, revocations))
        verifiers = snapshots.activate(generation).verifiers
        generations.append((verifiers, verifiers.users.generation))
    assert [generation for _, generation in generations] == [1, 1, 1, 1, 5]
    assert generations[1][0] is generations[2][0]
    assert len({id(verifiers) for verifiers, _ in generations}) == 4


def packed(plan: Plan | None, **fields: Any) -> PackedCandidate:
    """A candidate as it is sent; None keeps the one before."""
    return PackedCandidate(None if plan is None else pack(plan), **{"sample": 100, **fields})


def test_a_candidate_stands_beside_the_policies(snapshots: Snapshots, plan: Plan) -> None:
    """This one, the one before with other settings, none: whatever becomes of the policies in force."""
    other = structs.replace(plan, revision="other")
    snapshots.prepare(Prepare(1, pack(plan), {}, {}, candidate=packed(other)))
    first = snapshots.activate(1)
    assert first.candidate is not None
    assert (first.policies.revision, first.candidate.policies.revision) == (plan.revision, "other")
    rollout = Rollout(10, "user")
    snapshots.prepare(Prepare(2, pack(plan), {}, {}, candidate=packed(None, sample=5, rollout=rollout)))
    second = snapshots.activate(2)
    assert second.candidate is not None
    assert second.candidate.policies is first.candidate.policies
    assert second.candidate.watch is first.candidate.watch, "what it has counted goes on"
    assert (second.candidate.sample, second.candidate.rollout) == (5, rollout)
    assert second.policies is not first.policies
    snapshots.prepare(Prepare(3, None, {}, {}))
    assert snapshots.activate(3).candidate is None
    with pytest.raises(WrongGeneration):
        snapshots.prepare(Prepare(4, None, {}, {}, candidate=packed(None)))


def test_policies_and_candidate_share_their_conditions(snapshots: Snapshots, plan: Plan) -> None:
    """Their variables are made once for a request; a reload of either changes nothing about that."""
    other = structs.replace(plan, revision="other")
    snapshots.prepare(Prepare(1, pack(plan), {}, {}, candidate=packed(other)))
    first = snapshots.activate(1)
    snapshots.prepare(Prepare(2, pack(structs.replace(plan, revision="next")), {}, {}, candidate=packed(None)))
    second = snapshots.activate(2)
    assert first.candidate is not None
    assert second.candidate is not None
    indexes = [first.policies, second.policies, first.candidate.policies, second.candidate.policies]
    assert len({id(condition_of(index)) for index in indexes}) == 1
    condition = weakref.ref(condition_of(indexes[0]))
    snapshots.prepare(Prepare(3, pack(structs.replace(plan, services=())), {}, {}))
    snapshots.activate(3)
    del first, second, indexes
    gc.collect()
    assert condition() is None, "what no policies hold is not kept"


def condition_of(index: PolicyIndex) -> object:
    """The condition of its only rule."""
    operation = canonical_operation(request())
    [rule] = index.named("orders").fitting(index.named("orders").allow, operation, Caller(None, None, None))
    assert rule.rule.condition is not None
    return rule.rule.condition


def test_what_was_left_is_told(snapshots: Snapshots, plan: Plan) -> None:
    """All policies of a snapshot, to be let go one after the other."""
    assert indexes_of(None) == []
    snapshots.prepare(Prepare(1, pack(plan), {}, {}, candidate=packed(plan)))
    active = snapshots.activate(1)
    assert active.candidate is not None
    assert indexes_of(active) == [active.policies, active.candidate.policies]
