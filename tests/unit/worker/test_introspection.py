"""Asking an issuer about opaque tokens: bounded in time, in requests that wait, and in what may come."""

import asyncio
import gzip
import ssl
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from authz_server.bounds import Bound
from authz_server.dev.ca import create_ca
from authz_server.dev.waiting import wait_until
from authz_server.errors import Reason, Refused
from authz_server.identity.introspection import IntrospectionNeeded, OpaqueTokens
from authz_server.identity.settings import Introspection, Issuer
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker import introspection as module
from authz_server.worker.introspection import Introspector
from authz_server.worker.introspection_client import AskingFailed, IntrospectionClient
from tests.introspection_server import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    SECRET,
    Answer,
    Held,
    IntrospectionServer,
    claims,
    introspection_server,
    said,
    sent,
)

PATIENCE_S = 20.0


@pytest.fixture(name="server")
def _server() -> Iterator[IntrospectionServer]:
    with introspection_server() as server:
        yield server


@pytest.fixture(name="settings")
def _settings(server: IntrospectionServer, tmp_path: Path) -> Introspection:
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    return Introspection(server.url, CLIENT, str(tmp_path / "secret"), timeout_s=10.0)


def ask(settings: Introspection, *tokens: str) -> list[bytes]:
    """What the issuer says about these tokens, asked by one client one after the other."""

    async def scenario() -> list[bytes]:
        client = IntrospectionClient(settings)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return [await client.ask(token) for token in tokens]
        finally:
            client.close()

    return asyncio.run(scenario())


def test_questions_share_a_connection(server: IntrospectionServer, settings: Introspection) -> None:
    """With the client's credentials encoded as RFC 6749 section 2.3.1 says, and any token as it is."""
    tokens = ["a", "b+/=&token=x", "ü%20 "]
    for token in tokens:
        server.answers[token] = sent(token.encode())
    assert ask(settings, *tokens) == [token.encode() for token in tokens]
    assert server.asked == tokens
    assert server.connections == 1


def goodbye(request: BaseHTTPRequestHandler) -> None:
    """An answer, and then the connection is closed without a word."""
    sent(b"{}")(request)
    request.close_connection = True


@pytest.mark.parametrize("answer", [goodbye, sent(b"{}", connection="close")])
def test_a_connection_that_is_gone_is_replaced(
    server: IntrospectionServer, settings: Introspection, answer: Answer
) -> None:
    """The question is put again where nobody has heard it."""
    server.answers.update({"a": answer, "b": answer})
    assert ask(settings, "a", "b") == [b"{}", b"{}"]
    assert server.connections == 2


def test_a_new_secret_is_used_at_once(server: IntrospectionServer, settings: Introspection, tmp_path: Path) -> None:
    """Without a restart."""
    server.basic = "Z2F0ZTpuZXc="
    with pytest.raises(AskingFailed, match="the answer has status 401"):
        ask(settings, "a")
    (tmp_path / "secret").write_text("new")
    assert ask(settings, "a")


def nothing(request: BaseHTTPRequestHandler) -> None:
    """Close the connection."""
    request.close_connection = True


def noise(request: BaseHTTPRequestHandler) -> None:
    """Something that is not HTTP."""
    request.wfile.write(b"220 mail.example ESMTP\r\n")
    request.close_connection = True


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (sent(b"{}", 500), "the answer has status 500"),
        (sent(b"{}", 201), "the answer has status 201"),
        (sent(b"", 302, location="https://elsewhere.example/"), "the answer has status 302"),
        (sent(b"{}", kind="text/html"), "the answer is not `application/json`"),
        (sent(b"{}", kind="application/token-introspection+jwt"), "the answer is not `application/json`"),
        (sent(gzip.compress(b"{}"), content_encoding="gzip"), "the answer is compressed"),
        (sent(b" " * 65_537), "the answer is larger than 65536 bytes"),
        (sent(b"{}", content_length="10", connection="close"), "what came is not HTTP"),
        (sent(b"{}", x_long="x" * 100_000), "what came is not HTTP"),
        (nothing, "the connection ended before the answer|what came is not HTTP"),
        (noise, "what came is not HTTP"),
    ],
)
def test_a_bad_answer_is_refused(
    server: IntrospectionServer, settings: Introspection, answer: Answer, problem: str
) -> None:
    """With what was wrong, and nothing that came."""
    server.answers["a"] = answer
    with pytest.raises(AskingFailed, match=problem) as failed:
        ask(settings, "a")
    assert "elsewhere" not in str(failed.value)


