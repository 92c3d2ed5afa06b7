"""An issuer over real HTTP, whose answers a test chooses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class IssuerServer:
    """Answers by path; anything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        """Paths, in the order of the requests."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def serve(self, path: str, document: object) -> None:
        """Answer with JSON at a path."""
        self.answers[path] = answer(json.dumps(document).encode())

    def stop(self) -> None:
        """Close the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.answers.get(self.path, answer(b"", 404))(self)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer; underscores in names of headers are hyphens."""

    def write(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return write


@contextmanager
def issuer_server() -> Iterator[IssuerServer]:
    """A running issuer."""
    server = IssuerServer()
    try:
        yield server
    finally:
        server.stop()
