"""The services behind Envoy: they echo, and remember what reached them."""

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
