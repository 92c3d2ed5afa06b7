"""From our Decision to Envoy's CheckResponse.

An empty CheckResponse means ALLOW to Envoy, and so does status code 0. `_response` is the only constructor:
it sets code 0 in one place, from a decision whose reason is `allowed` and which names its rule.
"""

import secrets
from collections.abc import Iterable

import msgspec
from google.protobuf.struct_pb2 import Struct

from authz_server.errors import OUTCOMES, PUBLIC_REASON, GrpcCode, Reason
from authz_server.identity.cache import BoundedCache
from authz_server.model import Decision, HeaderAction, HeaderChange
from authz_server.pb.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, QueryParameter
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse, DeniedHttpResponse, OkHttpResponse

DECISION_ID_HEADER = "x-authz-decision-id"
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = "1"
"""How long a client should wait after a denial that says `unavailable` (RFC 9110 section 10.2.3)."""

MAX_SHAPES = 4096
MAX_SHAPE_BYTES = 8 * 1024 * 1024

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

    def __init__(self) -> None:
        self._shapes: BoundedCache[tuple[object, ...], list[bytes]] = BoundedCache(MAX_SHAPES, MAX_SHAPE_BYTES)

    @property
    def kept(self) -> int:
        """How many shapes are kept."""
        return len(self._shapes)

    def write(self, decision: Decision) -> bytes:
        """The serialized CheckResponse. Raises ValueError for an id that is no UUID in text form."""
        if len(decision.id) != len(_ID):
            raise ValueError("a decision's id has 36 characters")
        workload = decision.workload
        shape = (
            decision.reason,
            decision.rule,
            decision.service,
            decision.revision,
            None if workload is None else workload.id.text,
            decision.answer,
        )
        parts = self._shapes.get(shape)
        if parts is None:
            parts = _response(decision).SerializeToString().split(_ID)
            self._shapes.put(shape, parts, sum(map(len, parts)))
        return decision.id.encode().join(parts)


def _response(decision: Decision) -> CheckResponse:
    """The response to any decision of this shape: `_ID` stands for the decision's id."""
    response = CheckResponse()
    if decision.reason is Reason.ALLOWED and decision.rule is not None:
        response.status.code = GrpcCode.OK
        response.ok_response.CopyFrom(_ok(decision))
    else:
        # An `allowed` that names no rule is a defect, and a denial must never carry its 200.
        reason = Reason.INTERNAL_ERROR if decision.reason is Reason.ALLOWED else decision.reason
        response.status.code = OUTCOMES[reason].grpc_code
        response.denied_response.CopyFrom(_denied(decision, reason))
    _add_metadata(response.dynamic_metadata, decision)
    return response


def _ok(decision: Decision) -> OkHttpResponse:
    answer = decision.answer
    return OkHttpResponse(
        headers=_request_headers(answer.set_headers),
        headers_to_remove=answer.remove_headers,
        response_headers_to_add=_headers(answer.response_headers),
        query_parameters_to_set=[QueryParameter(key=name, value=value) for name, value in answer.set_query],
        query_parameters_to_remove=answer.remove_query,
    )


def _denied(decision: Decision, reason: Reason) -> DeniedHttpResponse:
    outcome, answer = OUTCOMES[reason], decision.answer
    status = answer.status or outcome.http_status
    if answer.body is None:
        content_type, body = PROBLEM_JSON, _problem(decision, reason, status)
    else:
        content_type, body = "text/plain; charset=utf-8", answer.body
    headers = [HeaderChange("content-type", content_type), HeaderChange("cache-control", "no-store")]
    if status == 401:
        headers.append(HeaderChange("www-authenticate", _challenge(reason)))
    if outcome.grpc_code is GrpcCode.UNAVAILABLE:
        headers.append(HeaderChange("retry-after", RETRY_AFTER_S))
    named = {header.name for header in answer.headers}
    headers = [header for header in headers if header.name not in named]
    headers += [*answer.headers, HeaderChange(DECISION_ID_HEADER, _ID.decode())]
    denied = DeniedHttpResponse(headers=_headers(headers), body=body)
    denied.status.code = status  # type: ignore[assignment]  # any number is a value of an open enum
    return denied


def _problem(decision: Decision, reason: Reason, status: int) -> str:
    """A problem body (RFC 9457 section 3) that tells a client nothing which it does not know."""
    problem = {
        "type": "about:blank",
        "title": OUTCOMES[reason].title,
        "status": status,
        "reason": PUBLIC_REASON.get(reason, reason),
        "decision_id": _ID.decode(),
    }
    if decision.answer.hint is not None:
        problem["detail"] = decision.answer.hint
    return msgspec.json.encode(problem).decode()


def _challenge(reason: Reason) -> str:
    """The challenge of a 401 (RFC 6750 section 3): an error code only where a token failed (section 3.1)."""
    return 'Bearer error="invalid_token"' if PUBLIC_REASON.get(reason, reason) is Reason.TOKEN_INVALID else "Bearer"


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
    if decision.rule is not None:
        fields["rule"].string_value = decision.rule
    if decision.service is not None:
        fields["service"].string_value = decision.service
    if decision.workload is not None:
        fields["workload"].string_value = decision.workload.id.text
    if decision.answer.metadata:
        answer = fields["answer"].struct_value.fields
        for name, value in decision.answer.metadata:
            answer[name].string_value = value
