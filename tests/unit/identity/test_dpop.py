"""Proofs of possession: what they must say, and that each is used once."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authz_server.errors import Reason, Refused
from authz_server.identity.dpop import MAX_PROOF_BYTES, Claimed, Proof, ProofVerifier
from authz_server.identity.keys import thumbprint
from authz_server.identity.settings import Dpop
from tests.unit.identity.proofs import URI, claims_of_proof, proof, proof_key
from tests.unit.identity.tokens import NOW, SigningKey, encoded

TOKEN = "an.access.token"
SETTINGS = Dpop(max_age_s=60, skew_s=5)
KEY = proof_key()


class Answering:
    """A memory that gives one answer, and keeps what it was asked."""

    def __init__(self, answer: Claimed = "first") -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, float, float]] = []

    def claim(self, digest: bytes, until: float, now: float) -> Claimed:
        """The answer."""
        self.asked.append((digest, until, now))
        return self.answer


def read(text: str, settings: Dpop = SETTINGS, now: float = NOW) -> Proof:
    """What a proof says."""
    return ProofVerifier(settings).read(text, TOKEN, now)


def refusal(text: str, settings: Dpop = SETTINGS, now: float = NOW) -> str:
    """Why a proof is refused, whether when it is read or when it is proved."""
    verifier = ProofVerifier(settings)
    with pytest.raises(Refused) as refused:
        verifier.prove(verifier.read(text, TOKEN, now), now)
    assert refused.value.reason is Reason.PROOF_INVALID
    return refused.value.detail


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """The example of RFC 7638 section 3.1: an RSA key, whatever else its JWK says."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9"
        "c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1"
        "jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_thumbprint_of_a_key_on_a_curve_is_that_of_the_standard() -> None:
    """The key and the binding of the examples of RFC 9449, figures 2 and 8."""
    x, y = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    assert thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_a_good_proof_is_read_and_proved() -> None:
    """It is remembered for as long as it could be used again."""
    memory = Answering()
    verifier = ProofVerifier(SETTINGS, memory)
    good = verifier.read(proof(KEY, TOKEN), TOKEN, NOW)
    assert (good.thumbprint, good.method, good.uri) == (thumbprint(KEY.jwk()), "GET", URI)
    verifier.prove(good, NOW)
    assert memory.asked == [(good.digest, int(NOW) + 65.0, NOW)]


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256", "PS512"])
def test_the_algorithms_are_those_of_the_settings(all_keys: dict[str, SigningKey], algorithm: str) -> None:
    """By default ES256 alone."""
    text = proof(all_keys[algorithm], TOKEN, {"kid": None})
    verifier = ProofVerifier(msgspec.structs.replace(SETTINGS, algorithms=(algorithm,)))
    verifier.prove(verifier.read(text, TOKEN, NOW), NOW)
    if algorithm != "ES256":
        assert "its `alg` is not one of" in refusal(text)


OTHER = proof_key()
PRIVATE = KEY.jwk(alg=None, use=None, d="AAAA")
NO_KEYS: list[Mapping[str, Any]] = [{}, {"kty": "EC"}, {"kty": "oct", "k": "AAAA"}, {"kty": ["EC"]}]
NO_TIMES: list[object] = ["1", True, [], -1]
HEADERS: list[tuple[Mapping[str, Any], str]] = [
    *(({"typ": typ}, "its `typ`") for typ in (None, "JWT", "at+jwt", "dpop", "", 1, ["dpop+jwt"])),
    *(({"alg": alg}, "its `alg`") for alg in (None, "none", "None", "HS256", "ES384", "es256", 1, ["ES256"])),
    *(({name: []}, "`crit`, `b64`, `zip` or `enc`") for name in ("crit", "b64", "zip", "enc")),
    ({"b64": False}, "`crit`, `b64`, `zip` or `enc`"),
    *(({"jwk": jwk}, "no `jwk`") for jwk in (None, "x", 1)),
    *(({"jwk": jwk}, "of its `jwk`") for jwk in NO_KEYS),
    ({"jwk": PRIVATE}, "of its `jwk`: it is private"),
    ({"jwk": KEY.jwk(k="AAAA")}, "of its `jwk`: it is private"),
    ({"jwk": KEY.jwk(use="enc")}, "of its `jwk`: it is not for signatures"),
    ({"jwk": KEY.jwk(alg="ES384")}, "of its `jwk`: its `alg`"),
    ({"jwk": KEY.jwk(crv="P-384")}, "of its `jwk`"),
    ({"jwk": KEY.jwk(crv="secp256k1")}, "of its `jwk`: its `crv`"),
    ({"jwk": KEY.jwk(x=None)}, "of its `jwk`: its `x`"),
    ({"jwk": KEY.jwk(x="A" * 43)}, "of its `jwk`: its numbers"),
    ({"jwk": KEY.jwk(y='","x":"')}, "of its `jwk`: its `y` is not base64url"),
    ({"jwk": OTHER.jwk()}, "its signature is not good"),
]


