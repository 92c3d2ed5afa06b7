"""Attacks with tokens."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz_server.errors import Reason
from tests.security.server import PARTNER, Ask, Server, assert_denied
from tests.unit.identity.tokens import SigningKey, encoded, encoded_json, jwks

INVALID, EXPIRED = Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED


def denied(server: Server, token: str, *reasons: Reason) -> None:
    """The token is refused, and an honest one is good."""
    assert_denied(server.ask(server.with_token(token)), *(reasons or (INVALID,)))


def test_the_honest_token_is_good(server: Server) -> None:
    """What every attack here differs from."""
    outcome = server.ask(server.with_token())
    assert outcome.allowed
    assert outcome.record["user"]["issuer"] == "corp"


@pytest.mark.parametrize(
    "algorithm",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        None,
        1,
        [],
        ["ES256"],
        True,
        "es256",
        "HS256",
        "HS512",
        "PS256",
        "ES384",
        "EdDSA",
    ],
)
def test_jwt_01_the_algorithm_is_the_keys_and_the_issuers(server: Server, algorithm: object) -> None:
    """Signed as ever, and unsigned."""
    header = {"alg": algorithm, "kid": "k1"}
    signed = server.key.signed(json.dumps(header).encode(), json.dumps(server.claims()).encode())
    denied(server, signed)
    head, payload, _ = signed.split(".")
    denied(server, f"{head}.{payload}.")


def test_jwt_01_a_public_key_is_no_shared_secret(server: Server) -> None:
    """HS256 over the public key, in each form in which it is published."""
    public = server.key.private_key.public_key()
    forms = [public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), jwks(server.key.jwk())]
    for secret in forms:
        content = f"{encoded_json({'alg': 'HS256', 'kid': 'k1'})}.{encoded_json(server.claims())}"
        denied(server, f"{content}.{encoded(hmac.digest(secret, content.encode(), hashlib.sha256))}")


def test_jwt_01_keys_and_algorithms_do_not_mix(tmp_path: Path) -> None:
    """An RSA key with PS256, an EC key with ES384."""
    server = Server(tmp_path)
    key = rsa.generate_private_key(65537, 2048)
    right = SigningKey(key, "RS256", "r")
    server.load(keys={"corp": jwks(right.jwk())})
    assert server.ask(server.with_token(right.token(server.claims()))).allowed
    denied(server, SigningKey(key, "PS256", "r").token(server.claims()))
    denied(server, SigningKey(ec.generate_private_key(ec.SECP384R1()), "ES384", "r").token(server.claims()))


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
def test_jwt_02_a_header_chooses_no_key(server: Server, member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token brings its key along, or says where it is: nobody looks, and nothing is fetched."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    mine = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1")
    value = {"jwk": mine.jwk(), "x5c": [base64.b64encode(b"x").decode()]}.get(member, "https://evil.example/keys")
    denied(server, mine.token(server.claims(), header={member: value}))
    denied(server, mine.token(server.claims(), header={member: value, "kid": None}))


@pytest.mark.parametrize(
    "kid",
    [
        "../../dev/null",
        "/etc/passwd",
        "https://evil.example/k",
        "' OR 1=1 --",
        "k" * 1500,
        "",
        [],
        {},
        1,
        True,
        "k1 ",
        "K1",
    ],
)
def test_jwt_03_a_kid_is_a_name_and_no_more(server: Server, kid: object) -> None:
    """A look-up that finds nothing."""
    denied(server, server.key.token(server.claims(), header={"kid": kid}))
    huge = server.key.signed(json.dumps({"alg": "ES256", "kid": "k" * 65_536}).encode(), b"{}")
    denied(server, huge)
    null = server.key.signed(b'{"alg": "ES256", "kid": null}', json.dumps(server.claims()).encode())
    denied(server, null)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", {}, None, [1]])
def test_jwt_04_critical_extensions_are_refused(server: Server, crit: object) -> None:
    """RFC 7515 section 4.1.11 and RFC 7797."""
    header = {"alg": "ES256", "kid": "k1", "crit": crit}
    payload = json.dumps(server.claims()).encode()
    denied(server, server.key.signed(json.dumps(header).encode(), payload))
    denied(server, server.key.signed(json.dumps({"alg": "ES256", "kid": "k1", "b64": False}).encode(), payload))


def test_jwt_05_a_token_is_three_canonical_parts(server: Server) -> None:
    """Other numbers of parts, JSON, whitespace, padding, other alphabets, idle bits, and length."""
    good = server.key.token(server.claims())
    head, payload, signature = good.split(".")
    wrong = [
        *(f"{head}.{payload}", f"{good}.x", f"{good}.", f"{good}.x.y", f"{good}.x.y.z", f".{good}", "..", "."),
        *(
            f"{head}. {payload}.{signature}",
            f"{good}=",
            f"{head}=.{payload}.{signature}",
            f"{good}\t",
            good.replace("_", "/"),
        ),
        json.dumps({"protected": head, "payload": payload, "signature": signature}).replace(", ", ""),
        *(f"{head}.{payload}.{signature[:-1]}", f"{head}.{payload}.{signature}A", "a" * 20_000, good + "a" * 17_000),
    ]
    for token in wrong:
        if token != good:
            denied(server, token, INVALID, Reason.MALFORMED_REQUEST)
    denied(server, server.key.token(server.claims(), header={"zip": "DEF"}))
    denied(server, server.key.token(server.claims(), header={"x": "y" * 3000}))


JSON = [
    *(b'{"iss":"a","iss":"b"}', b'{"exp":NaN}', b'{"exp":Infinity}', b'{"exp":1e400}', b'{"exp":' + b"9" * 5000 + b"}"),
    *(
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\\ud800"}',
        b"{} x",
        b"[]",
    ),
    *(b'"a"', b"1", b"null", b"", b"{", b'{"a":1,}', b"{'a':1}", b"\xff", b'{"a":01}', b"[" * 5000),
]


@pytest.mark.parametrize("text", JSON)
def test_jwt_06_json_is_strict(server: Server, text: bytes) -> None:
    """In the payload and in the header: refused as a bad token, never an error of ours."""
    header, payload = b'{"alg":"ES256","kid":"k1"}', json.dumps(server.claims()).encode()
    denied(server, server.key.signed(header, text))
    denied(server, server.key.signed(text, payload))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", "", True, False, [], {}, -1, 1e30, 10**400, "2026-03-02T10:00:00Z"])
def test_jwt_07_times_are_numbers(server: Server, name: str, value: object) -> None:
    """RFC 7519 section 2: texts, booleans, lists, negative and huge numbers are none."""
    denied(server, server.key.token(server.claims(**{name: value})))
    payload = json.dumps({**server.claims(), name: None}).encode()
    denied(server, server.key.signed(b'{"alg":"ES256","kid":"k1"}', payload))


def test_jwt_07_a_token_lives_in_its_time(server: Server) -> None:
    """With thirty seconds of skew; without `exp` it would live for ever."""
    now = time.time()
    denied(server, server.key.token(server.claims(exp=None)))
    denied(server, server.key.token(server.claims(exp=now - 31)), EXPIRED)
    denied(server, server.key.token(server.claims(nbf=now + 60)))
    denied(server, server.key.token(server.claims(iat=now + 60)))
    assert server.ask(server.with_token(server.key.token(server.claims(exp=now - 5)))).allowed


@pytest.mark.parametrize(
    "audience",
    ["shop2", "sho", "SHOP", "shop ", "", None, [], ["other"], ["shop", 1], {"shop": 1}, [["shop"]], 1, "https://shop"],
)
def test_jwt_08_the_audience_is_ours_exactly(server: Server, audience: object) -> None:
    """RFC 7519 section 4.1.3."""
    denied(server, server.key.token(server.claims(aud=audience)))
    assert server.ask(server.with_token(server.key.token(server.claims(aud=["other", "shop"])))).allowed


def test_jwt_09_an_issuers_tokens_are_verified_with_its_own_keys(server: Server) -> None:
    """Both issuers call their key `k1`."""
    partner = server.claims(iss=PARTNER)
    assert server.ask(server.with_token(server.partner_key.token(partner))).allowed
    denied(server, server.key.token(partner))
    denied(server, server.partner_key.token(server.claims()))
    for issuer in (PARTNER.rstrip("/"), PARTNER.upper(), "", None, 1, [PARTNER], "https://evil.example/"):
        denied(server, server.partner_key.token(server.claims(iss=issuer)))


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "dpop+jwt"}, {}),
        ({"typ": "logout+jwt"}, {}),
        ({"typ": "secevent+jwt"}, {}),
        ({"typ": "id_token"}, {}),
        ({"typ": "none"}, {}),
        ({"typ": 1}, {}),
        ({}, {"nonce": "n"}),
        ({}, {"at_hash": "h"}),
        ({}, {"c_hash": "h"}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({}, {"cnf": {"jkt": "x"}}),
        ({}, {"cnf": {"x5t#S256": "A" * 43}}),
        ({}, {"cnf": "x"}),
        ({}, {"cnf": {}}),
    ],
)
def test_jwt_10_only_an_access_token_is_one(server: Server, header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Not an ID token, a logout token, a DPoP proof, nor a token that is bound to a key that was not proved."""
    denied(server, server.key.token(server.claims(**claims), header=header))


