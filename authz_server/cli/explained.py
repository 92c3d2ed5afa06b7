"""Why one request was decided as it was: what came of each rule, and of each reading of its path."""

from authz_server.errors import Refused
from authz_server.identity.settings import IdentitySettings
from authz_server.model import Decision, Request
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import decide
from authz_server.policy.every_reading import denial_to_tell, operations_of
from authz_server.policy.explain import Explained, Explanation, ReadingOutcome
from authz_server.policy.index import PolicyIndex
from authz_server.policy.plan import Plan


def explained(
    decision: Decision, request: Request, plan: Plan, identity: IdentitySettings, max_body: int, nearest: int
) -> Explained:
    """Hold a request against the rules of the service that it was decided by; empty where they were not asked.

    So many of the nearest allow rules are told with everything that they lack.
    """
    service = next((each for each in plan.services if each.name == decision.service), None)
    try:
        read = [] if service is None else operations_of(request, lenient=service.lenient)
    except Refused:
        read = []
    if service is None or not read:
        return Explained()
    runtime, headers = ConditionRuntime(), identity.identity_headers
    caller = Caller(decision.workload, decision.user, read[0][0].client_ip)
    who = (decision.workload, decision.user, decision.time)
    evaluations = [Evaluation(each, *who, request, max_body) for each, _ in read]
    index = PolicyIndex(Plan("", (service,)), runtime, headers).service(read[0][0], service.name)
    assert index is not None  # noqa: S101 - it was just put there
    came = decision.user is not None
    verdicts = [decide(index, each.operation, caller, each, came) for each in evaluations]
    chosen = evaluations[denial_to_tell(verdicts) or 0]
    explanation = Explanation(service, runtime, headers, chosen.operation, caller, chosen)
    of_readings = [
        ReadingOutcome(operation.path_text, how, verdict.reason, verdict.rule)
        for (operation, how), verdict in zip(read, verdicts, strict=True)
    ]
    readings = of_readings if len(read) > 1 else []
    return Explained(explanation.outcomes(), readings, explanation.nearest(nearest))
