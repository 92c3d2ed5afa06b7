"""Users by their tokens: the whole verification."""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz_server.errors import Reason, Refused
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import KeySet, parse_jwks
from authz_server.identity.settings import ClaimNames, IdentitySettings, Issuer
from authz_server.identity.user import CachedToken, UserVerifier
from authz_server.model import User
from tests.unit.identity.tokens import CLAIMS, CORP, NOW, SigningKey, encoded, encoded_json, jwks

ISSUER = Issuer("corp", CORP, ("shop",), algorithms=("RS256", "ES256"), claims=ClaimNames(roles="realm.roles"))
PARTNER = Issuer("partner", "https://partner.example/", ("shop",), algorithms=("ES256",))
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Verifiers:
    """Makes verifiers that share a cache and remember which issuers' keys were asked for."""

    def __init__(self) -> None:
        self.cache = BoundedCache[tuple[int, bytes], CachedToken](100, 10_000_000)
        self.asked: list[str] = []

    def make(
        self, keys: Mapping[str, KeySet], *issuers: Issuer, generation: int = 1, hash_key: bytes = b"k" * 32
    ) -> UserVerifier:
        """A verifier of one generation."""
        settings = IdentitySettings(issuers=issuers or (ISSUER,))
        return UserVerifier(settings, keys, generation, self.cache, hash_key, self.asked.append)


@pytest.fixture
def verifiers() -> Verifiers:
    """With an empty cache."""
    return Verifiers()


@pytest.fixture
def corp_keys(es256: SigningKey, rs256: SigningKey) -> dict[str, KeySet]:
    """What the issuer publishes."""
    return {"corp": parse_jwks(jwks(es256.jwk(), rs256.jwk()))}


def refusal(verifier: UserVerifier, token: str, now: float = NOW) -> Reason:
    """Why the token is refused; the details tell nothing of it."""
    with pytest.raises(Refused) as refused:
        verifier.verify(token, now)
    assert "zoe" not in refused.value.detail
    return refused.value.reason


def test_a_good_token_names_the_user(verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Issuer by its configured name, subject, scopes, roles, groups, expiry, and every claim."""
    claims = {**CLAIMS, "scope": "a b", "realm": {"roles": ["r"]}, "groups": ["g", "h"], "big": 2**53 + 1}
    verified = verifiers.make(corp_keys).verify(es256.token(claims), NOW)
    assert verified.user == User(
        issuer="corp",
        subject="zoe",
        scopes=frozenset({"a", "b"}),
        roles=frozenset({"r"}),
        groups=frozenset({"g", "h"}),
        claims=claims,
        expires=NOW + 300,
    )


def test_a_token_is_counted_with_what_is_made_of_its_claims(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """A short text of many scopes is a large set in memory."""
    verifier = verifiers.make(corp_keys)
    verifier.verify(es256.token(CLAIMS), NOW)
    usual = verifiers.cache.bytes
    many = " ".join(f"s{number}" for number in range(1500))
    user = verifier.verify(es256.token({**CLAIMS, "scope": many}), NOW).user
    in_memory = sys.getsizeof(user.scopes) + sum(map(sys.getsizeof, user.scopes))
    assert verifiers.cache.bytes - usual > usual + in_memory


def test_every_supported_algorithm_verifies(verifiers: Verifiers, all_keys: dict[str, SigningKey]) -> None:
    """RSASSA, RSASSA-PSS, ECDSA and EdDSA."""
    issuer = msgspec.structs.replace(ISSUER, algorithms=tuple(all_keys))
    verifier = verifiers.make({"corp": parse_jwks(jwks(*[key.jwk() for key in all_keys.values()]))}, issuer)
    for key in all_keys.values():
        assert verifier.verify(key.token(), NOW).user.subject == "zoe"


def test_any_changed_character_is_refused(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """JWT-12: at each place, the neighbours of the right character and one that is far from it."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    verifier = verifiers.make(corp_keys)
    token = es256.token()
    verifier.verify(token, NOW)
    for place, character in enumerate(token):
        position = alphabet.find(character)
        for distance in (1, 32):
            other = alphabet[(position + distance) % 64]
            assert refusal(verifier, token[:place] + other + token[place + 1 :]) is Reason.TOKEN_INVALID
        assert refusal(verifier, token[:place] + token[place + 1 :]) is Reason.TOKEN_INVALID
    assert len(verifiers.cache) == 1


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "ES521", "ES256K"]
)
def test_an_algorithm_that_is_not_ours_is_refused(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, alg: str
) -> None:
    """JWT-01: whatever the configuration lists, nothing unsigned or symmetric is verified."""
    issuer = msgspec.structs.replace(ISSUER, algorithms=(*ISSUER.algorithms, "none", "HS256", "HS384", "HS512", alg))
    verifier = verifiers.make(corp_keys, issuer)
    assert refusal(verifier, es256.token(header={"alg": alg})) is Reason.TOKEN_INVALID
    head, payload, _ = es256.token(header={"alg": alg}).split(".")
    assert refusal(verifier, f"{head}.{payload}.") is Reason.TOKEN_INVALID


