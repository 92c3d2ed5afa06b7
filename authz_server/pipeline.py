"""One check from request to decision: the phases in their order."""

import random
import re
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from authz_server.errors import Reason, Refused
from authz_server.identity.introspection import IntrospectionNeeded
from authz_server.identity.user import VerifiedToken
from authz_server.model import BodyFormat, Decision, Request, UpstreamToken, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.candidate import Both, compare, judge_alone, judge_both
from authz_server.policy.conditions import Evaluation
from authz_server.policy.conditions.evaluation import never
from authz_server.policy.decide import NO_ANSWER
from authz_server.policy.demand import MIN_REVISION_EXTENSION
from authz_server.policy.inputs import NO_INPUTS
from authz_server.policy.judging import (
    SERVICE_EXTENSION,
    Asked,
    Judged,
    demand_revision,
    operation_for,
    refusal_as_rehearsed,
)
from authz_server.request.accept import accepted_format, denial_format
from authz_server.request.address import client_ip_text
from authz_server.request.api_key import shown_key
from authz_server.request.dpop import check_target, shown_proof
from authz_server.request.headers import Authorization
from authz_server.request.jwt_svid import AUTHORIZATION, shown_svid
from authz_server.request.operation import Operation
from authz_server.request.traits import traits
from authz_server.snapshot import Snapshot, Verifiers

# Written plainly or with escapes, which a lenient service takes.
_PARAMETERS = re.compile("[;?#]|%(?:25)*(?:3[BbFf]|23)", re.ASCII)
_USER_INFO = re.compile("(?<=://)[^/]*@", re.ASCII)
DPOP = "dpop"
"""The scheme of tokens that come with a proof."""
_VERSION_AND_VARIANT = 7 << 76 | 2 << 62
_AFTER_VARIANT = (1 << 62) - 1


class _Found(Struct):
    """Who the caller is, as far as it has been found out."""

    workload: Workload | None = None
    credential: Authorization | None = None
    came: bool = False
    """A credential of a user came, good or bad."""
    token: VerifiedToken | None = None
    fault: Refused | None = None
    """Why the credential is no good: that does not make the caller anonymous."""