@pytest.mark.parametrize(("header", "fault"), HEADERS)
def test_a_header_that_is_none_of_a_proof_is_refused(header: Mapping[str, Any], fault: str) -> None:
    """RFC 9449 section 4.3, 4 to 7: type, algorithm, signature, and a public key that is strong enough."""
    assert fault in refusal(proof(KEY, TOKEN, header))


def test_a_weak_key_is_refused(rs256: SigningKey) -> None:
    """As in a key set."""
    weak = rs256.jwk(n=encoded((2**1023 + 1).to_bytes(128, "big")), alg=None)
    assert "1024 bits" in refusal(
        proof(rs256, TOKEN, {"jwk": weak}), msgspec.structs.replace(SETTINGS, algorithms=("RS256",))
    )


CLAIMS: list[tuple[str, object, str]] = [
    *(
        (name, value, f"its `{name}` is not a text")
        for name in ("htm", "htu", "jti")
        for value in (None, "", 1, ["GET"])
    ),
    ("jti", "x" * 257, "its `jti` is longer"),
    *(("ath", value, "its `ath`") for value in (None, "", 1, "A" * 43)),
    ("iat", None, "it has no `iat`"),
    *((name, value, f"its `{name}` is not a time") for name in ("iat", "exp", "nbf") for value in NO_TIMES),
    ("iat", NOW - 65, "it is too old"),
    ("iat", NOW + 6, "it is not valid yet"),
    ("exp", NOW - 5, "it is too old"),
    ("nbf", NOW + 6, "it is not valid yet"),
]


@pytest.mark.parametrize(("name", "value", "fault"), CLAIMS)
def test_claims_that_are_none_of_a_proof_are_refused(name: str, value: object, fault: str) -> None:
    """RFC 9449 section 4.3, 3 and 11 and 12: all that is required, fresh, and for this token."""
    assert fault in refusal(proof(KEY, TOKEN, **{name: value}))


@pytest.mark.parametrize("changes", [{"iat": NOW - 64}, {"iat": NOW + 5}, {"exp": NOW - 4}, {"nbf": NOW + 5}])
def test_clocks_may_differ_within_the_tolerance(changes: Mapping[str, object]) -> None:
    """Both ways."""
    read(proof(KEY, TOKEN, **changes))


def test_what_is_no_signed_jwt_is_refused() -> None:
    """By the reader of tokens, with a bound of its own."""
    good = proof(KEY, TOKEN)
    head, payload, signature = good.split(".")
    wrong = ["", "x", "..", f"{head}.{payload}.", f"{good}, {good}", f"{good}.x", f" {good}", f"{good}\n", f"{good}="]
    wrong += [f"{head}.{payload}.{signature[:-4]}AAAA", proof(KEY, TOKEN, pad="x" * MAX_PROOF_BYTES)]
    wrong += [KEY.signed(b'{"alg":"ES256","alg":"none"}', b"{}"), KEY.signed(b"[]", b"{}"), KEY.signed(b"{}", b"\xff")]
    for text in wrong:
        refusal(text)


