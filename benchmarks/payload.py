"""The call as bytes: a CheckRequest as Envoy sends it for an ordinary request of a browser, in a gRPC frame."""

from authz_server.envoy.service import SERVICE_NAME
from authz_server.pb.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from benchmarks.identities import Identities
from benchmarks.policies import HOST

CHECK_PATH = f"/{SERVICE_NAME}/Check"

_FRAME_HEADER_BYTES = 5
_REQUEST_ID = "6f0c7a64-1f2d-4c0a-9d53-0b7d1fdd2b57"


def check_request(identities: Identities, path: str, token: str | None) -> CheckRequest:
    """A GET of this path by a workload, and by a user where there is a token.

    With the attributes that Envoy fills when it has `encode_raw_headers`.
    """
    request = CheckRequest()
    attributes = request.attributes
    source = attributes.source
    source.address.socket_address.address, source.address.socket_address.port_value = "10.1.2.3", 51234
    source.principal, source.certificate = identities.spiffe_id, identities.certificate
    destination = attributes.destination
    destination.address.socket_address.address, destination.address.socket_address.port_value = "10.1.9.9", 8443
    destination.principal = "spiffe://shop.example/envoy/edge"
    attributes.request.time.GetCurrentTime()
    http = attributes.request.http
    http.id, http.method, http.path, http.host = _REQUEST_ID, "GET", path, HOST
    http.scheme, http.protocol, http.size = "https", "HTTP/2", -1
    http.header_map.CopyFrom(HeaderMap(headers=_headers(path, token)))
    attributes.metadata_context.SetInParent()
    attributes.route_metadata_context.SetInParent()
    return request


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, length in 4 bytes (gRPC over HTTP/2, "Length-Prefixed-Message")."""
    return b"\0" + len(message).to_bytes(_FRAME_HEADER_BYTES - 1, "big") + message


def _headers(path: str, token: str | None) -> list[HeaderValue]:
    headers = {
        ":authority": HOST,
        ":method": "GET",
        ":path": path,
        ":scheme": "https",
        "accept": "application/json, text/plain, */*",
        "accept-encoding": "gzip, deflate, br, zstd",
        "accept-language": "de-CH,de;q=0.9,en;q=0.8",
        **({} if token is None else {"authorization": f"Bearer {token}"}),
        "cache-control": "no-cache",
        "referer": f"https://{HOST}/",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "x-forwarded-for": "10.1.2.3",
        "x-forwarded-proto": "https",
        "x-request-id": _REQUEST_ID,
    }
    return [HeaderValue(key=name, raw_value=value.encode()) for name, value in headers.items()]
