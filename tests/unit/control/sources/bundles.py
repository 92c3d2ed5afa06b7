"""Signed bundles, a server that has one, and what fetches it, for tests."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.sources.fetcher import Fetcher
from authz_server.control.sources.source import Source
from authz_server.control.sources.store import FetchedPolicies
from authz_server.policy.bundle import build_bundle
from authz_server.policy.files import policy_file
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.control.issuer_server import Answer, answer
from tests.unit.control.test_keys import Clock

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - {{id: {rule}, effect: allow, from: anyone, to: [{{methods: [{method}]}}]}}
"""
FIRST = {"orders.yaml": SERVICE.format(rule="reads", method="GET")}
SECOND = {"orders.yaml": SERVICE.format(rule="writes", method="PUT")}
POLL_S = 30.0


def bundle_of(files: dict[str, str], key: Ed25519PrivateKey | None = KEY) -> bytes:
    """A signed bundle of these files."""
    return build_bundle([policy_file(Path("p"), path, text.encode()) for path, text in files.items()], key)


def numbered(files: dict[str, str], number: int) -> dict[str, str]:
    """The files, with a number."""
    return {**files, "revision.yaml": f"kind: revision\nnumber: {number}\n"}


def write_public_key(path: Path, key: Ed25519PrivateKey = KEY) -> Path:
    """As `authz bundle keys` does."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


class FileServer:
    """An HTTP server with answers by path, for GET and HEAD, that remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers, by their names in lower case, in the order of the requests."""
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, where it has listened before if it has."""
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._http.server_port
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def has(self, content: bytes, path: str = "/policies.tar.gz", *, etags: bool = True) -> None:
        """Answer with this, or 304 to who has it."""
        etag = f'"{sha256(content).hexdigest()}"'

        def reply(request: BaseHTTPRequestHandler) -> None:
            if etags and request.headers.get("if-none-match") == etag:
                answer(b"", 304, etag=etag)(request)
            else:
                headers = {"etag": etag} if etags else {}
                answer(content, 200, **headers)(request)

        self.answers[path] = reply

    def answer_other(self, request: BaseHTTPRequestHandler) -> None:
        """Where a test has said nothing about the path."""
        answer(b"", 404)(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((self.command, self.path, headers))
                path = self.path.partition("?")[0]
                try:
                    server.answers.get(path, server.answer_other)(self)
                except (BrokenPipeError, ConnectionResetError):
                    # Whoever asked has had enough.
                    self.close_connection = True

            def do_POST(self) -> None:
                self.do_GET()

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server."""
    server = FileServer()
    try:
        yield server
    finally:
        server.stop()


class Fetching:
    """A fetcher with a clock of its own, and what became of it."""

    def __init__(self, run_directory: Path, source: Source, *, accept_older: bool = False) -> None:
        self.clock = Clock()
        self.changes = 0
        self.metrics = ControlMetrics(run_directory / "metrics")
        self.store = FetchedPolicies(run_directory / "fetched", "the source")
        self.store.restore(None)
        schedule = FetchSchedule(refresh_s=POLL_S, max_age_s=inf)
        self.fetcher = Fetcher(
            source,
            self.store,
            "the source",
            schedule,
            self.metrics,
            self._changed,
            accept_older=accept_older,
            clock=self.clock,
        )

    def _changed(self) -> None:
        self.changes += 1

    def after(self, seconds: float = POLL_S) -> "Fetching":
        """What is due after so many more seconds has been done."""
        self.clock.now += seconds
        asyncio.run(self.fetcher.step())
        return self

    def files(self) -> dict[str, str]:
        """What is there to be read, of what has no problem."""
        files, problems = self.store.read()
        assert not problems, problems
        return {file.path: file.content.decode() for file in files}

    def problem(self) -> str:
        """The only one that is told; empty where there is none."""
        assert len(self.fetcher.problems()) <= 1
        return "".join(self.fetcher.problems())

    def counted(self) -> dict[str, int]:
        """How many looks had which result."""
        lines = self.metrics.render().decode().splitlines()
        found = [line.removeprefix('authz_policy_fetches_total{result="') for line in lines]
        pairs = [line.split('"} ') for line in found if '"} ' in line and line.split('"} ')[0].isalpha()]
        return {result: int(float(count)) for result, count in pairs if float(count)}


def follows(fetching: Callable[[], Fetching], publish: Callable[[dict[str, str]], object]) -> None:
    """What every kind of source does: the first fetch, nothing new, a change, and a restart."""
    publish(FIRST)
    first = fetching().after(0)
    assert first.files() == FIRST
    assert (first.counted(), first.changes) == ({"fetched": 1}, 1)
    first.after()
    assert (first.counted(), first.changes) == ({"fetched": 1, "unchanged": 1}, 1)
    publish(SECOND)
    assert first.after().files() == SECOND
    assert (first.counted(), first.changes) == ({"fetched": 2, "unchanged": 1}, 2)
    # Nothing of the first is left.
    assert len(list(first.store.directory.glob("fetched-*"))) == 1
    again = fetching()
    assert again.files() == SECOND
    assert again.after(0).counted() == {"unchanged": 1}


def goes_on_without(
    fetching: Callable[[], Fetching],
    publish: Callable[[dict[str, str]], object],
    stop: Callable[[], None],
    start: Callable[[], None],
) -> None:
    """What every kind of source does: it is gone, a restart meanwhile, and it is back with something else."""
    publish(FIRST)
    before = fetching().after(0)
    stop()
    assert "policies cannot be fetched since " in before.after().problem()
    restarted = fetching()
    assert restarted.after(0).files() == FIRST
    assert restarted.counted() == {"failed": 1}
    state = restarted.fetcher.state()
    assert state.fetched is not None
    assert state.failing_since is not None
    # Sooner than after success.
    restarted.after(1.0)
    assert restarted.counted() == {"failed": 2}
    start()
    publish(SECOND)
    assert restarted.after(2.0).files() == SECOND
    assert restarted.problem() == ""
    assert restarted.fetcher.state().failing_since is None