def test_a_changed_claim_breaks_the_signature() -> None:
    """Everything that is compared is signed."""
    head, _, signature = proof(KEY, TOKEN).split(".")
    for name in ("jti", "htm", "htu"):
        changed = proof(KEY, TOKEN, **{name: "other"}).split(".")[1]
        assert "signature" in refusal(f"{head}.{changed}.{signature}")


def test_a_proof_is_known_by_key_and_identifier() -> None:
    """Another signature, time or request makes no new proof of it; another key or identifier does."""
    known = read(proof(KEY, TOKEN)).digest
    for changes in ({"iat": int(NOW) - 1}, {"htm": "POST"}, {"htu": "https://orders.shop.example/"}):
        assert read(proof(KEY, TOKEN, **changes)).digest == known
    assert read(proof(KEY, TOKEN, jti="other")).digest != known
    assert read(proof(OTHER, TOKEN)).digest != known


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        ("again", Reason.PROOF_INVALID),
        ("forgotten", Reason.NOT_READY),
        ("full", Reason.OVERLOADED),
        ("busy", Reason.OVERLOADED),
    ],
)
def test_only_a_proof_that_is_used_for_the_first_time_is_good(claimed: Claimed, reason: Reason) -> None:
    """What nobody can remember or look up is no fault of the client's, and denied all the same."""
    verifier = ProofVerifier(SETTINGS, Answering(claimed))
    with pytest.raises(Refused) as refused:
        verifier.prove(verifier.read(proof(KEY, TOKEN), TOKEN, NOW), NOW)
    assert refused.value.reason is reason


def test_only_a_proof_whose_signature_is_good_is_remembered() -> None:
    """Nobody without the key takes a place."""
    memory = Answering()
    verifier = ProofVerifier(SETTINGS, memory)
    forged = verifier.read(proof(KEY, TOKEN, {"jwk": OTHER.jwk(alg=None, use=None)}), TOKEN, NOW)
    with pytest.raises(Refused):
        verifier.prove(forged, NOW)
    assert memory.asked == []


def test_a_client_that_is_known_has_to_prove_each_time() -> None:
    """What its proofs begin with is remembered, and nothing else of them is."""
    verifier = ProofVerifier(SETTINGS)

    def proved(text: str) -> bool:
        try:
            verifier.prove(verifier.read(text, TOKEN, NOW), NOW)
        except Refused as refused:
            return refused.reason is not Reason.PROOF_INVALID
        return True

    good = proof(KEY, TOKEN)
    head, payload, signature = good.split(".")
    other = proof(KEY, TOKEN, jti="other")
    assert [proved(text) for text in (good, other, good)] == [True] * 3
    wrong = [
        f"{head}.{payload}.{other.split('.')[2]}",
        f"{head}.{other.split('.')[1]}.{signature}",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.",
        f"{head}..{signature}",
        f"{head}.e30.{signature}",
        head,
        f"{head}.",
        proof(KEY, TOKEN, {"jwk": {**KEY.jwk(alg=None, use=None), "d": "AAAA"}}),
        proof(OTHER, TOKEN, {"jwk": KEY.jwk(alg=None, use=None)}),
    ]
    assert [proved(text) for text in wrong] == [False] * len(wrong)
    assert proved(good)


def test_a_symmetric_signature_over_the_public_key_is_none() -> None:
    """JWT-01 for proofs: HS256 is none of ours, whatever the settings list."""
    header = {"typ": "dpop+jwt", "alg": "HS256", "jwk": KEY.jwk()}
    text = KEY.signed(json.dumps(header).encode(), json.dumps(claims_of_proof(TOKEN)).encode())
    assert "its `alg`" in refusal(text, msgspec.structs.replace(SETTINGS, algorithms=("HS256", "none", "ES256")))


def test_a_key_of_another_curve_cannot_sign_for_the_algorithm() -> None:
    """ES256 is P-256."""
    key = SigningKey(ec.generate_private_key(ec.SECP384R1()), "ES384", None)
    assert "signature" in refusal(proof(KEY, TOKEN, {"jwk": key.jwk(alg=None, use=None)}))
