"""One check from request to decision: the phases in their order."""

import random
import re
from collections.abc import Callable

from msgspec.structs import replace

from authz_server.errors import Reason, Refused
from authz_server.identity.user import VerifiedToken
from authz_server.model import BodyFormat, Decision, Request, UpstreamToken, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import Evaluation
from authz_server.policy.conditions.evaluation import never
from authz_server.policy.decide import NO_ANSWER, Verdict, decide
from authz_server.policy.demand import MIN_REVISION_EXTENSION, unmet_demand
from authz_server.policy.every_reading import decide_every
from authz_server.policy.index import ServiceIndex
from authz_server.policy.inputs import NO_INPUTS, read_inputs
from authz_server.policy.rehearse import Rehearsed, rehearse
from authz_server.request.accept import accepted_format, denial_format
from authz_server.request.address import client_ip_text
from authz_server.request.api_key import shown_key
from authz_server.request.dpop import check_target, shown_proof
from authz_server.request.headers import Authorization
from authz_server.request.jwt_svid import AUTHORIZATION, shown_svid
from authz_server.request.operation import Operation, canonical_operation
from authz_server.request.readings import Reading, has_several, readings
from authz_server.request.traits import traits
from authz_server.snapshot import Snapshot, Verifiers

# Written plainly or with escapes, which a lenient service takes.
_PARAMETERS = re.compile("[;?#]|%(?:25)*(?:3[BbFf]|23)", re.ASCII)
_USER_INFO = re.compile("(?<=://)[^/]*@", re.ASCII)
DPOP = "dpop"
"""The scheme of tokens that come with a proof."""
_VERSION_AND_VARIANT = 7 << 76 | 2 << 62
_AFTER_VARIANT = (1 << 62) - 1
SERVICE_EXTENSION = "service"
"""The route's `context_extensions` key that names the service."""


def check(request: Request, snapshot: Snapshot, now: float, is_late: Callable[[], bool] = never) -> Decision:
    """Decide one request at the time `now` (seconds since the epoch). Waits for nothing.

    When `is_late`, no further condition is begun that may take long: the request is denied (`deadline`).
    """
    workload: Workload | None = None
    credential: Authorization | None = None
    token: VerifiedToken | None = None
    service: ServiceIndex | None = None
    obeyed: str | None = None
    inputs = NO_INPUTS
    upstream_token: UpstreamToken | None = None
    if snapshot.verifiers.proxies is not None:
        request = snapshot.verifiers.proxies.behind(request)
    try:
        if MIN_REVISION_EXTENSION in request.extensions:
            _demand_revision(request.extensions[MIN_REVISION_EXTENSION], snapshot)
        # 1 Reject what is malformed or ambiguous.
        operation = _operation(request, snapshot)
    except Refused as refusal:
        return refused(request, refusal.reason, refusal.detail, now, snapshot)
    id = decision_id(now)
    try:
        # 2 Who is the workload?
        workload = snapshot.verifiers.workloads.identify(request, now)
        svids, shown = snapshot.verifiers.svids, None
        if svids is not None:
            shown = shown_svid(operation.headers, svids.header)
            workload = workload if shown is None else svids.identify(shown, workload, now)
        # 3 Who is the user? A bad credential does not make the caller anonymous.
        fault: Verdict | None = None
        keys, key = snapshot.verifiers.api_keys, None
        try:
            if svids is None or svids.header != AUTHORIZATION:
                credential = operation.headers.authorization()
            if keys is not None:
                key = shown_key(operation.headers, keys.header)
            if keys is not None and key is not None:
                token = keys.verify(_only(key, credential), operation.client_ip, now)
            elif credential is not None:
                token = _verified(credential, operation, workload, snapshot.verifiers, now)
        except Refused as refusal:
            fault = _unless_audited(refusal, request, operation, snapshot)
        # 4 Which service's policy?
        service = _service(request, operation, snapshot)
        operation.headers.refuse_variants(service.protected)
        # 5 Which rules apply? Deny overrides.
        user = None if token is None else token.user
        evaluation = Evaluation(operation, workload, user, now, request, snapshot.max_body, is_late)
        caller = Caller(workload, user, operation.client_ip)
        evaluations, came = [evaluation], (credential or key) is not None
        if not service.lenient or not has_several(operation.path_text):
            verdict = fault or decide(service, operation, caller, evaluation, came)
        else:
            found = _readings(request, operation, service, snapshot)
            evaluations = [evaluation.reread(replace(operation, path=reading.path)) for reading in found]
            hows = [reading.how for reading in found]
            verdict = fault or decide_every(service, caller, evaluations, hows, came)
        obeyed = verdict.rule
        rehearsed = rehearse(service, verdict, caller, evaluations) if service.audits else Rehearsed(verdict)
        # Last, because of the body only what rules have read is on record.
        inputs = read_inputs(evaluation, service.inputs)
        if snapshot.upstream_tokens is not None and verdict.reason is Reason.ALLOWED:
            about = (operation.method, operation.path_text)
            upstream_token = snapshot.upstream_tokens.sign(id, service.name, workload, user, *about, now)
    except Refused as refusal:
        rehearsed = Rehearsed(Verdict(refusal.reason, detail=refusal.detail))
    verdict, path = rehearsed.verdict, _recorded_path(operation)
    # 6 Shape the answer.
    return Decision(
        id=id,
        time=now,
        revision=snapshot.policies.revision,
        stale=snapshot.stale,
        reason=verdict.reason,
        detail=verdict.detail,
        rule=verdict.rule,
        service=None if service is None else service.name,
        mode=rehearsed.mode,
        would_deny=rehearsed.would_deny,
        audited=rehearsed.rules,
        workload=workload,
        user=None if token is None else token.user,
        token_hash=None if token is None else token.token_hash,
        method=operation.method,
        host=operation.host,
        path=path,
        client_ip=client_ip_text(request.client_address),
        request_id=operation.id or None,
        trace_id=operation.trace_id,
        inputs=inputs.found,
        absent=inputs.absent,
        traits=traits(operation, routed=SERVICE_EXTENSION in request.extensions, cut=path != operation.path_text),
        answer=verdict.answer,
        with_proof=credential is not None and credential.scheme == DPOP,
        body_format="problem" if verdict.reason is Reason.ALLOWED else _body_format(operation),
        upstream_token=upstream_token,
        record_class=None if service is None else service.record_class_of(obeyed),
        items=verdict.items,
    )


