"""HTTP for operators and probes: `/livez`, `/readyz`, `/metrics`; and for backends: `/jwks.json`."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authz_server.bounds import KIB, Bound
from authz_server.control.readiness import Readiness
from authz_server.telemetry.control_metrics import CONTENT_TYPE

CLIENTS = Bound(
    "clients of the admin address",
    "server",
    entries=100,
    bytes=100 * 128 * KIB,
    holds="Requests for probes and metrics; one whose head is larger than 64 KiB is refused.",
    full="It answers 503.",
)
_NO_STORE = {"cache-control": "no-store"}
JWKS_PATH = "/jwks.json"
_JWKS_TYPE = "application/jwk-set+json"
"""RFC 7517 section 8.5.2."""


class PublishedKeys(NamedTuple):
    """The keys with which upstreams verify our tokens."""

    jwks: Callable[[], bytes | None]
    """A JWK Set; None while there are no keys."""
    max_age_s: float
    """How long it may be kept."""


def probes_app(readiness: Callable[[], Readiness]) -> Starlette:
    """`/livez` and `/readyz` alone."""
    return Starlette(routes=_probes(readiness))


def admin_app(
    readiness: Callable[[], Readiness], metrics: Callable[[], bytes], published: PublishedKeys | None = None
) -> Starlette:
    """All of it; `metrics` renders them, in a thread. Without `published` there is no `/jwks.json`."""

    def answer_metrics(_request: Request) -> Response:
        return Response(metrics(), media_type=None, headers={"content-type": CONTENT_TYPE, **_NO_STORE})

    keys = [] if published is None else [_keys(published)]
    return Starlette(routes=[*_probes(readiness), Route("/metrics", answer_metrics), *keys])


def _keys(published: PublishedKeys) -> Route:
    def answer_keys(_request: Request) -> Response:
        jwks = published.jwks()
        if jwks is None:
            return PlainTextResponse("there are no keys yet\n", status_code=503, headers=_NO_STORE)
        headers = {"cache-control": f"public, max-age={int(published.max_age_s)}"}
        return Response(jwks, media_type=_JWKS_TYPE, headers=headers)

    return Route(JWKS_PATH, answer_keys)


def _probes(readiness: Callable[[], Readiness]) -> list[Route]:
    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(_request: Request) -> Response:
        state = readiness()
        return Response(
            msgspec.json.format(msgspec.json.encode(state)) + b"\n",
            status_code=503 if state.status == "not_ready" else 200,
            media_type="application/json",
            headers=_NO_STORE,
        )

    return [Route("/livez", livez), Route("/readyz", readyz)]


class HttpServer:
    """Serves an app on a socket, in the running event loop."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                http="h11",
                ws="none",
                limit_concurrency=CLIENTS.entries,
                timeout_graceful_shutdown=1,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Finish what is under way and close the socket."""
        self._server.should_exit = True
        await self._serving


class _Server(uvicorn.Server):
    """Leaves signals to the control process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
