"""Attacks on records and logs, on time, and the one property of all answers."""

import json
import os
import random
import time
import unicodedata

import pytest

from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.security.server import Ask, Server, message_of

HOSTILE = [
    "a\r\nb",
    "\x1b[31mred",
    "\u202eabc",
    '"},{"x":"',
    "\\u0000",
    "a\x00b",
    "\u2028",
    "\ud7ff",
    "%0d%0a",
    "\x9b1m",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["path", "host", "method", "id", "agent"])
def test_log_01_hostile_text_stays_in_its_line(server: Server, field: str, text: str) -> None:
    """One JSON line, without what terminals act upon, that parses back to what was sent."""

    def change(message: CheckRequest) -> None:
        http = message.attributes.request.http
        if field == "agent":
            http.header_map.headers.add(key="x-request-id", raw_value=text.encode())
        else:
            setattr(http, field, "/" + text if field == "path" else text)

    outcome = server.ask(Ask(change=change))
    line = server.records[-1]
    text_of_line = line.decode()
    assert not [sign for sign in text_of_line if unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp")]
    if field == "host" and not outcome.allowed and "@" not in text:
        assert outcome.record["host"] == text


def test_log_02_no_secret_is_recorded(server: Server) -> None:
    """Neither tokens nor cookies nor the query; the token by a keyed hash."""
    ask = server.with_token()
    (_, bearer) = ask.headers[0]
    assert isinstance(bearer, str)
    secrets = [
        ("cookie", "session=hush-cookie"),
        ("x-api-key", "hush-key"),
        ("proxy-authorization", "Basic hush-proxy"),
    ]
    outcome = server.ask(Ask(path="/me?code=hush-query#", headers=[*ask.headers, *secrets]))
    outcomes = [outcome, server.ask(Ask(path="/me?code=hush-query", headers=[*ask.headers, *secrets]))]
    assert outcomes[1].allowed
    for line in server.records[-2:]:
        assert b"hush" not in line
        for part in bearer.removeprefix("Bearer ").split("."):
            assert part.encode() not in line
    assert len(outcomes[1].record["token_hash"]) == 32


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/public/a%3Bjsessionid=S3CRET", "/public/a"),
        ("/public/a%253bkey=S3CRET", "/public/a"),
        ("/public/a%3fkey=S3CRET", "/public/a"),
        ("/public/a;key=S3CRET", "/public/a"),
        ("http://ann:S3CRET@orders.shop.example/a", "http://orders.shop.example/a"),
    ],
)
def test_log_02_a_path_is_recorded_without_what_may_be_secret(server: Server, path: str, recorded: str) -> None:
    """Parameters and queries, also where they are escaped, and passwords."""
    outcome = server.ask(Ask(path=path))
    assert outcome.record["path"] == recorded
    assert "S3CRET" not in json.dumps(dict(outcome.record))


def test_log_03_long_fields_are_cut_and_no_record_is_lost(server: Server) -> None:
    """As many records as decisions, each bounded and marked where it was cut."""
    before = len(server.records)
    for number in range(20):
        server.ask(Ask(path="/" + "a" * 30_000, host=f"h{number}.example", headers=[("x-request-id", "r" * 50_000)]))
    assert len(server.records) == before + 20
    for line in server.records[before:]:
        assert len(line) < 16_384
        assert b"characters]" in line


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu"])
def test_time_01_a_time_zone_changes_no_decision(server: Server, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Tokens and certificates are good in UTC, records are in UTC."""
    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        assert server.ask(server.with_token()).allowed
        assert server.ask(server.as_web()).allowed
        old = server.key.token(server.claims(exp=time.time() - 60))
        outcome = server.ask(server.with_token(old))
        assert outcome.reason == "token_expired"
        assert outcome.record["time"].startswith(time.strftime("%Y-%m-%dT", time.gmtime()))
    finally:
        monkeypatch.undo()
        time.tzset()


ALPHABET = [
    *"/.;%#?&=@:,-_ aA0\0\r\n\xff",
    "..",
    "//",
    "%2e",
    "%2f",
    "public",
    "admin",
    "orders.shop.example",
    "GET",
    "é",
]


def hostile(chance: random.Random, length: int = 6) -> str:
    """A text of interesting pieces."""
    return "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(length)))


def test_resp_01_what_is_allowed_is_what_a_rule_allowed(server: Server) -> None:
    """Of thousands of random messages each status 0 has a rule on record, and each other one has none that allowed."""
    chance = random.Random(20261124)  # noqa: S311 - the same messages each time
    paths = ["/public/a", "/exact", "/list", "/me", "/tagged", "/search?a=1", "/admin"]
    allowed = 0
    for _ in range(3_000):
        ask = chance.choice([Ask(), server.with_token(), server.as_web()])
        message = message_of(ask)
        http = message.attributes.request.http
        http.path = chance.choice(paths) + (hostile(chance) if chance.random() < 0.5 else "")
        if chance.random() < 0.2:
            http.host = hostile(chance)
        if chance.random() < 0.2:
            http.method = hostile(chance, 2)
        if chance.random() < 0.3:
            http.header_map.headers.add(key=hostile(chance, 3), raw_value=hostile(chance).encode())
        payload = message.SerializeToString()
        if chance.random() < 0.2:
            place = chance.randrange(len(payload))
            payload = payload[:place] + bytes([chance.randrange(256)]) + payload[place + 1 :]
        outcome = server.send(payload)
        assert outcome.allowed is (outcome.reason == "allowed" and outcome.record["rule"] is not None)
        assert outcome.reason != "internal_error", json.dumps(dict(outcome.record))
        allowed += outcome.allowed
    assert 300 < allowed < 2_700