def refused(request: Request, reason: Reason, detail: str, now: float, snapshot: Snapshot | None = None) -> Decision:
    """The decision about a request that no policy was asked about, under the snapshot of the moment."""
    return Decision(
        id=decision_id(now),
        time=now,
        revision="" if snapshot is None else snapshot.policies.revision,
        stale=snapshot is not None and snapshot.stale,
        reason=reason,
        detail=detail,
        method=request.method or None,
        host=_bare_host(request),
        path=_bare_path(request),
        client_ip=client_ip_text(request.client_address),
        request_id=request.id or None,
        body_format=denial_format(request.headers),
    )


def unrecorded(decision: Decision, request: Request, refusal: Refused) -> Decision:
    """The denial in place of a decision whose record can be kept nowhere."""
    return replace(
        decision,
        reason=refusal.reason,
        detail=refusal.detail,
        rule=None,
        items=None,
        mode="enforce",
        would_deny=False,
        audited=(),
        answer=NO_ANSWER,
        body_format=denial_format(request.headers),
        upstream_token=None,
        record_class="best_effort",
    )


def shed(calls: int, reason: Reason, now: float) -> Decision:
    """The decision about so many calls that nobody has read."""
    return Decision(
        id=decision_id(now),
        time=now,
        revision="",
        reason=reason,
        detail="calls waited for their turn longer than they can be made to",
        shed=calls,
    )


