"""Policies that take over services of those before them decide as if each had been made anew."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from authz_server.model import SpiffeId, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.index import PolicyIndex
from authz_server.policy.packing import pack
from authz_server.policy.plan import Plan, Service
from authz_server.worker.messages import PackedCandidate, Prepare
from authz_server.worker.snapshots import Snapshots
from tests.property.test_decisions import EVERYTHING, WORKLOADS, all_operations, services
from tests.unit.worker.test_server import SETTINGS

CLAIMS = [("orders.shop.example", "/"), ("orders.shop.example", "/a"), ("*", "/")]
"""Of which each service of a plan has one of its own."""
NAMES = ["s0", "s1", "s2"]
CALLERS = [Caller(Workload(SpiffeId(text, "td", tuple(text.split("/")[3:])), None), None, None) for text in WORKLOADS]
ASKED = [*CALLERS, Caller(None, EVERYTHING, None), Caller(None, None, None)]
OPERATIONS = all_operations("")[::4]


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    """Reloads one after the other: services of few kinds that change, go, change names and places, come back."""
    kinds = draw(st.lists(services(), min_size=2, max_size=3))
    drawn = []
    for number in range(draw(st.integers(2, 6))):
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        moved = draw(st.sampled_from([0, 0, 1]))
        made = [_named(draw(st.sampled_from(kinds)), name, NAMES.index(name) + moved) for name in names]
        drawn.append(Plan(f"r{number}", tuple(made)))
    return drawn


def _named(service: Service, name: str, claim: int) -> Service:
    host, prefix = CLAIMS[claim % len(CLAIMS)]
    return structs.replace(service, name=name, hosts=(host,), path_prefix=prefix)


def decisions(policies: PolicyIndex) -> list[Verdict | None]:
    """What everybody may do, by the service that a route names and by host and path."""
    verdicts: list[Verdict | None] = []
    for operation in OPERATIONS:
        for named in (None, *NAMES):
            service = policies.service(operation, named)
            for caller in ASKED:
                evaluation = Evaluation(operation, caller.workload, caller.user, 0.0)
                came = caller.user is not None
                verdicts.append(None if service is None else decide(service, operation, caller, evaluation, came))
    return verdicts


@settings(max_examples=40)
@given(plans(), st.data())
def test_a_worker_decides_after_reloads_as_one_that_has_just_started(chain: list[Plan], data: st.DataObject) -> None:
    """The policies and the candidate beside them, whatever was prepared in between and never activated."""
    snapshots = Snapshots(SETTINGS, lambda _issuer: None)
    fresh = {plan.revision: decisions(PolicyIndex(plan, ConditionRuntime(), ())) for plan in chain}
    for generation, plan in enumerate(chain):
        other = data.draw(st.sampled_from(chain))
        candidate = data.draw(st.sampled_from([None, PackedCandidate(pack(other), 100)]))
        snapshots.prepare(Prepare(generation, pack(plan), {}, {}, candidate=candidate))
        if data.draw(st.sampled_from([True, True, False])):
            snapshot = snapshots.activate(generation)
            assert decisions(snapshot.policies) == fresh[plan.revision]
            if snapshot.candidate is not None:
                assert decisions(snapshot.candidate.policies) == fresh[other.revision]