def test_jwt_11_how_a_token_is_sent(server: Server) -> None:
    """The scheme in any case; not twice, not empty, not elsewhere."""
    token = server.key.token(server.claims())
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        assert server.ask(server.with_token(token, scheme)).allowed
    for value in (
        f"Bearer  {token}",
        f"Bearer {token} ",
        "Bearer ",
        "Bearer",
        f"Bearer {token} {token}",
        f"Bearer\t{token}",
    ):
        assert not server.ask(Ask(path="/me", headers=[("authorization", value)])).allowed
    both = [("authorization", "Basic eA=="), ("authorization", f"Bearer {token}")]
    assert_denied(server.ask(Ask(path="/me", headers=both)), Reason.MALFORMED_REQUEST)
    elsewhere = [("cookie", f"access_token={token}"), ("x-access-token", token)]
    ask = Ask(path=f"/me?access_token={token}", headers=elsewhere)
    assert_denied(server.ask(ask), Reason.UNAUTHENTICATED)


def test_jwt_12_signatures_are_exact(server: Server) -> None:
    """ECDSA with r or s zero or out of range, the other s, DER in place of raw, and any changed byte."""
    good = server.key.token(server.claims())
    content, _, text = good.rpartition(".")
    signature = base64.urlsafe_b64decode(text + "==")
    r, s = signature[:32], signature[32:]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551.to_bytes(32, "big")
    zero, high = bytes(32), b"\xff" * 32
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    assert decode_dss_signature(der)
    wrong = [zero + zero, zero + s, r + zero, order + s, r + order, high + high, der, r, b"", signature + b"\0", s + r]
    for bad in wrong:
        denied(server, f"{content}.{encoded(bad)}")
    for place in range(0, len(good), 7):
        other = "A" if good[place] != "A" else "B"
        denied(server, good[:place] + other + good[place + 1 :])


@pytest.mark.parametrize("parts", [5, 6])
def test_jwt_13_encrypted_tokens_cost_nothing(server: Server, parts: int) -> None:
    """Refused by the number of parts, before anything is derived or inflated."""
    header = encoded_json({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31 - 1, "zip": "DEF"})
    started = time.process_time()
    denied(server, ".".join([header, *["AAAA"] * (parts - 1)]))
    # One derivation with these settings takes minutes.
    assert time.process_time() - started < 5


def test_jwt_14_only_what_was_verified_is_remembered(tmp_path: Path) -> None:
    """And forgotten with its key."""
    server = Server(tmp_path)
    good = server.with_token()
    forged = server.with_token(server.partner_key.token(server.claims()))
    for _ in range(2):
        assert server.ask(good).allowed
        assert_denied(server.ask(forged), INVALID)
    other = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k2")
    server.load(keys={"corp": jwks(other.jwk())}, generation=2)
    assert_denied(server.ask(good), INVALID)
    server.load(keys={"corp": jwks()}, generation=3)
    assert_denied(server.ask(good), Reason.ISSUER_UNAVAILABLE)