def test_a_charset_of_json_is_nothing_special(server: IntrospectionServer, settings: Introspection) -> None:
    """Others send one; JSON is UTF-8 whatever it says."""
    server.answers["a"] = sent(b"{}", kind="Application/JSON; charset=utf-8")
    assert ask(settings, "a") == [b"{}"]


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_without_a_secret_nothing_is_asked(
    server: IntrospectionServer, settings: Introspection, tmp_path: Path, content: bytes | None
) -> None:
    """The file is named."""
    (tmp_path / "secret").unlink()
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(AskingFailed, match=r"secret: the client's secret (cannot be read|is empty)$"):
        ask(settings, "a")
    assert server.asked == []


def test_an_issuer_that_is_down_is_told_in_words(settings: Introspection) -> None:
    """Nobody listens there; what the query holds is not told."""
    with introspection_server() as server:
        url = server.url
    with pytest.raises(AskingFailed, match=r"^127\.0\.0\.1:\d+: the connection is refused$"):
        ask(structs.replace(settings, url=url), "a")


def test_an_issuer_whose_certificate_nobody_signed_is_not_believed(settings: Introspection, tmp_path: Path) -> None:
    """It is told no token."""
    svid = create_ca("shop.example").issue("spiffe://shop.example/issuer", dns_names=["localhost"])
    (tmp_path / "both.pem").write_text(svid.certificate_pem + svid.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")

    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"https://localhost:{port}/introspect"
            await IntrospectionClient(structs.replace(settings, url=url)).ask("a")

    with pytest.raises(AskingFailed, match="its TLS certificate is not trusted: unable to get local issuer"):
        asyncio.run(scenario())


class Asking:
    """An introspector, and what became of the requests that it was given."""

    def __init__(self, settings: Introspection, metrics: WorkerMetrics) -> None:
        issuer = Issuer("corp", ISSUER, (AUDIENCE,), introspection=settings)
        self.tokens = OpaqueTokens(issuer, settings, b"k" * 32)
        self.introspector = Introspector(self.tokens, metrics)
        self.ended: list[Refused | None] = []

    def ask(self, token: str, time_left_s: float | None = None, size: int = 100) -> None:
        """A request with this token."""
        self.introspector(IntrospectionNeeded(token, token.encode()), size, time_left_s, self.ended.append)

    def reasons(self, count: int) -> list[Reason | None]:
        """What so many requests came to; None where they can be decided."""
        wait_until(lambda: len(self.ended) >= count, PATIENCE_S, f"{count} answers")
        return [None if refusal is None else refusal.reason for refusal in self.ended]

    def known(self, token: str) -> bool:
        """Whether the token is known to be good. Raises Refused, IntrospectionNeeded."""
        return bool(self.tokens.find(token, token.encode(), time.time()))


@pytest.fixture(name="make")
def _make(settings: Introspection, tmp_path: Path) -> Iterator[Callable[..., Asking]]:
    made: list[tuple[Asking, WorkerMetrics]] = []
    (tmp_path / "metrics").mkdir()

    def make(**changes: object) -> Asking:
        metrics = WorkerMetrics(tmp_path / "metrics", len(made))
        made.append((Asking(structs.replace(settings, **changes), metrics), metrics))
        return made[-1][0]

    yield make
    for asking, metrics in made:
        asking.introspector.stop()
        metrics.close()


def test_many_requests_are_one_question(server: IntrospectionServer, make: Callable[..., Asking]) -> None:
    """All can be decided when the answer is there; the next one with this token asks again only where it must."""
    held = server.answers["a"] = Held(said(claims()))
    asking = make()
    for _ in range(100):
        asking.ask("a")
    assert held.asked.wait(PATIENCE_S)
    held.released.set()
    assert asking.reasons(100) == [None] * 100
    assert server.asked == ["a"]
    assert asking.known("a")


def test_one_token_does_not_wait_for_another(server: IntrospectionServer, make: Callable[..., Asking]) -> None:
    """An answer that does not come holds up its own requests alone."""
    held = server.answers["slow"] = Held(said(claims()))
    server.answers["quick"] = said(claims())
    asking = make()
    asking.ask("slow")
    assert held.asked.wait(PATIENCE_S)
    asking.ask("quick")
    assert asking.reasons(1) == [None]
    assert asking.known("quick")
    held.released.set()
    assert asking.reasons(2) == [None, None]


def test_a_request_whose_deadline_comes_is_denied(server: IntrospectionServer, make: Callable[..., Asking]) -> None:
    """The answer is not lost: it is there for the next request."""
    held = server.answers["a"] = Held(said(claims()))
    asking = make()
    asking.ask("a", time_left_s=0.1)
    asking.ask("a", time_left_s=-1.0)
    assert asking.reasons(2) == [Reason.DEADLINE, Reason.DEADLINE]
    held.released.set()
    asking.ask("a")
    assert asking.reasons(3)[2] is None
    assert server.asked == ["a"]
    assert asking.known("a")


def test_a_failure_is_told_now_and_then(server: IntrospectionServer, make: Callable[..., Asking]) -> None:
    """Requests get their denial from what is remembered of it; the log names the issuer and no token."""
    held = server.answers["slow-token"] = Held(said(claims()))
    server.answers["odd-token"] = said({"active": "true"})
    asking = make(timeout_s=0.1)
    with capture_logs() as logs:
        asking.ask("slow-token")
        assert asking.reasons(1) == [None]
        asking.ask("odd-token")
        assert asking.reasons(2) == [None, None]
    held.released.set()
    expected = {"event": "introspection_failed", "issuer": "corp", "problem": "no whole answer within 0.1 s"}
    assert logs == [{**expected, "log_level": "error"}]
    for token in ("slow-token", "odd-token"):
        with pytest.raises(Refused, match="issuer_unavailable"):
            asking.known(token)


@pytest.mark.parametrize(
    ("bound", "size"), [(module.WAITING._replace(entries=3), 1), (module.WAITING._replace(bytes=300), 100)]
)
def test_requests_that_wait_are_bounded(
    server: IntrospectionServer, make: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch, bound: Bound, size: int
) -> None:
    """One too many is denied at once; when others are answered there is room again."""
    monkeypatch.setattr(module, "WAITING", bound)
    held = server.answers["a"] = Held(said(claims()))
    asking = make()
    for _ in range(3):
        asking.ask("a", size=size)
    with pytest.raises(Refused, match="overloaded"):
        asking.ask("a", size=size)
    held.released.set()
    assert asking.reasons(3) == [None] * 3
    asking.ask("a", size=size)
    assert asking.reasons(4) == [None] * 4


def test_tokens_that_are_asked_about_are_bounded(
    server: IntrospectionServer, make: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those for which nobody waits any more."""
    monkeypatch.setattr(module, "QUESTIONS", module.QUESTIONS._replace(entries=2))
    held = [Held(said(claims())) for _ in range(2)]
    server.answers.update(zip("ab", held, strict=True))
    asking = make()
    for token in "ab":
        asking.ask(token, time_left_s=0.1)
    assert asking.reasons(2) == [Reason.DEADLINE] * 2
    asking.ask("c")
    assert asking.reasons(3)[2] is Reason.OVERLOADED
    for each in held:
        each.released.set()


def test_a_question_that_has_no_turn_is_no_failure_of_the_issuer(
    server: IntrospectionServer, make: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is remembered of it: the next request with the token may ask."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 0)
    asking = make(timeout_s=0.1)
    for _ in range(3):
        asking.ask("a")
    assert asking.reasons(3) == [Reason.OVERLOADED] * 3
    with pytest.raises(IntrospectionNeeded):
        asking.known("a")
    assert server.asked == []


def test_questions_at_once_are_bounded(
    server: IntrospectionServer, make: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer is not flooded with what clients make up."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    asking = make()
    held = [Held(said(claims())) for _ in range(5)]
    for number, each in enumerate(held):
        server.answers[f"t{number}"] = each
        asking.ask(f"t{number}")
    for number, each in enumerate(held):
        assert each.asked.wait(PATIENCE_S)
        assert len(server.asked) <= number + 2
        each.released.set()
    assert asking.reasons(5) == [None] * 5
