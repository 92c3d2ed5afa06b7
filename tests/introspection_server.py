"""An issuer that answers questions about opaque tokens as a test tells it to (RFC 7662)."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Answer = Callable[[BaseHTTPRequestHandler], None]

CLIENT, SECRET = "gate", "s3cret of: the gäte+"
ISSUER, AUDIENCE = "https://opaque.shop.example/", "shop"
BASIC = base64.b64encode(b"gate:s3cret+of%3A+the+g%C3%A4te%2B").decode()


def claims(subject: str = "ann", **changes: object) -> dict[str, Any]:
    """What is said about a good token; None takes a claim away."""
    good = {
        "active": True,
        "sub": subject,
        "aud": AUDIENCE,
        # Tables of answers are made long before they are used.
        "exp": time.time() + 3600,
        "scope": "orders:read",
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}


def said(document: Mapping[str, Any]) -> Answer:
    """An answer of a well-behaved issuer."""
    return sent(json.dumps(document).encode())


def sent(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Answer:
    """Any other answer; underscores in names of headers are hyphens."""

    def write(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return write


class Held:
    """An answer that waits until it is released."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked, self.released = threading.Event(), threading.Event()

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """Answer when it is time."""
        self.asked.set()
        self.released.wait(30)
        self._answer(request)


class IntrospectionServer:
    """Answers by token; one that it does not know is not active."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        """Tokens, in the order of the questions."""
        self.connections = 0
        self.basic = BASIC
        """The credentials of the client that may ask."""
        self._http = _Http(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Where questions are put."""
        return f"http://127.0.0.1:{self._http.server_port}/introspect?realm=shop"

    def stop(self) -> None:
        """Close the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                [token] = form["token"]
                server.asked.append(token)
                if self.path != "/introspect?realm=shop" or self.headers["authorization"] != f"Basic {server.basic}":
                    sent(b"{}", 401)(self)
                else:
                    server.answers.get(token, said({"active": False}))(self)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args: object) -> None:
        """Whoever asked has gone."""


@contextmanager
def introspection_server() -> Iterator[IntrospectionServer]:
    """A running issuer."""
    server = IntrospectionServer()
    try:
        yield server
    finally:
        server.stop()
