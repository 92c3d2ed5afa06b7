"""Attacks with issuers' keys."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authz_server.control import key_source
from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.key_source import UrlSource
from authz_server.control.keys import Fetched
from authz_server.control.settings.places import check_url
from authz_server.documents.invalid import InvalidValue
from authz_server.errors import Reason
from tests.security.server import PARTNER, Server, assert_denied
from tests.unit.control.issuer_server import Answer, IssuerServer, answer, issuer_server
from tests.unit.identity.tokens import encoded, jwks

MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture(name="own", scope="module")
def _own(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server into which tests load keys."""
    return Server(tmp_path_factory.mktemp("keys"))


@pytest.fixture(name="issuer")
def _issuer() -> Iterator[IssuerServer]:
    with issuer_server() as running:
        yield running


def number(value: int) -> str:
    """A number as JWKs have it."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


RSA = {"kty": "RSA", "kid": "r", "alg": "RS256"}
UNUSABLE: list[dict[str, Any]] = [
    *({"kty": "oct", "k": "AAAA"}, {"kty": "nope"}, {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"}, {}),
    *({"kty": "EC", "crv": "P-256", "x": number(1), "y": number(1)}, {**RSA, "n": number(2**1023 + 1), "e": "AQAB"}),
    *({**RSA, "n": number(2**2047 + 1), "e": number(1)}, {**RSA, "n": number(2**2047 + 1), "e": number(4)}),
    {**RSA, "n": number(2**8200 + 1), "e": "AQAB"},
]


@pytest.mark.parametrize(
    "member", [{"use": "enc"}, {"d": "AAAA"}, {"alg": "HS256"}, {"alg": "ES384"}, {"key_ops": ["sign"]}]
)
def test_key_01_a_key_that_is_not_for_verifying_is_left_out(own: Server, member: dict[str, Any]) -> None:
    """Private ones, those for encryption, those of other algorithms; the issuer is dark without any other."""
    own.load(keys={"corp": jwks(own.key.jwk(**member))})
    assert_denied(own.ask(own.with_token()), Reason.ISSUER_UNAVAILABLE)
    own.load()
    assert own.ask(own.with_token()).allowed


def test_key_01_a_name_of_two_keys_stands_for_none(own: Server) -> None:
    """Both are left out, whichever signed."""
    own.load(keys={"corp": jwks(own.key.jwk(), own.partner_key.jwk())})
    assert_denied(own.ask(own.with_token()), Reason.ISSUER_UNAVAILABLE)


@pytest.mark.parametrize("key", UNUSABLE)
def test_key_02_a_weak_or_broken_key_is_left_out_and_others_stay(own: Server, key: dict[str, Any]) -> None:
    """RSA keys that are too short, too long or have a bad exponent, points off the curve, unknown kinds."""
    own.load(keys={"corp": jwks({**key, "kid": "bad"}, own.key.jwk())})
    assert own.ask(own.with_token()).allowed
    own.load(keys={"corp": jwks({**key, "kid": "k1"})})
    assert_denied(own.ask(own.with_token()), Reason.ISSUER_UNAVAILABLE)


def slow(request: Any) -> None:
    """A byte, and then nothing."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"{")
    request.wfile.flush()
    request.rfile.read(1)


BAD_ANSWERS: dict[str, Answer] = {
    "error": answer(b"", 500),
    "redirect": answer(b"", 302, location="http://127.0.0.1:1/"),
    "too large": answer(b" " * (1024 * 1024 + 1)),
    "bomb": answer(gzip.compress(b" " * 100_000_000), content_encoding="gzip"),
    "slow": slow,
    "nothing": answer(b""),
    "empty object": answer(b"{}"),
    "page": answer(b"<html>"),
    "too many": answer(json.dumps({"keys": [{}] * 101}).encode()),
}


class Clock:
    """A monotonic clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def issuer_keys(url: str, clock: Clock) -> Fetched:
    """The keys of an issuer, believed for an hour."""
    schedule = FetchSchedule(refresh_s=10 * MINUTE, max_age_s=HOUR)
    return Fetched("corp", UrlSource(url), schedule, on_change=lambda: None, on_fetch=lambda *_: None, clock=clock)


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_key_03_a_bad_answer_changes_nothing(
    issuer: IssuerServer, own: Server, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The old set stays, in bounded time and memory."""
    monkeypatch.setattr(key_source, "FETCH_S", 0.2 if case == "slow" else 5.0)
    clock = Clock()
    good = jwks(own.key.jwk())
    issuer.answers["/jwks"] = answer(good)
    keys = issuer_keys(f"{issuer.url}/jwks", clock)
    asyncio.run(keys.step())
    assert keys.document == good
    issuer.answers["/jwks"] = BAD_ANSWERS[case]
    clock.now += 11 * MINUTE
    asyncio.run(keys.step())
    assert len(issuer.asked) == 2
    assert keys.document == good
    assert keys.usable


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://login.example/keys", "ftp://x/", "gopher://x/", "//x/", "x"]
)
def test_key_03_keys_come_over_https(url: str) -> None:
    """Or over http from this machine."""
    with pytest.raises(InvalidValue):
        check_url(url)
    assert check_url("http://127.0.0.1:8080/keys")


def test_key_04_ten_thousand_unknown_names_cause_one_fetch_a_cooldown(issuer: IssuerServer, tmp_path: Path) -> None:
    """In ten seconds: none beside the one that has just been; and no other issuer is concerned."""
    server, clock = Server(tmp_path), Clock()
    issuer.answers["/jwks"] = answer(jwks(server.key.jwk()))
    keys = issuer_keys(f"{issuer.url}/jwks", clock)
    asyncio.run(keys.step())
    tokens = [server.key.token(server.claims(), header={"kid": f"made-up-{number}"}) for number in range(100)]
    for number in range(10_000):
        outcome = server.ask(server.with_token(tokens[number % 100]))
        assert outcome.reason == Reason.TOKEN_INVALID
        keys.ask()
        clock.now += 0.001
    asyncio.run(keys.step())
    assert server.unknown_keys == ["corp"] * 10_000
    assert len(issuer.asked) == 1
    clock.now += 30
    asyncio.run(keys.step())
    asyncio.run(keys.step())
    assert len(issuer.asked) == 2
    assert server.ask(server.with_token(server.partner_key.token(server.claims(iss=PARTNER)))).allowed


def test_key_05_known_keys_serve_while_the_issuer_is_down(issuer: IssuerServer, tmp_path: Path) -> None:
    """Half an hour denies nobody; after the hour that is configured everybody of that issuer, and nobody else."""
    server, clock = Server(tmp_path), Clock()
    issuer.answers["/jwks"] = answer(jwks(server.key.jwk()))
    keys = issuer_keys(f"{issuer.url}/jwks", clock)
    asyncio.run(keys.step())
    issuer.answers["/jwks"] = answer(b"", 503)
    partner = server.partner_key.token(server.claims(iss=PARTNER))
    generation = 1
    for minute in range(1, 75):
        clock.now += MINUTE
        asyncio.run(keys.step())
        generation += 1
        server.load(keys={"corp": keys.document}, generation=generation)
        outcome = server.ask(server.with_token())
        assert outcome.reason == ("allowed" if minute < 60 else Reason.ISSUER_UNAVAILABLE), minute
        assert server.ask(server.with_token(partner)).allowed
    assert not keys.usable
    issuer.answers["/jwks"] = answer(jwks(server.key.jwk()))
    clock.now += MINUTE
    asyncio.run(keys.step())
    server.load(keys={"corp": keys.document}, generation=generation + 1)
    assert server.ask(server.with_token()).allowed
