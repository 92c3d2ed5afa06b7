"""Secret inputs are recorded as keyed hashes, wherever they stand."""

import hmac
from typing import Any

import pytest

from authz_server.audit.redaction import NAMES, Redaction

KEY = b"k" * 32


def hashed(text: str) -> str:
    """What stands in a record for a secret text."""
    return "keyed-hash:" + hmac.digest(KEY, text.encode(), "sha256").hex()[:32]


@pytest.mark.parametrize(
    ("secrets", "inputs", "recorded"),
    [
        ([], {"user.claims.email": "a@x"}, {"user.claims.email": "a@x"}),
        (["user.claims.email"], {"user.claims.email": "a@x"}, {"user.claims.email": hashed("a@x")}),
        (["user.claims.email"], {"user.claims.email_verified": True}, {"user.claims.email_verified": True}),
        (["user.claims.email"], {"user.claims.email": None}, {"user.claims.email": None}),
        (["user.claims.age"], {"user.claims.age": 42}, {"user.claims.age": hashed("42")}),
        (
            ["user.claims.address"],
            {"user.claims.address.street": "High", "now": 1},
            {"user.claims.address.street": hashed("High"), "now": 1},
        ),
        (
            ["user.claims.address.street"],
            {"user.claims.address": {"street": "High", "city": "Bern"}},
            {"user.claims.address": {"street": hashed("High"), "city": "Bern"}},
        ),
        (
            ["user.claims.email"],
            {"user.claims[*]": {"email": "a@x", "sub": "ann"}},
            {"user.claims[*]": {"email": hashed("a@x"), "sub": "ann"}},
        ),
        (["user.claims[*]"], {"user.claims.email": "a@x"}, {"user.claims.email": hashed("a@x")}),
        (["user.claims[*]"], {"user.claims[*]": {"a": 1}}, {"user.claims[*]": hashed('{"a": 1}')}),
        (
            ["request.headers[X-Key]"],
            {"request.header_values[x-key]": ["s"], "request.headers[x-key]": "s"},
            {"request.header_values[x-key]": hashed('["s"]'), "request.headers[x-key]": hashed("s")},
        ),
        (["body.cards.number"], {"body.cards": [{"number": "4"}]}, {"body.cards": [{"number": hashed("4")}]}),
        ([], {"request.headers[cookie]": "s"}, {"request.headers[cookie]": hashed("s")}),
        (
            [],
            {"request.headers[*]": {"authorization": "Bearer t", "accept": "*/*"}},
            {"request.headers[*]": {"authorization": hashed("Bearer t"), "accept": "*/*"}},
        ),
        ([], {"request.query[access_token]": ["t"]}, {"request.query[access_token]": hashed('["t"]')}),
    ],
)
def test_a_secret_is_recorded_as_its_keyed_hash(
    secrets: list[str], inputs: dict[str, Any], recorded: dict[str, Any]
) -> None:
    """A name covers its value, everything below it, and its place inside a bigger value; nothing else changes."""
    redaction = Redaction(secrets, KEY)
    assert redaction(inputs) == recorded
    assert redaction(inputs) == recorded


def test_inputs_without_secrets_are_not_copied() -> None:
    """The usual request pays for a look-up of each name, no more."""
    inputs = {"request.method": "GET"}
    assert Redaction([], KEY)(inputs) is inputs


def test_a_text_that_is_no_unicode_can_be_secret() -> None:
    """A lone surrogate in a secret value is hashed like any other text."""
    assert Redaction(["body.x"], KEY)({"body.x": "a\udc80"})["body.x"].startswith("keyed-hash:")


def test_the_names_that_are_remembered_are_bounded() -> None:
    """Any number of names, as after many reloads, gives right answers in bounded memory."""
    redaction = Redaction(["body.secret"], KEY)
    for number in range(10_010):
        redaction({f"body.field{number}": 1})
    assert len(redaction._concerned) <= 10_000
    assert redaction({"body.secret": "s", "body.field1": 1}) == {"body.secret": hashed("s"), "body.field1": 1}


def test_long_names_that_are_remembered_are_bounded_by_their_bytes() -> None:
    """Fewer of them find room."""
    redaction = Redaction([], KEY)
    for number in range(2_000):
        redaction({f"body.{'x' * 4000}{number}": 1})
    assert sum(map(len, redaction._concerned)) <= NAMES.bytes


def test_an_empty_key_is_refused() -> None:
    """A hash without a key could be tried out by anybody."""
    with pytest.raises(ValueError, match="the key for hashing secret values is empty"):
        Redaction([], b"")
