"""Clients of Envoy that send exactly what they are told, over HTTP/1.1, HTTP/2 and gRPC."""

import http.client
import socket
import ssl
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import msgspec
from msgspec import Struct

from tests.envoy.upstreams import ECHO_METHOD

LOOPBACK = "127.0.0.1"
SERVER_NAME = "edge.shop.example"
"""What the TLS handshake asks for: Envoy's certificate is for every host of the domain."""
TIMEOUT_S = 10.0
MAX_FRAME = 16_384
Headers = Sequence[tuple[str, str]]


class Ask(Struct, frozen=True):
    """A request, sent as it stands here."""

    method: str = "GET"
    target: str = "/"
    authority: str = "orders.shop.example"
    headers: Headers = ()
    body: bytes | None = None
    """None sends no body; otherwise with a `content-length` only where `headers` has one: as chunks, or as frames."""
    ends: bool = True
    """Whether the body ends with what is here."""


class Caller(Struct, frozen=True):
    """What somebody trusts and shows in the TLS handshake."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self, protocol: str) -> ssl.SSLContext:
        """The TLS settings, for `h2` or `http/1.1`."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols([protocol])
        if self.certificate and self.key:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def grpc_credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC."""
        key = self.key.read_bytes() if self.key else None
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), key, self.certificate.read_bytes() if self.certificate else None
        )


class Reply(Struct, frozen=True):
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @property
    def reason(self) -> str | None:
        """The reason that a denial gives, if it is one of ours."""
        problem = self.headers.get("content-type") == "application/problem+json"
        return self.json()["reason"] if problem else None

    @property
    def decision_id(self) -> str | None:
        """The decision that denied."""
        return self.headers.get("x-authz-decision-id")


class Http1(http.client.HTTPSConnection):
    """One HTTP/1.1 connection."""

    def __init__(self, caller: Caller, port: int) -> None:
        self._tls = caller.context("http/1.1")
        super().__init__(SERVER_NAME, port, context=self._tls, timeout=TIMEOUT_S)

    def connect(self) -> None:
        """Connect to this machine, whatever the name."""
        plain = socket.create_connection((LOOPBACK, self.port), TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)

    def ask(self, ask: Ask) -> Reply:
        """Send one request and wait for the answer."""
        self.send_request(ask)
        return self.read_reply()

    def send_request(self, ask: Ask) -> None:
        """Send one request."""
        self.putrequest(ask.method, ask.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", ask.authority), *ask.headers):
            self.putheader(name, value)
        counted = any(name.lower() == "content-length" for name, _ in ask.headers)
        if ask.body is not None and not counted:
            self.putheader("Transfer-Encoding", "chunked")
        self.endheaders()
        if ask.body is not None:
            self.send(ask.body if counted else _chunks(ask.body, ends=ask.ends))

    def read_reply(self) -> Reply:
        """Wait for the answer."""
        answer = self.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def _validate_path(self, url: str) -> None:
        """Let any path through: Envoy is to judge it."""


def _chunks(body: bytes, *, ends: bool) -> bytes:
    """A chunk of its own for the whole body, perhaps with the last one of length 0 (RFC 9112 section 7.1)."""
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk + (b"0\r\n\r\n" if ends else b"")


def http1(caller: Caller, port: int, ask: Ask) -> Reply:
    """One request over an HTTP/1.1 connection of its own."""
    with closing(Http1(caller, port)) as connection:
        return connection.ask(ask)


def http2(caller: Caller, port: int, ask: Ask) -> Reply:
    """One request over an HTTP/2 connection of its own."""
    as_it_is = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    protocol = h2.connection.H2Connection(as_it_is)
    pseudo = [(":method", ask.method), (":scheme", "https"), (":authority", ask.authority), (":path", ask.target)]
    with (
        socket.create_connection((LOOPBACK, port), TIMEOUT_S) as plain,
        caller.context("h2").wrap_socket(plain, server_hostname=SERVER_NAME) as tls,
    ):
        protocol.initiate_connection()
        headers = [*pseudo, *((name.lower(), value) for name, value in ask.headers)]
        protocol.send_headers(1, headers, end_stream=ask.body is None)
        if ask.body is not None:
            for start in range(0, len(ask.body), MAX_FRAME):
                protocol.send_data(1, ask.body[start : start + MAX_FRAME])
            if ask.ends:
                protocol.end_stream(1)
        tls.sendall(protocol.data_to_send())
        return _read_reply(protocol, tls)


def _read_reply(protocol: h2.connection.H2Connection, tls: ssl.SSLSocket) -> Reply:
    headers: dict[str, str] = {}
    body = b""
    while True:
        received = tls.recv(65536)
        if not received:
            raise ConnectionError("the connection ended before the answer")
        for event in protocol.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                headers = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise ConnectionError(f"the stream was reset: {event}")
            elif isinstance(event, h2.events.StreamEnded):
                return Reply(int(headers.pop(":status")), headers, body)
        tls.sendall(protocol.data_to_send())


class Tunnel(Struct, frozen=True):
    """What came of asking for an upgrade or a tunnel: the status, the body of a denial, and the echo of one line."""

    status: int
    body: bytes = b""
    echo: bytes = b""

    @property
    def reason(self) -> str | None:
        """The reason that a denial gives, if it is one of ours."""
        return str(msgspec.json.decode(self.body)["reason"]) if self.body.startswith(b"{") else None


LINE = b"hello from behind the handshake\n"


def http1_tunnel(caller: Caller, port: int, ask: Ask) -> Tunnel:
    """Ask for an upgrade or CONNECT over HTTP/1.1, and where it is granted send a line through it."""
    lines = [f"{ask.method} {ask.target} HTTP/1.1", f"host: {ask.authority}", *(f"{n}: {v}" for n, v in ask.headers)]
    with (
        socket.create_connection((LOOPBACK, port), TIMEOUT_S) as plain,
        caller.context("http/1.1").wrap_socket(plain, server_hostname=SERVER_NAME) as tls,
        tls.makefile("rb") as answer,
    ):
        tls.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        status = int(answer.readline().split()[1])
        headers = dict(line.strip().lower().split(b": ", 1) for line in iter(answer.readline, b"\r\n"))
        if status not in (101, 200):
            return Tunnel(status, answer.read(int(headers.get(b"content-length", 0))))
        tls.sendall(LINE)
        return Tunnel(status, echo=answer.readline())


def http2_tunnel(caller: Caller, port: int, ask: Ask, protocol: str = "") -> Tunnel:
    """The same over HTTP/2: CONNECT (RFC 9113), or with a protocol extended CONNECT (RFC 8441)."""
    as_it_is = h2.config.H2Configuration(
        header_encoding="utf-8",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    connection = h2.connection.H2Connection(as_it_is)
    headers = [(":method", "CONNECT"), (":authority", ask.authority)]
    if protocol:
        headers += [(":scheme", "https"), (":path", ask.target), (":protocol", protocol)]
    with (
        socket.create_connection((LOOPBACK, port), TIMEOUT_S) as plain,
        caller.context("h2").wrap_socket(plain, server_hostname=SERVER_NAME) as tls,
    ):
        connection.initiate_connection()
        tls.sendall(connection.data_to_send())
        status, body = 0, b""
        asked = False
        while received := tls.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.RemoteSettingsChanged) and not asked:
                    # Not before the server has said that it takes extended CONNECT.
                    connection.send_headers(1, [*headers, *ask.headers])
                    asked = True
                elif isinstance(event, h2.events.ResponseReceived):
                    status = next(int(value) for name, value in event.headers if str(name) == ":status")
                    if status == 200:
                        connection.send_data(1, LINE)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    if status == 200 and body.endswith(b"\n"):
                        return Tunnel(status, echo=body)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    return Tunnel(status, body)
            tls.sendall(connection.data_to_send())
        raise ConnectionError("the connection ended before the answer")


def grpc_say(
    caller: Caller, port: int, host: str, message: bytes, method: str = ECHO_METHOD, metadata: Headers = ()
) -> bytes:
    """Call the echo service, or a method that it does not have. Raises grpc.RpcError."""
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.default_authority", host)]
    with grpc.secure_channel(f"{LOOPBACK}:{port}", caller.grpc_credentials(), options) as channel:
        say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return say(message, timeout=TIMEOUT_S, metadata=tuple(metadata))
