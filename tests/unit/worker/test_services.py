"""Services that have not changed are taken over by the policies that come next."""

import gc
import weakref
from pathlib import Path

import pytest
from msgspec import structs

from authz_server.policy.callers import Caller
from authz_server.policy.index import PolicyIndex, ServiceIndex
from authz_server.policy.packing import pack
from authz_server.policy.plan import Plan
from authz_server.request.operation import canonical_operation
from authz_server.worker import giving_way, main
from authz_server.worker.messages import PackedCandidate, Prepare
from authz_server.worker.snapshots import Snapshots
from tests.builders import plan_of, request
from tests.clocks import set_clock
from tests.unit.worker.test_server import SETTINGS

SERVICE = """
    kind: service
    name: {name}
    hosts: [{name}.shop.example]
    rules:
      - {{id: reads, effect: allow, from: anyone, to: [{{methods: [{method}]}}], when: has_user || now > timestamp(0)}}
"""


@pytest.fixture(name="snapshots")
def _snapshots() -> Snapshots:
    return Snapshots(SETTINGS, lambda _issuer: None)


def plan(directory: Path, **methods: str) -> Plan:
    """Policies with these services, each of which allows one method."""
    texts = {name: SERVICE.format(name=name, method=method) for name, method in methods.items()}
    return plan_of(directory / "-".join(f"{name}-{method}" for name, method in methods.items()), **texts)


def switched(snapshots: Snapshots, generation: int, plan: Plan, candidate: Plan | None = None) -> list[PolicyIndex]:
    """What decides after a reload, and the candidate beside it."""
    packed = None if candidate is None else PackedCandidate(pack(candidate), 100)
    snapshots.prepare(Prepare(generation, pack(plan), {}, {}, candidate=packed))
    snapshot = snapshots.activate(generation)
    return [snapshot.policies, *([] if snapshot.candidate is None else [snapshot.candidate.policies])]


def allows(index: ServiceIndex, method: str) -> bool:
    """Whether some rule of the service fits such a request."""
    operation = canonical_operation(request(method, host=f"{index.name}.shop.example"))
    return bool(index.fitting(index.allow, operation, Caller(None, None, None)))


def test_a_service_that_has_not_changed_is_the_same_object(snapshots: Snapshots, tmp_path: Path) -> None:
    """And one that has is another, however little has changed; hosts of a service are part of it."""
    first, carts, orders = (plan(tmp_path, carts=one, orders=two) for one, two in ("GG", "PG", "GP"))
    [before] = switched(snapshots, 1, first)
    [after] = switched(snapshots, 2, carts)
    assert after.named("orders") is before.named("orders")
    assert after.named("carts") is not before.named("carts")
    assert (allows(after.named("carts"), "P"), allows(after.named("carts"), "G")) == (True, False)
    [last] = switched(snapshots, 3, orders)
    assert last.named("carts") is before.named("carts"), "it is still there"
    assert last.named("orders") is not before.named("orders")
    moved = structs.replace(orders.services[0], hosts=("other.shop.example",))
    [elsewhere] = switched(snapshots, 4, structs.replace(orders, services=(moved, orders.services[1])))
    assert elsewhere.named("carts") is not last.named("carts")
    assert elsewhere.service(canonical_operation(request(host="other.shop.example")), None) is elsewhere.named("carts")
    assert elsewhere.service(canonical_operation(request(host="carts.shop.example")), None) is None


def test_a_candidate_shares_services_with_the_policies_in_force(snapshots: Snapshots, tmp_path: Path) -> None:
    """In the same snapshot, and when it takes their place."""
    [policies, candidate] = switched(snapshots, 1, plan(tmp_path, a="G", b="G"), plan(tmp_path, a="G", b="P"))
    assert candidate.named("a") is policies.named("a")
    assert candidate.named("b") is not policies.named("b")
    [promoted] = switched(snapshots, 2, plan(tmp_path, a="G", b="P"))
    assert [promoted.named(name) for name in "ab"] == [candidate.named(name) for name in "ab"]
    assert promoted.named("b") is candidate.named("b")


def test_what_only_a_snapshot_held_that_was_never_activated_is_gone(snapshots: Snapshots, tmp_path: Path) -> None:
    """As soon as another one is prepared; what it shared with the policies in force stays."""
    [active] = switched(snapshots, 1, plan(tmp_path, a="G", b="G"))
    snapshots.prepare(Prepare(2, pack(plan(tmp_path, a="G", b="P")), {}, {}))
    known = snapshots._services._known
    gone = [ref for ref in known.valuerefs() if ref() not in active.services]
    assert len(gone) == 1
    gc.collect()
    gc.disable()
    try:
        snapshots.prepare(Prepare(3, pack(plan(tmp_path, a="G")), {}, {}))
        assert gone[0]() is None
    finally:
        gc.enable()
    assert [one.name for one in known.values()] == ["a", "b"]
    assert snapshots.activate(3).policies.named("a") is active.named("a")


def test_what_has_left_is_freed_and_what_is_shared_stays_right(snapshots: Snapshots, tmp_path: Path) -> None:
    """Nothing else holds it: not what is known, and not what indexes remember of workloads."""
    [before] = switched(snapshots, 1, plan(tmp_path, a="G", b="G", c="G"))
    [now] = switched(snapshots, 2, plan(tmp_path, a="G", b="P"))
    shared, left = now.named("a"), [weakref.ref(before.named(name)) for name in "bc"]
    roots: list[object] = [before]
    del before
    gc.collect()
    gc.disable()
    try:
        main._let_go(roots, snapshots.shared)
        assert [ref() for ref in left] == [None, None]
    finally:
        gc.enable()
    assert len(snapshots._services._known) == 2
    assert now.named("a") is shared
    assert [allows(now.named(name), method) for name in "ab" for method in "GP"] == [True, False, False, True]


def test_what_is_shared_is_not_looked_through(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload costs what has changed, also when what was before is let go."""
    steps: list[float] = []
    # Each step takes a turn by this clock, so that there is a rest after each.
    set_clock(monkeypatch, giving_way, perf_counter=iter(range(1_000_000)).__next__, sleep=steps.append)
    rests = []
    for changed in ("a", "abcdefgh"):
        [before] = switched(snapshots, 1, plan(tmp_path, **dict.fromkeys("abcdefgh", "G")))
        switched(snapshots, 2, plan(tmp_path, **{name: "P" if name in changed else "G" for name in "abcdefgh"}))
        roots: list[object] = [before]
        del before
        steps.clear()
        main._let_go(roots, snapshots.shared)
        rests.append(len(steps))
    assert rests[0] < rests[1] / 3


def test_who_serves_nothing_yet_does_not_rest(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody to give way to before the first snapshot is activated, and somebody ever after."""
    rests: list[float] = []
    set_clock(monkeypatch, giving_way, perf_counter=iter(range(1_000_000)).__next__, sleep=rests.append)
    switched(snapshots, 1, plan(tmp_path, a="G"))
    assert rests == []
    switched(snapshots, 2, plan(tmp_path, a="G"))
    assert len(rests) == 1, "nothing has to be indexed"
    switched(snapshots, 3, plan(tmp_path, a="P"))
    assert len(rests) > 2
