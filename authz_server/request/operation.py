"""What is asked for: a request in the one form that everything after this point works with."""

import re

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.model import IpAddress, Path, Request
from authz_server.request.address import client_ip
from authz_server.request.grpc import is_grpc_type
from authz_server.request.headers import Headers
from authz_server.request.host import canonical_host
from authz_server.request.method import canonical_method
from authz_server.request.path import CanonicalTarget, canonical_path
from authz_server.request.readings import lenient_target

# W3C Trace Context section 3.2: version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Operation(Struct, frozen=True):
    """A request in canonical form: everything that rules may ask about it."""

    method: str
    host: str
    """Canonical, without port."""
    port: int | None
    """The one that the client named beside the host."""
    path: Path
    path_text: str
    """As sent, without the query."""
    query_text: str
    headers: Headers
    protocol: str
    is_grpc: bool
    """By its content-type, which is the client's word."""
    grpc: tuple[str, str] | None
    """Service and method, where this is gRPC and the target has the form of a gRPC call and no escapes."""
    upgrade: str
    """The protocols of the Upgrade header, lower case, separated by commas; "" if there are none."""
    is_connect: bool
    client_ip: IpAddress | None
    destination_host: str
    destination_port: int | None
    id: str
    """`x-request-id`, which the proxy's access log and the upstream have too; without one, the proxy's own id."""
    trace_id: str | None


def canonical_operation(request: Request, *, lenient: bool = False) -> Operation:
    """Put a request into canonical form, or refuse what cannot be read in one way.

    Nothing but the proxy's own attributes feeds method, path and host. With `lenient` the path may have
    several readings, and is the one as it was sent. Raises Refused (`malformed_request`, `header_conflict`,
    `bad_method`, `bad_host`, `ambiguous_path`).
    """
    headers = Headers.read(request.headers, request.headers_joined)
    method = canonical_method(request.method)
    host, port = canonical_host(request.host)
    is_connect = method == "CONNECT"
    target = lenient_target(request.target) if lenient else canonical_path(request.target, allow_empty=is_connect)
    said_method, said_path, authority, said_host, content_type, upgrade, traceparent, request_id = headers.all_raw(
        ":method", ":path", ":authority", "host", "content-type", "upgrade", "traceparent", "x-request-id"
    )
    if said_method is not None and said_method != request.method.encode():
        raise _contradiction(":method")
    if said_path is not None and said_path != request.target.encode():
        raise _contradiction(":path")
    if authority is not None and _is_other_host(authority, request.host):
        raise _contradiction(":authority")
    if said_host is not None and _is_other_host(said_host, request.host):
        raise _contradiction("host")
    is_grpc = is_grpc_type(content_type)
    return Operation(
        method,
        host,
        port,
        target.path,
        target.path_text,
        target.query_text,
        headers,
        request.protocol,
        is_grpc,
        _grpc_call(request, target) if is_grpc and not lenient else None,
        "" if upgrade is None else _protocols(upgrade),
        is_connect,
        client_ip(request.client_address),
        request.destination_address,
        request.destination_port,
        request.id if request_id is None else request_id.decode("latin-1"),
        None if traceparent is None else _trace_id(traceparent),
    )


def _is_other_host(said: bytes, host: str) -> bool:
    return said != host.encode() and said.lower() != host.lower().encode()


def _contradiction(name: str) -> Refused:
    """A header says another method, path or host than the proxy does."""
    return Refused(Reason.HEADER_CONFLICT, f"the header {name} contradicts the request")


def _grpc_call(request: Request, target: CanonicalTarget) -> tuple[str, str] | None:
    """Service and method of `/package.Service/Method`; gRPC servers take the path literally, so no escapes."""
    segments = target.path.segments
    if len(segments) != 2 or target.path.trailing_slash or request.target != target.path_text or "%" in request.target:
        return None
    return segments[0], segments[1]


def _protocols(upgrade: bytes) -> str:
    return upgrade.replace(b" ", b"").replace(b"\t", b"").lower().decode("latin-1")


def _trace_id(traceparent: bytes) -> str | None:
    match = _TRACEPARENT.fullmatch(traceparent)
    return None if match is None else match[1].decode()
