"""Fetching keys over HTTP (KEY-03)."""

import asyncio
import gzip
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import gaierror

import httpx2
import pytest

from authz_server.control import key_source
from authz_server.control.fetching import FetchFailed, in_words
from authz_server.control.key_source import DiscoverySource, UrlSource
from authz_server.dev.ca import create_ca
from authz_server.identity.keys import MAX_DOCUMENT_BYTES
from tests.unit.control.issuer_server import Answer, IssuerServer, answer, issuer_server

METADATA = "/.well-known/openid-configuration"
KEYS: dict[str, list[object]] = {"keys": []}


@pytest.fixture(name="issuer")
def _issuer() -> Iterator[IssuerServer]:
    with issuer_server() as server:
        yield server


def test_a_document_is_fetched_as_it_is(issuer: IssuerServer) -> None:
    """Not a byte is changed."""
    issuer.answers["/jwks"] = answer(b'{ "keys": [] }')
    assert asyncio.run(UrlSource(f"{issuer.url}/jwks").fetch()) == b'{ "keys": [] }'


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Send a byte and then nothing, without closing."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"{")
    request.wfile.flush()
    request.rfile.read(1)


BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "error": (answer(b"", 500), "the answer has status 500"),
    "redirect": (answer(b"", 302, location="http://elsewhere.example/"), "status 302; redirects are not followed"),
    "too large": (answer(b" " * (MAX_DOCUMENT_BYTES + 1)), f"larger than {MAX_DOCUMENT_BYTES:,} bytes"),
    "compressed": (answer(gzip.compress(b"{}"), content_encoding="gzip"), "compressed"),
    "slow": (trickle, "no whole answer within 0.2 s"),
    "cut": (answer(b"{}", content_length="10"), "the connection ended before the whole answer"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_is_refused(issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """With what was wrong, and in bounded time and memory."""
    monkeypatch.setattr(key_source, "FETCH_S", 0.2 if case == "slow" else 5.0)
    issuer.answers["/jwks"], message = BAD_ANSWERS[case]
    with pytest.raises(FetchFailed, match=f"^{issuer.url.removeprefix('http://')}: .*{message}"):
        asyncio.run(UrlSource(f"{issuer.url}/jwks").fetch())


def test_an_issuer_that_is_down_is_a_failure() -> None:
    """Nobody listens there; what a query holds is not told."""
    with issuer_server() as server:
        url = server.url
    with pytest.raises(FetchFailed, match=f"^{url.removeprefix('http://')}: the connection is refused$"):
        asyncio.run(UrlSource(f"{url}/jwks?key=secret").fetch())


def test_an_issuer_whose_certificate_nobody_signed_is_not_believed(tmp_path: Path) -> None:
    """Its host is named, and that it is its certificate that is wrong."""
    svid = create_ca("shop.example").issue("spiffe://shop.example/issuer", dns_names=["localhost"])
    (tmp_path / "both.pem").write_text(svid.certificate_pem + svid.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")

    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            await UrlSource(f"https://localhost:{port}/jwks").fetch()

    with pytest.raises(FetchFailed, match=r"^localhost:\d+: its TLS certificate is not trusted: unable to get local"):
        asyncio.run(scenario())


def test_a_private_authority_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SSL_CERT_FILE`, as everywhere: for keys and for bundles, also on loopback."""
    ca = create_ca("shop.example")
    svid = ca.issue("spiffe://shop.example/issuer", dns_names=["localhost"])
    (tmp_path / "both.pem").write_text(svid.certificate_pem + svid.key_pem)
    (tmp_path / "ca.pem").write_text(ca.bundle_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def scenario() -> bytes:
        async with await asyncio.start_server(reply, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            return await UrlSource(f"https://localhost:{port}/jwks").fetch()

    assert asyncio.run(scenario()) == b"{}"


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (gaierror(-2, "Name or service not known"), "the name is not found"),
        (ExceptionGroup("all", [ConnectionRefusedError(111, "Connect call failed")]), "the connection is refused"),
        (OSError(113, "Connect call failed ('10.0.0.1', 443)"), "No route to host"),
        (ssl.SSLError(1, "wrong version number"), "no TLS connection can be made"),
        (ValueError("what else there may be"), "no connection can be made"),
    ],
)
def test_a_failure_is_told_in_words(cause: Exception, words: str) -> None:
    """By the reason below those that say less, without names of types."""
    error = httpx2.ConnectError("All connection attempts failed")
    error.__cause__ = OSError("All connection attempts failed")
    error.__cause__.__cause__ = cause
    assert in_words(error) == words


@pytest.mark.parametrize("suffix", ["", "/", "/realms/shop"])
def test_discovery_finds_the_keys(issuer: IssuerServer, suffix: str) -> None:
    """OpenID Connect Discovery section 4.1: below the issuer's URL, without its last slash."""
    name = f"{issuer.url}{suffix}"
    issuer.serve(f"{suffix.rstrip('/')}{METADATA}", {"issuer": name, "jwks_uri": f"{issuer.url}/jwks"})
    issuer.serve("/jwks", KEYS)
    assert json.loads(asyncio.run(DiscoverySource(name).fetch())) == KEYS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issuer": "https://other.example"}, "names another issuer"),
        ({"issuer": None}, "names another issuer"),
        ({"jwks_uri": None}, "has no `jwks_uri`"),
        ({"jwks_uri": "http://other.example/jwks"}, "`http:` is for loopback only"),
        ({"jwks_uri": "file:///etc/passwd"}, "begins with `https://`"),
        ({"jwks_uri": "https://u:p@other.example/"}, "user name or password"),
    ],
)
def test_discovery_believes_only_a_document_of_the_issuer(
    issuer: IssuerServer, changes: dict[str, object], message: str
) -> None:
    """OpenID Connect Discovery section 4.3, and keys only from where they can be trusted."""
    issuer.serve(METADATA, {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks", **changes})
    issuer.serve("/jwks", KEYS)
    with pytest.raises(FetchFailed, match=message):
        asyncio.run(DiscoverySource(issuer.url).fetch())
    assert issuer.asked == [METADATA]


def test_a_discovery_document_that_is_no_json_is_refused(issuer: IssuerServer) -> None:
    """As any other bad answer."""
    issuer.answers[METADATA] = answer(b"<html>")
    with pytest.raises(FetchFailed, match="the discovery document is not JSON"):
        asyncio.run(DiscoverySource(issuer.url).fetch())
