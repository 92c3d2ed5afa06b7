"""What an Envoy configuration depends on, as plain data."""

from typing import Literal

from msgspec import Struct

from authz_server.request.body import DEFAULT_MAX_BYTES

Scheme = Literal["http", "http2"]


class InvalidAddressError(ValueError):
    """An address that cannot be read; the message says what to write."""


class Address(Struct, frozen=True):
    """A TCP address."""

    host: str
    """An IP address (IPv6 without brackets), or a name where something can resolve it."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Upstream(Struct, frozen=True):
    """A service behind Envoy."""

    host: str
    """The host that requests name; `*` is every host that no other upstream has."""
    address: Address
    scheme: Scheme = "http"
    """`http` is HTTP/1.1, `http2` is HTTP/2 without TLS, as gRPC needs it."""
    body: bool = False
    """Policies read the bodies of its requests."""


class CheckPeer(Struct, frozen=True):
    """How Envoy knows that it speaks to the authorization server when Check goes over mTLS."""

    identity: str
    """The SPIFFE ID in the server's certificate."""


class EnvoySettings(Struct, frozen=True, kw_only=True):
    """Everything that differs between two Envoys in front of the same server."""

    listener: Address = Address("0.0.0.0", 10000)  # noqa: S104 - an edge proxy listens to the outside
    admin: Address = Address("127.0.0.1", 10001)
    upstreams: tuple[Upstream, ...] = ()
    secrets: str = "certs/envoy"
    """Directory of `certificate.yaml` and `bundles.yaml`, which Envoy watches (SDS)."""
    endpoints_file: str = "run/endpoints.yaml"
    """Written by `authz serve`, watched by Envoy (EDS)."""
    check_addresses: tuple[Address, ...] = ()
    """Where Check is, instead of what the endpoints file says."""
    check_peer: CheckPeer | None = None
    """None: Check goes over loopback or a Unix socket without TLS."""
    check_timeout_s: float = 0.5
    keep_escaped_slashes: bool = False
    """Let `%2F` and `%5C` in paths through to us, which only services with lenient paths take."""
    append_client_certificate: bool = False
    """Keep `x-forwarded-client-cert` of callers with a certificate, and append an element about that certificate."""
    max_body: int = DEFAULT_MAX_BYTES
    """The bytes of the largest body that policies read."""
    metadata: tuple[str, ...] = ()
    """Namespaces of metadata that policies may read."""
    identity_headers: tuple[str, ...] = ()
    """Removed from what clients send, before anything else sees them."""


def parse_address(text: str) -> Address:
    """Read `host:port` or `[v6]:port`. Raises InvalidAddressError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidAddressError(f"`{text}`: write an IPv6 address in brackets, such as `[::1]:8080`")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidAddressError(f"`{text}` is no address: write `host:port`, such as `127.0.0.1:8080`")
    return Address(host, int(port))


def parse_upstream(text: str) -> Upstream:
    """Read `host=address:port` or `host=http2://address:port`. Raises InvalidAddressError."""
    host, equals, where = text.partition("=")
    scheme, separator, address = where.rpartition("://")
    if not host or not equals:
        raise InvalidAddressError(f"`{text}` is no upstream: write `orders.shop.example=127.0.0.1:8080`")
    if scheme == "http2":
        return Upstream(host, parse_address(address), "http2")
    if separator and scheme != "http":
        raise InvalidAddressError(f"`{text}`: `{scheme}://` is unknown here; write `http://` or `http2://`")
    return Upstream(host, parse_address(address))
