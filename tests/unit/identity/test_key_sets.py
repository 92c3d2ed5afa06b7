"""JWK Sets: which keys are used, and which are left out."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.utils import to_base64url_uint

from authz_server.identity.algorithms import ALGORITHMS
from authz_server.identity.keys import MAX_DOCUMENT_BYTES, MAX_KEYS, InvalidKeySet, parse_jwks
from tests.unit.identity.tokens import SigningKey, jwks


def number(value: int) -> str:
    """A number as JWKs have it."""
    return to_base64url_uint(value).decode()


def test_the_key_of_each_algorithm_is_found_and_verifies(all_keys: dict[str, SigningKey]) -> None:
    """A key is found by name and algorithm, and verifies what it signed by that algorithm alone."""
    key_set = parse_jwks(jwks(*[key.jwk() for key in all_keys.values()]))
    assert key_set.warnings == ()
    for algorithm, signing_key in all_keys.items():
        head, payload, _ = signing_key.token().split(".")
        signing_input = f"{head}.{payload}".encode()
        signature = ALGORITHMS[algorithm].sign(signing_input, signing_key.private_key)
        key = key_set.find(signing_key.kid, algorithm)
        assert key is not None
        assert key.verifies(algorithm, signing_input, signature)
        assert not key.verifies(algorithm, signing_input + b"x", signature)
        for other in all_keys.keys() - {algorithm}:
            assert key_set.find(signing_key.kid, other) is None
            assert not key.verifies(other, signing_input, signature)


def test_a_key_without_alg_serves_the_algorithms_of_its_type(all_keys: dict[str, SigningKey]) -> None:
    """Type and curve decide what a key can do."""
    expected = {
        "RS256": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
        "ES256": {"ES256"},
        "ES384": {"ES384"},
        "ES512": {"ES512"},
        "EdDSA": {"EdDSA"},
    }
    for algorithm, algorithms in expected.items():
        [key] = parse_jwks(jwks(all_keys[algorithm].jwk(alg=None))).keys
        assert key.algorithms == algorithms


def test_without_a_name_exactly_one_key_must_fit(all_keys: dict[str, SigningKey]) -> None:
    """A token without `kid` never gets a choice of keys."""
    one = parse_jwks(jwks(all_keys["ES256"].jwk(), all_keys["RS256"].jwk()))
    assert one.find(None, "ES256") is not None
    assert one.find(None, "ES384") is None
    two = parse_jwks(jwks(all_keys["ES256"].jwk(), all_keys["ES256"].jwk(kid="other")))
    assert two.find(None, "ES256") is None


def test_a_key_without_a_name_is_not_found_by_one(es256: SigningKey) -> None:
    """An unnamed key serves tokens without `kid` only."""
    key_set = parse_jwks(jwks(es256.jwk(kid=None)))
    assert key_set.find(None, "ES256") is not None
    assert key_set.find("k-es256", "ES256") is None
    assert not key_set.has("k-es256")


def test_a_name_of_several_keys_stands_for_none(es256: SigningKey, rs256: SigningKey) -> None:
    """KEY-01: both keys of a repeated `kid` are left out, others stay."""
    key_set = parse_jwks(jwks(es256.jwk(kid="a"), rs256.jwk(kid="a"), rs256.jwk(kid="b")))
    assert [key.kid for key in key_set.keys] == ["b"]
    assert "'a'" in key_set.warnings[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"d": "AQ"}, "private"),
        ({"k": "AQ"}, "private"),
        ({"p": "AQ", "q": "AQ"}, "private"),
        ({"use": "enc"}, "not for signatures"),
        ({"use": 5}, "not for signatures"),
        ({"key_ops": ["encrypt"]}, "not for signatures"),
        ({"key_ops": "verify"}, "not for signatures"),
        ({"kty": "oct"}, "`kty`"),
        ({"kty": "XYZ"}, "`kty`"),
        ({"kty": None}, "`kty`"),
        ({"kty": 5}, "`kty`"),
        ({"kty": ["EC"]}, "`kty`"),
        ({"kty": "RSA"}, "`alg`"),
        ({"kty": "RSA", "alg": None}, "`n`"),
        ({"kty": "OKP"}, "`crv`"),
        ({"kty": "OKP", "crv": "X25519"}, "`crv`"),
        ({"crv": "secp256k1"}, "`crv`"),
        ({"crv": "P-384"}, "`alg`"),
        ({"crv": "P-384", "alg": None}, "numbers"),
        ({"crv": None}, "`crv`"),
        ({"crv": ["P-256"]}, "`crv`"),
        ({"alg": "HS256"}, "`alg`"),
        ({"alg": "none"}, "`alg`"),
        ({"alg": "RS256"}, "`alg`"),
        ({"alg": "ES256K"}, "`alg`"),
        ({"alg": ["ES256"]}, "`alg`"),
        ({"alg": 5}, "`alg`"),
        ({"kid": ""}, "`kid`"),
        ({"kid": 5}, "`kid`"),
        ({"kid": ["a"]}, "`kid`"),
        ({"x": None}, "`x`"),
        ({"x": 5}, "`x`"),
        ({"x": "a=="}, "`x`"),
        ({"x": "a+/b"}, "`x`"),
        ({"y": ""}, "`y`"),
        ({"x": "AQ"}, "numbers"),
        ({"x": "A" * 43, "y": "A" * 43}, "numbers"),
    ],
)
def test_an_unusable_key_is_left_out_and_the_others_stay(
    es256: SigningKey, rs256: SigningKey, change: dict[str, Any], complaint: str
) -> None:
    """KEY-01, KEY-02: each with a warning that says why."""
    key_set = parse_jwks(jwks(es256.jwk(**change), rs256.jwk()))
    assert [key.kid for key in key_set.keys] == ["k-rs256"]
    [warning] = key_set.warnings
    assert warning.startswith("key 1 ")
    assert complaint in warning


def test_a_point_off_the_curve_is_no_key(es256: SigningKey) -> None:
    """KEY-02: both coordinates in range, and yet no point."""
    jwk = es256.jwk()
    key_set = parse_jwks(jwks({**jwk, "x": jwk["y"], "y": jwk["x"]}))
    assert key_set.keys == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"n": number(2**2046 + 1)}, "2047 bits"),
        ({"n": number(2**1023 + 1)}, "1024 bits"),
        ({"n": number(2**8192 + 1)}, "8193 bits"),
        ({"n": "A" * 400}, "numbers"),
        ({"e": number(1)}, "numbers"),
        ({"e": number(2)}, "numbers"),
        ({"e": number(65538)}, "numbers"),
        ({"e": number(2**32 + 1)}, "exponent"),
        ({"e": "AA"}, "numbers"),
    ],
)
def test_a_weak_rsa_key_is_left_out(rs256: SigningKey, change: dict[str, str], complaint: str) -> None:
    """KEY-02: 2,048 to 8,192 bits, and an odd exponent that is not 1 and not costly."""
    key_set = parse_jwks(jwks(rs256.jwk(**change)))
    assert key_set.keys == ()
    assert complaint in key_set.warnings[0]


def test_ed448_is_not_supported() -> None:
    """EdDSA is Ed25519 here."""
    public = SigningKey(ed448.Ed448PrivateKey.generate(), "EdDSA", "k").jwk()
    assert parse_jwks(jwks(public)).keys == ()


def test_private_keys_are_never_loaded() -> None:
    """KEY-01: a private key in a set that is public is a secret no more."""
    entries = [
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True),
        {**RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True), "key_ops": ["sign", "verify"]},
    ]
    key_set = parse_jwks(jwks(*entries))
    assert key_set.keys == ()
    assert all("private" in warning for warning in key_set.warnings)


@pytest.mark.parametrize("entry", [None, 5, "a", [], [["kty", "EC"]], {}])
def test_an_entry_that_is_no_key_is_left_out(es256: SigningKey, entry: object) -> None:
    """KEY-01: whatever stands in the list, the keys beside it count."""
    key_set = parse_jwks(json.dumps({"keys": [entry, es256.jwk()]}).encode())
    assert [key.kid for key in key_set.keys] == ["k-es256"]


def test_a_set_without_keys_is_a_set() -> None:
    """An issuer may have no key at all; then nothing of it can be verified."""
    assert parse_jwks(b'{"keys": []}').keys == ()


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"{}", b"[]", b"null", b'{"keys": {}}', b'{"keys": null}', b'{"keys": "a"}', b"<html></html>"),
        *(b'{"keys": [], "keys": []}', b'\xef\xbb\xbf{"keys": []}', b'{"keys": [NaN]}', b"\x1f\x8b\x08\x00"),
        json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(),
        b'{"keys": []}' + b" " * MAX_DOCUMENT_BYTES,
        b'{"keys": [' + b"[" * 10_000 + b"]" * 10_000 + b"]}",
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """KEY-03: wrong content is an error, so that whoever holds an older set can keep it."""
    with pytest.raises(InvalidKeySet):
        parse_jwks(document)
