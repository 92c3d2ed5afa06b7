"""The keys of upstream tokens: read, written, published, rotated."""

import json
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from authz_server.identity.keys import parse_jwks
from authz_server.identity.signing_keys import (
    MAX_SIGNING_KEYS,
    InvalidSigningKeys,
    Rotation,
    SigningKey,
    key_for,
    parse_signing_keys,
    private_document,
    public_document,
    rotated,
)
from tests.unit.identity.tokens import NOW

DAY_S = 86_400.0
ROTATION = Rotation(rotate_s=DAY_S, keep_s=420.0)
FIRST = rotated((), NOW, ROTATION)


def document(**changes: Any) -> bytes:
    """A JWK Set of one good private key; None takes a member away."""
    [key, _] = json.loads(private_document(FIRST))["keys"]
    return json.dumps({"keys": [{name: v for name, v in {**key, **changes}.items() if v is not None}]}).encode()


def at(keys: Sequence[SigningKey]) -> list[float]:
    """When each begins, in seconds from NOW."""
    return [key.signs_from - NOW for key in keys]


def test_a_key_signs_at_once_where_there_is_none_and_its_successor_is_there() -> None:
    """Who copies the key set has the next key for as long as this one signs."""
    assert at(FIRST) == [0.0, DAY_S]
    assert key_for(FIRST, NOW) is FIRST[0]
    assert rotated(FIRST, NOW + DAY_S - 1, ROTATION) == FIRST


def test_the_successor_signs_and_the_key_before_it_stays_for_what_it_signed() -> None:
    """Until the last of its tokens has expired, wherever the key set was copied last."""
    second = rotated(FIRST, NOW + DAY_S, ROTATION)
    assert second[:2] == FIRST
    assert at(second) == [0.0, DAY_S, 2 * DAY_S]
    assert key_for(second, NOW + DAY_S) is FIRST[1]
    assert rotated(second, NOW + DAY_S + 419, ROTATION) == second
    assert rotated(second, NOW + DAY_S + 420, ROTATION) == second[1:]


def test_after_a_long_pause_what_was_published_signs() -> None:
    """Nobody has seen a newer key."""
    later = NOW + 30 * DAY_S
    keys = rotated(FIRST, later, ROTATION)
    assert key_for(keys, later) is FIRST[1]
    assert at(keys) == [DAY_S, 31 * DAY_S]


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=20))
def test_whatever_the_clock_does_there_is_a_key_a_successor_and_no_heap(times: list[float]) -> None:
    """No jump forward or back puts off the next change by more than a rotation."""
    keys: tuple[SigningKey, ...] = ()
    for now in times:
        before, keys = keys, rotated(keys, now, ROTATION)
        assert 2 <= len(keys) <= 2 + len(times)
        assert key_for(keys, now) in keys
        assert all(key.signs_from <= now + ROTATION.rotate_s for key in keys)
        assert not before or {key.kid for key in before} & {key.kid for key in keys}


def test_what_is_written_can_be_read() -> None:
    """With the same names and times, so that a restart goes on."""
    read = parse_signing_keys(private_document(FIRST))
    assert [(key.kid, key.signs_from) for key in read] == [(key.kid, key.signs_from) for key in FIRST]
    assert private_document(read) == private_document(FIRST)


def test_what_is_published_verifies_and_signs_nothing() -> None:
    """Our own strict reader of key sets takes it without a warning."""
    published = json.loads(public_document(FIRST))["keys"]
    assert [set(key) for key in published] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}] * 2
    keys = parse_jwks(public_document(FIRST))
    assert (len(keys.keys), keys.warnings) == (2, ())
    with pytest.raises(InvalidSigningKeys):
        parse_signing_keys(public_document(FIRST))


def test_keys_of_an_operator_need_no_time_and_no_name() -> None:
    """Without times the first one signs; without a name a key has its thumbprint."""
    keys = tuple(replace(key, signs_from=0) for key in FIRST)
    assert key_for(keys, NOW) is keys[0]
    [key] = parse_signing_keys(document(kid=None, signs_from=None, use=None, alg=None))
    assert (key.kid, key.signs_from) == (FIRST[0].kid, 0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "it is no JWK Set of at most 50 keys"),
        (json.dumps({"keys": [{}] * (MAX_SIGNING_KEYS + 1)}).encode(), "it is no JWK Set of at most 50 keys"),
        (b'{"keys": [1]}', "key 1 is no private key of the curve P-256"),
        (document(d=None), "key 1 is no private key of the curve P-256"),
        (document(crv="P-384"), "key 1 is no private key of the curve P-256"),
        (document(kty="oct"), "key 1 is no private key of the curve P-256"),
        (document(alg="ES384"), "key 1 is not for signatures with ES256"),
        (document(use="enc"), "key 1 is not for signatures with ES256"),
        (document(signs_from="soon"), "`signs_from` of key 1 is no number of seconds since 1970"),
        (document(signs_from=True), "`signs_from` of key 1 is no number of seconds since 1970"),
        (document(d="AAAA"), "the numbers of key 1 do not belong together"),
        (document(d="!"), "the numbers of key 1 do not belong together"),
        (document(d=7), "the numbers of key 1 do not belong together"),
        (document(x="AAAA"), "the numbers of key 1 do not belong together"),
        (document(kid=""), "`kid` of key 1 is no text of 1 to 128 characters"),
        (document(kid=["a"]), "`kid` of key 1 is no text of 1 to 128 characters"),
    ],
)
def test_what_nothing_can_be_signed_with_is_refused_without_showing_it(content: bytes, problem: str) -> None:
    """The words hold nothing of the document."""
    with pytest.raises(InvalidSigningKeys) as refused:
        parse_signing_keys(content)
    assert str(refused.value) == problem


def test_two_keys_of_one_name_are_refused() -> None:
    """A backend would take one for the other."""
    [key] = json.loads(document())["keys"]
    with pytest.raises(InvalidSigningKeys, match="one `kid`"):
        parse_signing_keys(json.dumps({"keys": [key, key]}).encode())


def test_a_key_does_not_show_itself() -> None:
    """Not where it is printed, nor where a reader of JWTs would find it."""
    [secret] = [key["d"] for key in json.loads(document())["keys"]]
    assert secret not in repr(FIRST)
    assert jwt.PyJWKSet.from_json(public_document(FIRST).decode())[FIRST[0].kid].algorithm_name == "ES256"