@pytest.mark.parametrize("alg", [None, 5, True, ["ES256"], {"a": 1}])
def test_an_algorithm_that_is_no_text_is_refused(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, alg: object
) -> None:
    """JWT-01: missing, and of other types."""
    header = {"kid": es256.kid} if alg is None else {"kid": es256.kid, "alg": alg}
    token = es256.signed(json.dumps(header).encode(), json.dumps(CLAIMS).encode())
    assert refusal(verifiers.make(corp_keys), token) is Reason.TOKEN_INVALID


def test_a_public_key_is_never_a_secret(verifiers: Verifiers, corp_keys: dict[str, KeySet], rs256: SigningKey) -> None:
    """JWT-01: the classic confusion of HS256 with a public key."""
    issuer = msgspec.structs.replace(ISSUER, algorithms=("RS256", "HS256"))
    public = rs256.private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{encoded_json({'alg': 'HS256', 'kid': rs256.kid})}.{encoded_json(CLAIMS)}"
    signature = hmac.new(public, signing_input.encode(), hashlib.sha256).digest()
    token = f"{signing_input}.{encoded(signature)}"
    assert refusal(verifiers.make(corp_keys, issuer), token) is Reason.TOKEN_INVALID


def test_an_algorithm_of_another_key_is_refused(verifiers: Verifiers, all_keys: dict[str, SigningKey]) -> None:
    """JWT-01: RS256 keys with PS256, ES256 keys with ES384, and so on, for each pair."""
    issuer = msgspec.structs.replace(ISSUER, algorithms=tuple(all_keys))
    verifier = verifiers.make({"corp": parse_jwks(jwks(*[key.jwk() for key in all_keys.values()]))}, issuer)
    for key in all_keys.values():
        for other in all_keys.values():
            if other is not key:
                assert refusal(verifier, key.token(header={"alg": other.algorithm})) is Reason.TOKEN_INVALID
                assert refusal(verifier, key.token(header={"kid": other.kid})) is Reason.TOKEN_INVALID
    assert verifiers.asked == []


def test_an_algorithm_must_be_the_issuers(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], rs256: SigningKey
) -> None:
    """JWT-01: a key that could is not enough."""
    issuer = msgspec.structs.replace(ISSUER, algorithms=("ES256",))
    assert refusal(verifiers.make(corp_keys, issuer), rs256.token()) is Reason.TOKEN_INVALID


def test_keys_in_the_header_are_ignored(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, other_es256: SigningKey
) -> None:
    """JWT-02: whoever brings a key along is measured by ours."""
    header: dict[str, Any] = {"jwk": other_es256.jwk(), "jku": "https://evil.example/", "x5u": "https://evil.example/"}
    header |= {"x5c": ["AAAA"], "x5t#S256": "AAAA"}
    verifier = verifiers.make(corp_keys)
    assert refusal(verifier, other_es256.token(header=header)) is Reason.TOKEN_INVALID
    assert verifier.verify(es256.token(header=header), NOW).user.subject == "zoe"
    assert verifiers.asked == []


@pytest.mark.parametrize("kid", ["../../etc/passwd", "https://evil.example/k", "' OR 1=1", "K-ES256", "k-es256 ", "é"])
def test_an_unknown_kid_is_a_miss_that_asks_for_keys(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, kid: str
) -> None:
    """JWT-03, KEY-04: denied at once, and the issuer's name is passed on."""
    assert refusal(verifiers.make(corp_keys), es256.token(header={"kid": kid})) is Reason.TOKEN_INVALID
    assert verifiers.asked == ["corp"]


@pytest.mark.parametrize("kid", [5, True, ["k-es256"], {"a": 1}, ""])
def test_a_kid_that_is_no_name_asks_for_nothing(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, kid: object
) -> None:
    """JWT-03: no key can have it."""
    assert refusal(verifiers.make(corp_keys), es256.token(header={"kid": kid})) is Reason.TOKEN_INVALID
    token = es256.signed(b'{"alg":"ES256","kid":null}', json.dumps(CLAIMS).encode())
    assert refusal(verifiers.make(corp_keys), token) is Reason.TOKEN_INVALID
    assert verifiers.asked == []