def check(request: Request, snapshot: Snapshot, now: float, is_late: Callable[[], bool] = never) -> Decision:
    """Decide one request at the time `now` (seconds since the epoch). Waits for nothing.

    When `is_late`, no further condition is begun that may take long: the request is denied (`deadline`).
    """
    policies, candidate = snapshot.policies, snapshot.candidate
    if snapshot.verifiers.proxies is not None:
        request = snapshot.verifiers.proxies.behind(request)
    try:
        if MIN_REVISION_EXTENSION in request.extensions:
            _demand_some_revision(request, snapshot)
        # 1 Reject what is malformed or ambiguous.
        operation, ambiguous = operation_for(request, policies)
    except Refused as refusal:
        decision = refused(request, refusal.reason, refusal.detail, now, snapshot)
        if candidate is None or refusal.reason is not Reason.AMBIGUOUS_PATH or not candidate.policies.has_lenient:
            return decision
        return _compared_path(decision, refusal, request, snapshot, now, is_late)
    id = decision_id(now)
    found = _Found()
    try:
        # 2 Who is the workload? 3 Who is the user?
        _identify(found, request, operation, snapshot.verifiers, now)
    except Refused as refusal:
        both = Both(Judged(policies, None, refusal_as_rehearsed(refusal)), NO_INPUTS)
    else:
        # 4 Which service's policy? 5 Which rules apply?
        asked = _asked(found, request, operation, ambiguous, snapshot, now, is_late)
        both = judge_alone(policies, asked) if candidate is None else judge_both(policies, candidate, asked)
    decided, rehearsed = both.decided, both.decided.rehearsed
    service, token = decided.service, found.token
    user = None if token is None else token.user
    upstream_token: UpstreamToken | None = None
    if snapshot.upstream_tokens is not None and service is not None and decided.granted:
        about = (operation.method, operation.path_text)
        try:
            upstream_token = snapshot.upstream_tokens.sign(id, service.name, found.workload, user, *about, now)
        except Refused as refusal:
            rehearsed = refusal_as_rehearsed(refusal)
    verdict, path = rehearsed.verdict, _recorded_path(operation)
    # 6 Shape the answer.
    return Decision(
        id=id,
        time=now,
        revision=decided.policies.revision,
        stale=snapshot.stale and not both.by_candidate,
        reason=verdict.reason,
        detail=verdict.detail,
        rule=verdict.rule,
        service=None if service is None else service.name,
        mode=rehearsed.mode,
        would_deny=rehearsed.would_deny,
        audited=rehearsed.rules,
        workload=found.workload,
        user=user,
        token_hash=None if token is None else token.token_hash,
        method=operation.method,
        host=operation.host,
        path=path,
        client_ip=client_ip_text(request.client_address),
        request_id=operation.id or None,
        trace_id=operation.trace_id,
        inputs=both.inputs.found,
        absent=both.inputs.absent,
        traits=traits(operation, routed=SERVICE_EXTENSION in request.extensions, cut=path != operation.path_text),
        answer=verdict.answer,
        with_proof=found.credential is not None and found.credential.scheme == DPOP,
        body_format="problem" if verdict.reason is Reason.ALLOWED else _body_format(operation),
        upstream_token=upstream_token,
        record_class=None if service is None else service.record_class_of(decided.obeyed),
        policies="candidate" if both.by_candidate else None,
        compared=both.compared,
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
        compared=None,
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


def _demand_some_revision(request: Request, snapshot: Snapshot) -> None:
    """Raises Refused (`not_ready`) where no policies that may decide are as new as the route demands.

    Early: a proof of possession that comes with the request must be as good for the next attempt.
    """
    try:
        demand_revision(request, snapshot.policies)
    except Refused:
        if snapshot.candidate is None or snapshot.candidate.rollout is None:
            raise
        demand_revision(request, snapshot.candidate.policies)


def _identify(found: _Found, request: Request, operation: Operation, verifiers: Verifiers, now: float) -> None:
    """Find out who calls. Raises Refused where the workload is, and IntrospectionNeeded."""
    # Who is the workload?
    found.workload = verifiers.workloads.identify(request, now)
    svids, shown = verifiers.svids, None
    if svids is not None:
        shown = shown_svid(operation.headers, svids.header)
        found.workload = found.workload if shown is None else svids.identify(shown, found.workload, now)
    # Who is the user? A bad credential does not make the caller anonymous.
    keys = verifiers.api_keys
    try:
        if svids is None or svids.header != AUTHORIZATION:
            found.credential = operation.headers.authorization()
            found.came = found.credential is not None
        key = None if keys is None else shown_key(operation.headers, keys.header)
        if keys is not None and key is not None:
            found.came = True
            found.token = keys.verify(_only(key, found.credential), operation.client_ip, now)
        elif found.credential is not None:
            found.token = _verified(found.credential, operation, found.workload, verifiers, now)
    except Refused as refusal:
        found.fault = refusal


def _asked(
    found: _Found,
    request: Request,
    operation: Operation,
    ambiguous: Refused | None,
    snapshot: Snapshot,
    now: float,
    is_late: Callable[[], bool],
) -> Asked:
    user = None if found.token is None else found.token.user
    evaluation = Evaluation(operation, found.workload, user, now, request, snapshot.max_body, is_late)
    caller = Caller(found.workload, user, operation.client_ip)
    return Asked(request, operation, caller, evaluation, found.came, found.fault, ambiguous)


def _compared_path(
    decision: Decision,
    refusal: Refused,
    request: Request,
    snapshot: Snapshot,
    now: float,
    is_late: Callable[[], bool],
) -> Decision:
    """The denial of a path that only the candidate may take, with what the candidate would say."""
    candidate = snapshot.candidate
    if candidate is None or not candidate.is_asked():
        return decision
    found = _Found()
    try:
        operation, ambiguous = operation_for(request, candidate.policies)
        if _shows_proof(operation):
            # For a request that is denied anyhow none is used up.
            return decision
        _identify(found, request, operation, snapshot.verifiers, now)
    except (Refused, IntrospectionNeeded):
        return decision
    asked = _asked(found, request, operation, ambiguous, snapshot, now, is_late)
    denied = Judged(snapshot.policies, None, refusal_as_rehearsed(refusal))
    both = compare(denied, candidate.policies, candidate, asked, by_candidate=False)
    if both.compared is None:
        return decision
    return replace(
        decision,
        workload=found.workload,
        user=asked.caller.user,
        token_hash=None if found.token is None else found.token.token_hash,
        inputs=both.inputs.found,
        absent=both.inputs.absent,
        compared=both.compared,
        caller_untold=True,
    )


def _shows_proof(operation: Operation) -> bool:
    credential = operation.headers.authorization()
    return credential is not None and credential.scheme == DPOP


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


def _body_format(operation: Operation) -> BodyFormat:
    return accepted_format(operation.headers.raw("accept"), is_grpc=operation.is_grpc)


def _fingerprint(workload: Workload | None) -> str | None:
    """That of the certificate that the proxy itself has verified."""
    if workload is None or workload.certificate is None or workload.via is not None:
        return None
    return workload.certificate.fingerprint