def decision_id(now: float) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): in the order of time, unique, and no secret."""
    time_ms, chance = int(now * 1000) & 0xFFFFFFFFFFFF, random.getrandbits(74)
    digits = f"{time_ms << 80 | _VERSION_AND_VARIANT | chance >> 62 << 64 | chance & _AFTER_VARIANT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _bare_path(request: Request) -> str | None:
    """The path of a request that was refused, without what may be secret: parameters, query, fragment."""
    return _PARAMETERS.split(_USER_INFO.sub("", request.target, count=1), maxsplit=1)[0] or None


def _recorded_path(operation: Operation) -> str:
    """The path without what may be secret; one that is taken has parameters in a lenient service only."""
    path_text = operation.path_text
    return _PARAMETERS.split(path_text, maxsplit=1)[0] if ";" in path_text or "%" in path_text else path_text


def _bare_host(request: Request) -> str | None:
    """The host of a request that was refused, without user and password."""
    return request.host.rpartition("@")[2] or None


def _demand_revision(wanted: str, snapshot: Snapshot) -> None:
    """Raises Refused (`not_ready`) where the policies are older than the route demands, or that cannot be told."""
    unmet = unmet_demand(wanted, snapshot.policies.number)
    if unmet is not None:
        raise Refused(Reason.NOT_READY, unmet)


def _operation(request: Request, snapshot: Snapshot) -> Operation:
    """The request in canonical form; a path with several readings is taken where it is a lenient service's as sent."""
    try:
        return canonical_operation(request)
    except Refused as refusal:
        if refusal.reason is not Reason.AMBIGUOUS_PATH or not snapshot.policies.has_lenient:
            raise
        operation = canonical_operation(request, lenient=True)
        service = snapshot.policies.service(operation, request.extensions.get(SERVICE_EXTENSION))
        if service is None or not service.lenient:
            raise
        return operation


def _readings(request: Request, operation: Operation, service: ServiceIndex, snapshot: Snapshot) -> list[Reading]:
    """The readings of the path, all of which must be this service's. Raises Refused (`ambiguous_path`)."""
    found = readings(operation.path_text)
    if SERVICE_EXTENSION not in request.extensions and not snapshot.policies.speaks_for_all(
        service, operation, [reading.path for reading in found]
    ):
        raise Refused(Reason.AMBIGUOUS_PATH, "the path is another service's, or nobody's, in one of its readings")
    return found


def _verified(
    credential: Authorization, operation: Operation, workload: Workload | None, verifiers: Verifiers, now: float
) -> VerifiedToken:
    """The user's token, and whatever proof its binding asks for. Raises Refused, IntrospectionNeeded."""
    token, fingerprint = credential.credentials, _fingerprint(workload)
    if credential.scheme != DPOP:
        return verifiers.users.verify(token, now, fingerprint)
    if verifiers.proofs is None:
        raise Refused(Reason.TOKEN_INVALID, "the scheme `DPoP` is not accepted without `dpop` in the configuration")
    proof = verifiers.proofs.read(shown_proof(operation.headers), token, now)
    check_target(proof.method, proof.uri, operation, verifiers.proofs.scheme)
    verified = verifiers.users.verify(token, now, fingerprint, proof.thumbprint)
    # Last: only a proof of a good token is worth the verification, and a place in memory.
    verifiers.proofs.prove(proof, now)
    return verified


def _only(key: str, credential: Authorization | None) -> str:
    """The API key, where no token came beside it: the two could name two users."""
    if credential is not None:
        raise Refused(Reason.TOKEN_INVALID, "an API key came, and a token beside it")
    return key


def _unless_audited(refusal: Refused, request: Request, operation: Operation, snapshot: Snapshot) -> Verdict:
    """What a service in audit makes of a bad credential; raises the refusal for any other."""
    service = snapshot.policies.service(operation, request.extensions.get(SERVICE_EXTENSION))
    if service is None or not service.audit or service.guards_users:
        raise refusal
    return Verdict(refusal.reason, detail=refusal.detail)


def _body_format(operation: Operation) -> BodyFormat:
    return accepted_format(operation.headers.raw("accept"), is_grpc=operation.is_grpc)


def _fingerprint(workload: Workload | None) -> str | None:
    """That of the certificate that the proxy itself has verified."""
    if workload is None or workload.certificate is None or workload.via is not None:
        return None
    return workload.certificate.fingerprint


def _service(request: Request, operation: Operation, snapshot: Snapshot) -> ServiceIndex:
    named = request.extensions.get(SERVICE_EXTENSION)
    service = snapshot.policies.service(operation, named)
    if service is None:
        detail = "no service has this host and path" if named is None else "the route names a service without policy"
        raise Refused(Reason.NO_SERVICE, detail)
    return service
