"""Requests for policies over HTTP."""

import asyncio
import gzip
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from authz_server.control.fetching import FetchFailed
from authz_server.control.sources.web import MAX_REDIRECTS, Answer, Web
from authz_server.dev.ca import create_ca
from tests.unit.control.issuer_server import Answer as Reply
from tests.unit.control.issuer_server import answer
from tests.unit.control.sources.bundles import FileServer, file_server

MAX_BYTES = 1000


@pytest.fixture(name="server")
def _server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture(name="other")
def _other() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


def get(url: str, timeout_s: float = 5.0, ca_file: Path | None = None) -> Answer:
    """What is there, with a secret shown."""
    return asyncio.run(Web(timeout_s, ca_file).ask("GET", url, {}, max_bytes=MAX_BYTES, authorization="Bearer s"))


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Send a byte and then nothing, without closing."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"{")
    request.wfile.flush()
    request.rfile.read(1)


def endless(request: BaseHTTPRequestHandler) -> None:
    """Send for as long as somebody reads."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"a" * 4096)


BAD_ANSWERS: dict[str, tuple[Reply, str]] = {
    "too large": (answer(b" " * (MAX_BYTES + 1)), "the answer is larger than 1,000 bytes"),
    "endless": (endless, "the answer is larger than 1,000 bytes"),
    "compressed": (answer(gzip.compress(b"{}"), content_encoding="gzip"), "compressed"),
    "slow": (trickle, "no whole answer within 0.2 s"),
    "cut": (answer(b"{}", content_length="10"), "the connection ended before the whole answer"),
    "nowhere": (answer(b"", 302), "over 3 redirects"),
    "to a file": (
        answer(b"", 302, location="file:///etc/passwd"),
        "redirects, and it leads to what is no URL that may be fetched",
    ),
    "in the clear": (answer(b"", 302, location="http://a.example/"), "it leads to what is no URL that may be fetched"),
    "with a user": (answer(b"", 302, location="https://a:b@c.example/"), "it leads to what is no URL"),
    "other scheme": (answer(b"", 302, location="https://a.example/"), "from http to https, which is not followed"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_is_refused(server: FileServer, case: str) -> None:
    """With what was wrong, in bounded time and memory."""
    server.answers["/a"], message = BAD_ANSWERS[case]
    with pytest.raises(FetchFailed, match=f"^{server.host}: .*{message}"):
        get(f"{server.url}/a", timeout_s=0.2 if case == "slow" else 5.0)


def test_redirects_are_followed_with_the_secret_at_home(server: FileServer, other: FileServer) -> None:
    """Another port is another host; back home it is shown again."""
    server.answers["/a"] = answer(b"", 307, location="b?c=d")
    server.answers["/b"] = answer(b"", 302, location=f"{other.url}/a")
    other.answers["/a"] = answer(b"", 301, location=f"{server.url}/e")
    server.answers["/e"] = answer(b"here")
    got = get(f"{server.url}/a")
    assert (got.status, got.body, got.host) == (200, b"here", server.host)
    assert [path for _, path, _ in server.asked] == ["/a", "/b?c=d", "/e"]
    assert all(headers["authorization"] == "Bearer s" for _, _, headers in server.asked)
    [(_, _, headers)] = other.asked
    assert "authorization" not in headers


def test_redirects_end(server: FileServer) -> None:
    """However many a server has."""
    server.answers["/a"] = answer(b"", 302, location="/a")
    with pytest.raises(FetchFailed, match="over 3 redirects"):
        get(f"{server.url}/a")
    assert len(server.asked) == MAX_REDIRECTS + 1


def test_what_a_refusal_says_is_not_read(server: FileServer) -> None:
    """Its status says enough."""
    server.answers["/a"] = answer(b"a" * 10 * MAX_BYTES, 500)
    assert get(f"{server.url}/a").body == b""


@pytest.fixture(name="tls")
def _tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's, whose authority is in `ca.pem`; `other.pem` has another one."""
    ca = create_ca("shop.example")
    svid = ca.issue("spiffe://shop.example/server", dns_names=["localhost"])
    (tmp_path / "both.pem").write_text(svid.certificate_pem + svid.key_pem)
    (tmp_path / "ca.pem").write_text(ca.bundle_pem)
    (tmp_path / "other.pem").write_text(create_ca("shop.example").bundle_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


def over_tls(tls: ssl.SSLContext, ca_file: Path, reply: bytes) -> Answer:
    """What a server with TLS answers."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def scenario() -> Answer:
        async with await asyncio.start_server(respond, "127.0.0.1", 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            return await Web(5.0, ca_file).ask("GET", f"https://localhost:{port}/", {}, max_bytes=MAX_BYTES)

    return asyncio.run(scenario())


def test_an_authority_of_ones_own_is_the_only_one(tls: ssl.SSLContext, tmp_path: Path) -> None:
    """A certificate of another one is not believed."""
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    assert over_tls(tls, tmp_path / "ca.pem", reply).body == b"{}"
    with pytest.raises(FetchFailed, match=r"^localhost:\d+: its TLS certificate is not trusted"):
        over_tls(tls, tmp_path / "other.pem", reply)


def test_no_redirect_leads_out_of_tls_or_to_this_machine(tls: ssl.SSLContext, tmp_path: Path) -> None:
    """What listens on loopback believes to be asked by this machine alone."""
    for location, message in (
        (b"http://127.0.0.1:9/", "it leads from https to http"),
        (b"https://127.0.0.1:9/", "it leads to this machine"),
    ):
        reply = b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n"
        with pytest.raises(FetchFailed, match=message):
            over_tls(tls, tmp_path / "ca.pem", reply)
