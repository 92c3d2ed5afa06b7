"""HTTP for operators and probes: `/livez`, `/readyz`, `/metrics`."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authz_server.control.readiness import Readiness
from authz_server.telemetry.control_metrics import CONTENT_TYPE

_NO_STORE = {"cache-control": "no-store"}


def probes_app(readiness: Callable[[], Readiness]) -> Starlette:
    """`/livez` and `/readyz` alone."""
    return Starlette(routes=_probes(readiness))


def admin_app(readiness: Callable[[], Readiness], metrics: Callable[[], bytes]) -> Starlette:
    """All of it; `metrics` renders them, in a thread."""

    def answer_metrics(_request: Request) -> Response:
        return Response(metrics(), media_type=None, headers={"content-type": CONTENT_TYPE, **_NO_STORE})

    return Starlette(routes=[*_probes(readiness), Route("/metrics", answer_metrics)])


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
                limit_concurrency=100,
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
