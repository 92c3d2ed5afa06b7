"""The services behind Envoy: they echo, and remember what reached them."""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from authz_server.dev.serving import serving

ECHO_METHOD = "/echo.v1.Echo/Say"


class Seen(Struct, frozen=True):
    """A request that reached an upstream; header names in lower case, repeated ones joined with commas."""

    method: str
    path: str
    headers: Mapping[str, str]


class Upstream:
    """What has reached an upstream so far."""

    def __init__(self) -> None:
        self.port = 0
        self._seen: list[Seen] = []
        self._lock = threading.Lock()

    def saw(self, seen: Seen) -> None:
        """Remember a request."""
        with self._lock:
            self._seen.append(seen)

    def seen(self) -> tuple[Seen, ...]:
        """Everything that reached it, in order."""
        with self._lock:
            return tuple(self._seen)

    def forget(self) -> None:
        """Drop what has reached it so far."""
        with self._lock:
            self._seen.clear()


@contextmanager
def http_echo() -> Iterator[Upstream]:
    """An HTTP/1.1 service that answers with the path, query and headers that it got."""
    upstream = Upstream()

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers = {name: ",".join(request.headers.getlist(name)) for name in request.headers}
        seen = Seen(request.method, scope["raw_path"].decode(), headers)
        upstream.saw(seen)
        answer = {"path": seen.path, "query": request.url.query, "headers": headers}
        await JSONResponse(answer)(scope, receive, send)

    with serving(echo) as upstream.port:
        yield upstream


class _Tunnelled(socketserver.StreamRequestHandler):
    """Says yes to an upgrade, and sends back what comes after it, or what comes without any."""

    server: "_Tunnel"

    def handle(self) -> None:
        """One connection."""
        first = self.rfile.readline()
        if first.startswith(b"GET "):
            lines = list(iter(self.rfile.readline, b"\r\n"))
            fields = [line.decode().strip().partition(":") for line in lines]
            headers = {name.lower(): value.strip() for name, _, value in fields}
            self.server.upstream.saw(Seen("GET", first.split()[1].decode(), headers))
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        else:
            self.server.upstream.saw(Seen("", first.decode(), {}))
            self.wfile.write(first)
        for line in self.rfile:
            self.wfile.write(line)


class _Tunnel(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnelled)
        self.upstream = upstream


@contextmanager
def tunnel_echo() -> Iterator[Upstream]:
    """A service behind websockets and CONNECT tunnels: it sends back every line that it gets."""
    upstream = Upstream()
    with _Tunnel(upstream) as server:
        upstream.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def grpc_echo() -> Iterator[Upstream]:
    """A gRPC service, and so an HTTP/2 one, that sends back what it got."""
    upstream = Upstream()

    def say(message: bytes, context: grpc.ServicerContext) -> bytes:
        headers = {name: str(value) for name, value in context.invocation_metadata()}
        upstream.saw(Seen("POST", ECHO_METHOD, headers))
        return message

    service, method = ECHO_METHOD.strip("/").split("/")
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {method: grpc.unary_unary_rpc_method_handler(say)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    upstream.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield upstream
    finally:
        server.stop(grace=None).wait()
