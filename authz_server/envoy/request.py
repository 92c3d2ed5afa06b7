"""From Envoy's CheckRequest to our Request. Every attribute may be missing; nothing is judged here."""

from collections.abc import Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import Any

from google.protobuf.message import DecodeError

from authz_server.errors import Reason, Refused
from authz_server.model import Request
from authz_server.pb.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# For every header of every request: without a step of the interpreter for each.
_NAME_AND_RAW_VALUE = attrgetter("key", "raw_value")
_RAW_VALUE = itemgetter(1)
NO_EXTENSIONS: Mapping[str, str] = {}
NO_METADATA: Mapping[str, Any] = {}


def read_request(payload: bytes, namespaces: Iterable[str] = ()) -> Request:
    """Parse a serialized CheckRequest, with the metadata of these namespaces.

    Raises Refused (`malformed_request`, `header_conflict`).
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise Refused(Reason.MALFORMED_REQUEST, f"the message is larger than {MAX_MESSAGE_BYTES} bytes")
    try:
        attributes = CheckRequest.FromString(payload).attributes
    except DecodeError as error:
        raise Refused(Reason.MALFORMED_REQUEST, "the message is not a CheckRequest") from error
    http = attributes.request.http
    headers, joined = _headers(http)
    source, destination = attributes.source, attributes.destination.address.socket_address
    extensions = attributes.context_extensions
    return Request(
        method=http.method,
        target=http.path,
        host=http.host,
        headers=headers,
        headers_joined=joined,
        protocol=http.protocol,
        id=http.id,
        # Both are empty for pipes and internal listeners.
        client_address=source.address.socket_address.address,
        destination_address=destination.address,
        destination_port=destination.port_value or None,
        principal=source.principal,
        certificate=source.certificate,
        extensions=dict(extensions) if extensions else NO_EXTENSIONS,
        # In `body` Envoy replaces what is no text, so that it may read otherwise than what goes on.
        body=http.raw_body,
        body_size=http.size,
        metadata=_metadata(attributes, namespaces) if namespaces else NO_METADATA,
    )


def _metadata(attributes: AttributeContext, namespaces: Iterable[str]) -> Mapping[str, Any]:
    """What the filters have written; that of routes and typed metadata is not read."""
    written = attributes.metadata_context.filter_metadata
    return {name: written[name] for name in namespaces if name in written}


def _headers(http: AttributeContext.HttpRequest) -> tuple[tuple[tuple[str, bytes], ...], bool]:
    """Names and values, and whether repeated headers were joined.

    Envoy fills `header_map` where `encode_raw_headers` is on, else `headers`. Where both are filled, they must
    say the same.
    """
    raw = tuple(map(_NAME_AND_RAW_VALUE, http.header_map.headers))
    if not all(map(_RAW_VALUE, raw)):
        raw = tuple([(header.key, header.raw_value or header.value.encode()) for header in http.header_map.headers])
    if not http.headers:
        return raw, False
    joined = {name: value.encode() for name, value in http.headers.items()}
    if raw and joined != _joined(raw):
        raise Refused(Reason.HEADER_CONFLICT, "`headers` and `header_map` differ")
    return raw or tuple(joined.items()), not raw


def _joined(headers: tuple[tuple[str, bytes], ...]) -> dict[str, bytes]:
    """Headers as Envoy puts them into `headers`: repeated ones joined with a comma."""
    joined: dict[str, bytes] = {}
    for name, value in headers:
        joined[name] = joined[name] + b"," + value if name in joined else value
    return joined