def test_without_kid_the_only_key_for_the_algorithm_serves(
    verifiers: Verifiers, es256: SigningKey, rs256: SigningKey, other_es256: SigningKey
) -> None:
    """Exactly one usable key, or none."""
    token = es256.token(header={"kid": None})
    one = {"corp": parse_jwks(jwks(es256.jwk(), rs256.jwk()))}
    assert verifiers.make(one).verify(token, NOW).user.subject == "zoe"
    two = {"corp": parse_jwks(jwks(es256.jwk(), other_es256.jwk(kid="other")))}
    assert refusal(verifiers.make(two, generation=2), token) is Reason.TOKEN_INVALID
    assert verifiers.asked == []


def test_a_key_comes_from_the_issuers_own_set(verifiers: Verifiers, es256: SigningKey, other_es256: SigningKey) -> None:
    """JWT-09: also where two issuers have keys of one name."""
    keys = {"corp": parse_jwks(jwks(es256.jwk())), "partner": parse_jwks(jwks(other_es256.jwk()))}
    verifier = verifiers.make(keys, ISSUER, PARTNER)
    partner_claims = {**CLAIMS, "iss": PARTNER.issuer}
    assert verifier.verify(es256.token(), NOW).user.issuer == "corp"
    assert verifier.verify(other_es256.token(partner_claims), NOW).user.issuer == "partner"
    assert refusal(verifier, other_es256.token()) is Reason.TOKEN_INVALID
    assert refusal(verifier, es256.token(partner_claims)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("iss", [None, "", "https://other.example/", CORP.rstrip("/"), 5, [CORP], {"a": CORP}])
def test_an_unknown_issuer_is_refused(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, iss: object
) -> None:
    """JWT-09: nobody's keys are tried."""
    assert refusal(verifiers.make(corp_keys), es256.token(iss=iss)) is Reason.TOKEN_INVALID
    assert verifiers.asked == []


def test_an_issuer_without_keys_is_unavailable(verifiers: Verifiers, es256: SigningKey) -> None:
    """The caller may try again later; other issuers are not concerned."""
    for keys in ({}, {"corp": KeySet()}, {"partner": parse_jwks(jwks(es256.jwk()))}):
        assert refusal(verifiers.make(keys), es256.token()) is Reason.ISSUER_UNAVAILABLE


@pytest.mark.parametrize("sub", [None, "", 5, ["zoe"], {"a": "zoe"}, True])
def test_a_subject_is_required(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, sub: object
) -> None:
    """A user without a name is none."""
    assert refusal(verifiers.make(corp_keys), es256.token(sub=sub)) is Reason.TOKEN_INVALID


def test_bad_ecdsa_signatures_are_refused(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """JWT-12: zeros, numbers out of range, DER instead of raw, other lengths."""
    verifier = verifiers.make(corp_keys)
    signing_input, _, signature = es256.token().rpartition(".")
    raw = parse_raw(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    signatures = [
        bytes(64),
        bytes(32) + raw[32:],
        raw[:32] + bytes(32),
        P256_ORDER.to_bytes(32, "big") * 2,
        raw[:32] + P256_ORDER.to_bytes(32, "big"),
        b"\xff" * 64,
        encode_dss_signature(r, s),
        raw + b"\0",
        b"\0" + raw,
        raw[:63],
        raw[:32],
        bytes(2) + raw[:32] + bytes(2) + raw[32:],
    ]
    for each in signatures:
        assert refusal(verifier, f"{signing_input}.{encoded(each)}") is Reason.TOKEN_INVALID


def parse_raw(part: str) -> bytes:
    """The bytes of a part."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_bad_signature_is_invalid_before_it_is_expired(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, other_es256: SigningKey
) -> None:
    """`token_expired` is said of tokens that were good once."""
    verifier = verifiers.make(corp_keys)
    assert refusal(verifier, es256.token(), NOW + 10_000) is Reason.TOKEN_EXPIRED
    assert refusal(verifier, other_es256.token(), NOW + 10_000) is Reason.TOKEN_INVALID


def test_a_cached_token_is_verified_once(verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey) -> None:
    """JWT-14: the same object comes back."""
    verifier = verifiers.make(corp_keys)
    token = es256.token()
    assert verifier.verify(token, NOW) is verifier.verify(token, NOW + 1)


def test_a_cached_token_ends_and_begins_on_time(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """JWT-14: an entry dies at `exp`, skew included, and is not valid before `nbf` if the clock goes back."""
    verifier = verifiers.make(corp_keys)
    token = es256.token(nbf=NOW - 10)
    verifier.verify(token, NOW)
    verifier.verify(token, NOW + 329.9)
    assert refusal(verifier, token, NOW + 330) is Reason.TOKEN_EXPIRED
    assert refusal(verifier, token, NOW - 40.1) is Reason.TOKEN_INVALID
    verifier.verify(token, NOW - 40)


def test_a_cached_token_dies_with_its_key_and_its_settings(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, rs256: SigningKey
) -> None:
    """JWT-14: entries of another generation are never used."""
    token = es256.token()
    verifiers.make(corp_keys, generation=1).verify(token, NOW)
    without_key = {"corp": parse_jwks(jwks(rs256.jwk()))}
    assert refusal(verifiers.make(without_key, generation=2), token) is Reason.TOKEN_INVALID
    other_audience = msgspec.structs.replace(ISSUER, audiences=("other",))
    assert refusal(verifiers.make(corp_keys, other_audience, generation=3), token) is Reason.TOKEN_INVALID


def test_only_verified_tokens_are_cached(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey, other_es256: SigningKey
) -> None:
    """JWT-14: nobody can fill the cache with tokens that are no good."""
    verifier = verifiers.make(corp_keys)
    for token in (
        other_es256.token(),
        es256.token(aud="other"),
        es256.token(exp=NOW - 100),
        es256.token(sub=None),
        "a.b.c",
    ):
        with pytest.raises(Refused):
            verifier.verify(token, NOW)
    assert len(verifiers.cache) == 0


def test_a_larger_token_takes_more_of_the_cache(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """The cache's bound in bytes counts what claims take."""
    verifier = verifiers.make(corp_keys)
    verifier.verify(es256.token(), NOW)
    small = verifiers.cache.bytes
    verifier.verify(es256.token(groups=[f"g{number}" for number in range(500)]), NOW)
    assert verifiers.cache.bytes - small > 500 * 50


def test_the_token_hash_depends_on_token_and_key(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """Records of one token can be joined; without the key a hash tells nothing."""
    token, other = es256.token(), es256.token(jti="2")
    first = verifiers.make(corp_keys).verify(token, NOW).token_hash
    same_key = verifiers.make(corp_keys, generation=2)
    assert same_key.verify(token, NOW).token_hash == first
    assert same_key.verify(other, NOW).token_hash != first
    other_key = verifiers.make(corp_keys, generation=3, hash_key=b"x" * 32)
    assert other_key.verify(token, NOW).token_hash != first
    assert len(first) == 32


@pytest.mark.parametrize("token", ["", "x", "a b", "é", "\udcff", "a.b.c", "." * 20_000, "a" * 20_000, "\x00"])
def test_what_is_no_token_is_invalid(verifiers: Verifiers, corp_keys: dict[str, KeySet], token: str) -> None:
    """JWT-05: any text at all, 401 and never an error of ours."""
    assert refusal(verifiers.make(corp_keys), token) is Reason.TOKEN_INVALID


def test_settings_that_cannot_hold_are_refused(verifiers: Verifiers) -> None:
    """Two issuers of one `iss`, a skew beyond a minute, and a hash key that is too short or too long."""
    twin = msgspec.structs.replace(ISSUER, name="twin")
    with pytest.raises(ValueError, match="same `issuer`"):
        verifiers.make({}, ISSUER, twin)
    for skew in (-1.0, 60.5):
        with pytest.raises(ValueError, match="`skew`"):
            verifiers.make({}, msgspec.structs.replace(ISSUER, skew_s=skew))
    for hash_key in (b"", b"k" * 15, b"k" * 33):
        with pytest.raises(ValueError, match="hash key"):
            verifiers.make({}, hash_key=hash_key)


def test_a_bound_token_is_good_with_its_certificate_alone(
    verifiers: Verifiers, corp_keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """Also when it has been verified before: who has the token, and not the certificate, has nothing."""
    verifier = verifiers.make(corp_keys)
    token = es256.token(cnf={"x5t#S256": "A" * 43})
    for _ in range(2):
        for fingerprint in (None, "0" * 63 + "1"):
            with pytest.raises(Refused):
                verifier.verify(token, NOW, fingerprint)
        assert verifier.verify(token, NOW, "0" * 64).user.bound
    assert not verifier.verify(es256.token(), NOW, "0" * 64).user.bound
