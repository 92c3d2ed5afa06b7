"""What is said about rules agrees with what the engine decides by them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.errors import Reason
from authz_server.model import User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.explain import FITS, Explanation
from authz_server.policy.index import PolicyIndex
from authz_server.policy.plan import Plan, Service
from tests.property.test_decisions import addresses, all_operations, fits, people, services, verdict, workloads


@settings(max_examples=200)
@given(services(), addresses, workloads, people, st.data())
def test_a_rule_is_said_to_fit_exactly_when_it_does(
    service: Service, address: str, workload: Workload | None, user: User | None, data: st.DataObject
) -> None:
    """So the explanation of a denial never says that an allow rule fits, and that of a permission names its rule."""
    operation = data.draw(st.sampled_from(all_operations(address)))
    caller = Caller(workload, user, operation.client_ip)
    evaluation = Evaluation(operation, workload, user, 0.0)
    runtime = ConditionRuntime()
    outcomes = Explanation(service, runtime, (), operation, caller, evaluation).outcomes()
    assert [each.rule for each in outcomes] == [rule.id for rule in service.rules]
    said = {each.rule for each in outcomes if each.outcome == FITS}
    assert said == {rule.id for rule in service.rules if fits(rule, operation, caller)}
    got = verdict(PolicyIndex(Plan("r", (service,)), runtime, ()), operation, workload, user)
    if got.reason in (Reason.NO_RULE_ALLOWS, Reason.UNAUTHENTICATED):
        assert said == set()
    else:
        assert got.rule in said
