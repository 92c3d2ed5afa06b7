"""From our Decision to Envoy's CheckResponse.

An empty CheckResponse means ALLOW to Envoy, and so does status code 0. `_response` is the only constructor:
it sets code 0 in one place, from a decision whose reason is `allowed` and which names its rule, or from a denial
that is not enforced because its service or rule is in audit.
"""

import secrets
from collections.abc import Collection, Iterable

from google.protobuf.struct_pb2 import Struct

from authz_server.bounds import KIB, MIB, Bound
from authz_server.envoy.denial import denial_body, denial_headers, rule_headers
from authz_server.errors import FAILURES, OUTCOMES, GrpcCode, Reason
from authz_server.identity.cache import BoundedCache
from authz_server.model import Decision, HeaderAction, HeaderChange, UpstreamToken, Workload
from authz_server.pb.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, QueryParameter
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse, DeniedHttpResponse, OkHttpResponse

DECISION_ID_HEADER = "x-authz-decision-id"

SHAPES = Bound(
    "answers",
    "worker",
    entries=4096,
    bytes=8 * MIB,
    holds="Answers that differ only by the decision's id, serialized.",
    full="The oldest goes.",
    kept_in=("ResponseWriter._shapes",),
)
_SHAPE_OVERHEAD_BYTES = KIB

# As long as every decision's id, so that the lengths in the message are right, and not to be guessed, so that no
# text of a policy or token can be taken for it.
_ID = secrets.token_hex(18).encode()
_ACTIONS: dict[HeaderAction, HeaderValueOption.HeaderAppendAction] = {
    "set": HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    "append": HeaderValueOption.HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    "if_absent": HeaderValueOption.HeaderAppendAction.ADD_IF_ABSENT,
    "if_present": HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS,
}


class ResponseWriter:
    """Serializes responses, and keeps the shapes of those that differ only by the decision's id."""

    def __init__(self, proof_algorithms: Iterable[str] = (), *, failures_are_errors: bool = False) -> None:
        """`proof_algorithms` are those of DPoP proofs, for challenges; none where no proofs are taken.

        With `failures_are_errors` Envoy gets a failure of ours as an error, which its settings may let pass.
        """
        self._proofs = " ".join(proof_algorithms)
        self._errors: frozenset[Reason] = FAILURES if failures_are_errors else frozenset()
        self._shapes: BoundedCache[tuple[object, ...], list[bytes]] = BoundedCache(SHAPES.entries, SHAPES.bytes)

    @property
    def kept(self) -> int:
        """How many shapes are kept."""
        return len(self._shapes)

    def write(self, decision: Decision) -> bytes:
        """The serialized CheckResponse. Raises ValueError for an id that is no UUID in text form."""
        if len(decision.id) != len(_ID):
            raise ValueError("a decision's id has 36 characters")
        workload, token = _told_workload(decision), decision.upstream_token
        shape = (
            decision.reason,
            decision.rule,
            decision.service,
            decision.revision,
            None if workload is None else workload.id.text,
            decision.answer,
            decision.body_format,
            decision.with_proof,
            decision.unenforced,
            None if token is None else token.header,
        )
        parts = self._shapes.get(shape)
        if parts is None:
            parts = _response(decision, self._proofs, self._errors).SerializeToString().split(_ID)
            # What it is known by holds the answer's values once more.
            self._shapes.put(shape, parts, _SHAPE_OVERHEAD_BYTES + 2 * sum(map(len, parts)))
        response = decision.id.encode().join(parts)
        return response if token is None or not _allows(decision) else response + _with_token(token)


def _response(decision: Decision, proofs: str, errors: Collection[Reason]) -> CheckResponse:
    """The response to any decision of this shape: `_ID` stands for the decision's id, `errors` are no denials."""
    response = CheckResponse()
    if _allows(decision):
        response.status.code = GrpcCode.OK
        response.ok_response.CopyFrom(_ok(decision))
    else:
        # An `allowed` that names no rule is a defect, and a denial must never carry its 200.
        reason = Reason.INTERNAL_ERROR if decision.reason is Reason.ALLOWED else decision.reason
        response.status.code = OUTCOMES[reason].grpc_code
        answer = response.error_response if reason in errors else response.denied_response
        answer.CopyFrom(_denied(decision, reason, proofs))
    _add_metadata(response.dynamic_metadata, decision)
    return response


def _told_workload(decision: Decision) -> Workload | None:
    return None if decision.caller_untold else decision.workload


def _allows(decision: Decision) -> bool:
    return decision.unenforced or (decision.reason is Reason.ALLOWED and decision.rule is not None)


def _with_token(token: UpstreamToken) -> bytes:
    """What makes of a serialized answer one with this token: a parser adds up messages that stand one after another.

    It differs with each decision, and would fill the kept shapes.
    """
    return CheckResponse(
        ok_response=OkHttpResponse(headers=_headers([HeaderChange(token.header, token.value)]))
    ).SerializeToString()


def _ok(decision: Decision) -> OkHttpResponse:
    answer, token = decision.answer, decision.upstream_token
    # Envoy removes after it has set: the client's copy, and ours with it.
    ours = None if token is None else token.header
    return OkHttpResponse(
        headers=_request_headers(answer.set_headers),
        headers_to_remove=[name for name in answer.remove_headers if name != ours],
        response_headers_to_add=_headers(answer.response_headers),
        query_parameters_to_set=[QueryParameter(key=name, value=value) for name, value in answer.set_query],
        query_parameters_to_remove=answer.remove_query,
    )


def _denied(decision: Decision, reason: Reason, proofs: str) -> DeniedHttpResponse:
    status = decision.answer.status or OUTCOMES[reason].http_status
    headers = [
        *[HeaderChange(name, value) for name, value in denial_headers(decision, reason, status, proofs)],
        *rule_headers(decision, proofs),
        HeaderChange(DECISION_ID_HEADER, _ID.decode()),
    ]
    denied = DeniedHttpResponse(headers=_headers(headers), body=denial_body(decision, reason, status, _ID.decode()))
    denied.status.code = status  # type: ignore[assignment]  # any number is a value of an open enum
    return denied


def _request_headers(changes: Iterable[HeaderChange]) -> list[HeaderValueOption]:
    options = _headers(changes)
    for option in options:
        if option.append_action == _ACTIONS["append"]:
            # Of request headers Envoy reads this older field, and does nothing where there is none to append to.
            option.append.value = True
    return options


def _headers(changes: Iterable[HeaderChange]) -> list[HeaderValueOption]:
    # Envoy reads `value` alone here: what stands in `raw_value` arrives empty.
    return [
        HeaderValueOption(
            header=HeaderValue(key=change.name, value=change.value), append_action=_ACTIONS[change.action]
        )
        for change in changes
    ]


def _add_metadata(metadata: Struct, decision: Decision) -> None:
    """What Envoy's access log, rate limits and RBAC can read, in the namespace of the filter."""
    fields = metadata.fields
    fields["decision_id"].string_value = _ID.decode()
    fields["decision"].string_value = "allow" if decision.allowed else "deny"
    fields["reason"].string_value = decision.reason
    fields["revision"].string_value = decision.revision
    if decision.unenforced:
        fields["would_deny"].bool_value = True
    if decision.rule is not None:
        fields["rule"].string_value = decision.rule
    if decision.service is not None:
        fields["service"].string_value = decision.service
    if (workload := _told_workload(decision)) is not None:
        fields["workload"].string_value = workload.id.text
    if decision.answer.metadata:
        answer = fields["answer"].struct_value.fields
        for name, value in decision.answer.metadata:
            answer[name].string_value = value
