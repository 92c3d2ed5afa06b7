"""What one set of policies says about one request: the phases of a check that depend on policies."""

from msgspec import Struct
from msgspec.structs import replace

from authz_server.errors import AUDITABLE, Reason, Refused
from authz_server.model import Request
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.demand import MIN_REVISION_EXTENSION, unmet_demand
from authz_server.policy.every_reading import decide_every
from authz_server.policy.index import PolicyIndex, ServiceIndex
from authz_server.policy.inputs import Input
from authz_server.policy.rehearse import Rehearsed, rehearse
from authz_server.request.operation import Operation, canonical_operation
from authz_server.request.readings import Reading, has_several, readings

SERVICE_EXTENSION = "service"
"""The route's `context_extensions` key that names the service."""


class Asked(Struct, frozen=True):
    """What is known of a request when policies are asked about it; nothing of it depends on them."""

    request: Request
    operation: Operation
    caller: Caller
    evaluation: Evaluation
    credential_came: bool
    fault: Refused | None = None
    """Why the credential is no good."""
    ambiguous: Refused | None = None
    """Why only a lenient service takes the path."""


class Judged(Struct, frozen=True):
    """What policies say, and which of them."""

    policies: PolicyIndex
    service: ServiceIndex | None
    """None where there is none, or none was asked."""
    rehearsed: Rehearsed
    obeyed: str | None = None
    """The rule that decided before audit was considered."""
    granted: bool = False
    """That rule allowed."""
    reads: tuple[Input, ...] = ()
    """What the rules have read, where they were asked."""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on, as of a decision."""
        reason = self.rehearsed.verdict.reason
        return reason is Reason.ALLOWED or (
            self.rehearsed.would_deny and self.rehearsed.mode == "audit" and reason in AUDITABLE
        )


def judge(policies: PolicyIndex, asked: Asked) -> Judged:
    """Ask these policies. A refusal, also for want of time, is what they say."""
    request, operation = asked.request, asked.operation
    service: ServiceIndex | None = None
    try:
        if MIN_REVISION_EXTENSION in request.extensions:
            demand_revision(request, policies)
        if asked.ambiguous is not None and not _is_lenient(policies, request, operation):
            raise asked.ambiguous
        fault = None if asked.fault is None else _unless_audited(asked.fault, request, operation, policies)
        # Which service's policy?
        service = _service(request, operation, policies)
        operation.headers.refuse_variants(service.protected)
        # Which rules apply? Deny overrides.
        caller, evaluation = asked.caller, asked.evaluation
        evaluations = [evaluation]
        if not service.lenient or not has_several(operation.path_text):
            verdict = fault or decide(service, operation, caller, evaluation, asked.credential_came)
        else:
            found = _readings(request, operation, service, policies)
            evaluations = [evaluation.reread(replace(operation, path=reading.path)) for reading in found]
            hows = [reading.how for reading in found]
            verdict = fault or decide_every(service, caller, evaluations, hows, asked.credential_came)
        rehearsed = rehearse(service, verdict, caller, evaluations) if service.audits else Rehearsed(verdict)
    except Refused as refusal:
        return Judged(policies, service, refusal_as_rehearsed(refusal))
    return Judged(policies, service, rehearsed, verdict.rule, verdict.reason is Reason.ALLOWED, service.inputs)


def refusal_as_rehearsed(refusal: Refused) -> Rehearsed:
    """A refusal as the verdict that it comes to."""
    return Rehearsed(Verdict(refusal.reason, detail=refusal.detail))


def demand_revision(request: Request, policies: PolicyIndex) -> None:
    """Raises Refused (`not_ready`) where the policies are older than the route demands, or that cannot be told."""
    unmet = unmet_demand(request.extensions[MIN_REVISION_EXTENSION], policies.number)
    if unmet is not None:
        raise Refused(Reason.NOT_READY, unmet)


def operation_for(request: Request, policies: PolicyIndex) -> tuple[Operation, Refused | None]:
    """The request in canonical form, and why only a lenient service takes its path, where that is so.

    Raises Refused, also where the service of these policies is not lenient.
    """
    try:
        return canonical_operation(request), None
    except Refused as refusal:
        if refusal.reason is not Reason.AMBIGUOUS_PATH or not policies.has_lenient:
            raise
        operation = canonical_operation(request, lenient=True)
        if not _is_lenient(policies, request, operation):
            raise
        return operation, refusal


def _is_lenient(policies: PolicyIndex, request: Request, operation: Operation) -> bool:
    service = policies.service(operation, request.extensions.get(SERVICE_EXTENSION))
    return service is not None and service.lenient


def _service(request: Request, operation: Operation, policies: PolicyIndex) -> ServiceIndex:
    named = request.extensions.get(SERVICE_EXTENSION)
    service = policies.service(operation, named)
    if service is None:
        detail = "no service has this host and path" if named is None else "the route names a service without policy"
        raise Refused(Reason.NO_SERVICE, detail)
    return service


def _unless_audited(refusal: Refused, request: Request, operation: Operation, policies: PolicyIndex) -> Verdict:
    """What a service in audit makes of a bad credential; raises the refusal for any other."""
    service = policies.service(operation, request.extensions.get(SERVICE_EXTENSION))
    if service is None or not service.audit or service.guards_users:
        raise refusal
    return Verdict(refusal.reason, detail=refusal.detail)


def _readings(request: Request, operation: Operation, service: ServiceIndex, policies: PolicyIndex) -> list[Reading]:
    """The readings of the path, all of which must be this service's. Raises Refused (`ambiguous_path`)."""
    found = readings(operation.path_text)
    if SERVICE_EXTENSION not in request.extensions and not policies.speaks_for_all(
        service, operation, [reading.path for reading in found]
    ):
        raise Refused(Reason.AMBIGUOUS_PATH, "the path is another service's, or nobody's, in one of its readings")
    return found
