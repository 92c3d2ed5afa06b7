"""Small HTTP servers inside this process, for the demo and its samples."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from authz_server.dev.waiting import wait_until

LOOPBACK = "127.0.0.1"


def http_server(app: ASGIApp) -> uvicorn.Server:
    """A server that logs nothing but what goes wrong."""
    return uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", access_log=False, log_level="warning"))


@contextmanager
def serving(app: ASGIApp, port: int = 0, host: str = LOOPBACK) -> Iterator[int]:
    """Serve `app` in a thread while the block runs; gives the port. Raises OSError where the port is taken."""
    with _listening(host, port) as listening:
        server = http_server(app)
        # Not daemonic: uvicorn closes its connections when it is told to exit, and is waited for.
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name=f"http-{port}")
        thread.start()
        try:
            wait_until(lambda: server.started, timeout_s=5, what="the HTTP server to start")
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol; with it, every answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
