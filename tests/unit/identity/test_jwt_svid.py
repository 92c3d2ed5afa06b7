"""Workloads by their JWT-SVIDs: the whole verification."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from jwt.utils import base64url_decode

from authz_server.errors import Reason, Refused
from authz_server.identity.cache import BoundedCache
from authz_server.identity.jwt_svid import JwtSvidVerifier
from authz_server.identity.keys import KeySet, usable_keys
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings, Issuer, JwtSvids
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.token import MAX_TOKEN_BYTES
from authz_server.identity.user import UserVerifier
from authz_server.model import Certificate, Workload
from tests.unit.identity.tokens import CORP, NOW, SigningKey, encoded, encoded_json

WEB, BATCH = "spiffe://shop.example/ns/front/sa/web", "spiffe://shop.example/ns/batch/sa/nightly"
CLAIMS: Mapping[str, Any] = {"aud": "orders", "sub": WEB, "exp": NOW + 300, "iat": NOW - 60}
SETTINGS = JwtSvids("x-jwt-svid", ("orders", "https://orders.shop.example"))
CERTIFICATE = Certificate("abc", "00" * 32, 0.0, 1.0)


class Verifiers:
    """Makes verifiers that share a cache, and remember which trust domains' keys were asked for."""

    def __init__(self) -> None:
        self.cache = BoundedCache[Any, Any](100, 10_000_000)
        self.asked: list[str] = []

    def make(
        self, keys: Mapping[str, KeySet], *, generation: int = 1, revocations: Revocations | None = None
    ) -> JwtSvidVerifier:
        """A verifier of one generation."""
        return JwtSvidVerifier(SETTINGS, keys, generation, self.cache, self.asked.append, revocations)


@pytest.fixture(name="verifiers")
def _verifiers() -> Verifiers:
    return Verifiers()


def keys_of(*keys: SigningKey) -> KeySet:
    """The keys of a bundle."""
    return usable_keys([key.jwk(use="jwt-svid", alg=None) for key in keys], use="jwt-svid")


@pytest.fixture(name="keys")
def _keys(es256: SigningKey, rs256: SigningKey, other_es256: SigningKey) -> dict[str, KeySet]:
    """Two trust domains, whose keys have the same name, and one without keys."""
    return {
        "shop.example": keys_of(es256, rs256),
        "partner.example": keys_of(other_es256),
        "dark.example": KeySet(),
    }


def refusal(verifier: JwtSvidVerifier, token: str, now: float = NOW) -> Reason:
    """Why the token is refused; the details tell nothing of it."""
    with pytest.raises(Refused) as refused:
        verifier.verify(token, now)
    assert "front" not in refused.value.detail
    return refused.value.reason


def test_a_good_one_names_a_workload(
    verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey, rs256: SigningKey
) -> None:
    """With and without `typ`, `kid`, `iat`; with `iss` and with claims of others."""
    verifier = verifiers.make(keys)
    expected = Workload(parse_spiffe_id(WEB), None, by_token=True)
    assert expected.known_by == "jwt_svid"
    for token in (
        es256.token(CLAIMS),
        rs256.token(CLAIMS, {"typ": "JWT"}),
        es256.token(CLAIMS, {"typ": "JOSE"}),
        es256.token(CLAIMS, {"kid": None}),
        es256.token(CLAIMS, iat=None),
        es256.token(CLAIMS, aud=["billing", "https://orders.shop.example"]),
        es256.token(CLAIMS, iss="https://spire.shop.example", jti="1", color="blue"),
    ):
        assert verifier.verify(token, NOW) == expected


def test_every_algorithm_of_the_standard_is_taken_and_no_other(
    verifiers: Verifiers, all_keys: dict[str, SigningKey]
) -> None:
    """JWT-SVID section 2.1: EdDSA is none of them."""
    for algorithm, key in all_keys.items():
        verifier = verifiers.make({"shop.example": keys_of(key)})
        if algorithm == "EdDSA":
            assert refusal(verifier, key.token(CLAIMS)) is Reason.TOKEN_INVALID
        else:
            assert verifier.verify(key.token(CLAIMS), NOW).id.text == WEB


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": ["ES256"]},
        {"alg": None},
        {"typ": "at+jwt"},
        {"typ": "jwt"},
        {"typ": ""},
        {"typ": 7},
        {"kid": "unknown"},
        {"kid": ""},
        {"kid": 7},
        {"kid": "k-rs256"},
        {"crit": ["exp"]},
        {"b64": False},
        {"jku": "https://evil.example/keys"},
        {"jwk": {}},
        {"x5c": []},
        {"cty": "JWT"},
        {"anything": 1},
    ],
    ids=str,
)
def test_a_bad_header_is_refused(
    verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey, header: dict[str, Any]
) -> None:
    """JWT-SVID section 2: nothing but `alg`, `kid` and `typ`, each as the standard says."""
    assert refusal(verifiers.make(keys), es256.token(CLAIMS, header)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": []},
        {"aud": ""},
        {"aud": "Orders"},
        {"aud": "orders/"},
        {"aud": "https://orders.shop.example/"},
        {"aud": ["billing"]},
        {"aud": ["orders", 7]},
        {"aud": {"orders": 1}},
        {"sub": None},
        {"sub": ""},
        {"sub": [WEB]},
        {"sub": "web"},
        {"sub": "spiffe://shop.example"},
        {"sub": "spiffe://shop.example/"},
        {"sub": "spiffe://shop.example/a/../b"},
        {"sub": "spiffe://shop.example/a%2fb"},
        {"sub": "spiffe://SHOP.example/a"},
        {"sub": "SPIFFE://shop.example/a"},
        {"sub": "spiffe://shop.example:443/a"},
        {"sub": "spiffe://shop.example/a?b"},
        {"sub": "spiffe://shop.example/" + "a" * 2048},
        {"sub": "spiffe://other.example/a"},
        {"exp": None},
        {"exp": "300"},
        {"exp": True},
        {"exp": -1},
        {"nbf": NOW + 31},
        {"nbf": "now"},
        {"iat": NOW + 31},
        {"iat": []},
        {"cnf": {"jkt": "x"}},
    ],
    ids=str,
)
def test_bad_claims_are_refused(
    verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey, claims: dict[str, Any]
) -> None:
    """JWT-SVID section 3; audiences are compared exactly."""
    bad = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    assert refusal(verifiers.make(keys), es256.token(bad)) is Reason.TOKEN_INVALID


def test_a_key_speaks_for_its_own_trust_domain_alone(
    verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey, other_es256: SigningKey
) -> None:
    """ID-12: also where two keys have one name; a domain whose keys are not known is no reason to look elsewhere."""
    verifier = verifiers.make(keys)
    assert refusal(verifier, other_es256.token(CLAIMS)) is Reason.TOKEN_INVALID
    partner = "spiffe://partner.example/web"
    assert verifier.verify(other_es256.token(CLAIMS, sub=partner), NOW).id.text == partner
    assert refusal(verifier, es256.token(CLAIMS, sub=partner)) is Reason.TOKEN_INVALID
    assert refusal(verifier, es256.token(CLAIMS, sub="spiffe://dark.example/web")) is Reason.ISSUER_UNAVAILABLE


def test_a_key_for_other_uses_is_no_key_of_jwt_svids(verifiers: Verifiers, es256: SigningKey) -> None:
    """The key of an X.509 authority signs no token."""
    keys = usable_keys([es256.jwk(use="x509-svid"), es256.jwk(use="sig")], use="jwt-svid")
    assert keys.keys == ()
    assert refusal(verifiers.make({"shop.example": keys}), es256.token(CLAIMS)) is Reason.ISSUER_UNAVAILABLE


def test_without_a_name_the_key_must_be_the_only_one(verifiers: Verifiers, all_keys: dict[str, SigningKey]) -> None:
    """Nothing is tried out."""
    first, second = all_keys["RS256"], all_keys["PS256"]
    verifier = verifiers.make({"shop.example": keys_of(first, SigningKey(second.private_key, "RS256", "k-2"))})
    assert refusal(verifier, first.token(CLAIMS, {"kid": None})) is Reason.TOKEN_INVALID


def test_what_is_no_jwt_is_refused(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Never as if nothing had been shown."""
    good = es256.token(CLAIMS)
    header, payload, signature = good.split(".")
    unsigned = f"{encoded_json({'alg': 'none'})}.{payload}."
    forged = f"{header}.{encoded_json({**CLAIMS, 'sub': BATCH})}.{signature}"
    twice = es256.signed(base64url_decode(header), json.dumps(dict(CLAIMS))[:-1].encode() + b', "sub": "x"}')
    bad = ["", " ", "opaque", f"Bearer {good}", f" {good}", f"{good},{good}", f"{good}.", f"{good}=", "\u00e9"]
    bad += [unsigned, forged, twice, f"{header}.{payload}.{encoded(b'0' * 64)}", "a" * (MAX_TOKEN_BYTES + 1)]
    for token in bad:
        assert refusal(verifiers.make(keys), token) is Reason.TOKEN_INVALID


def test_times_are_looked_at_on_each_use(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """With the skew, and also from the cache."""
    verifier, token = verifiers.make(keys), es256.token(CLAIMS, nbf=NOW)
    for now in (NOW - 30, NOW, NOW + 329):
        assert verifier.verify(token, now).id.text == WEB
    assert refusal(verifier, token, NOW + 330) is Reason.TOKEN_EXPIRED
    assert refusal(verifier, token, NOW - 31) is Reason.TOKEN_INVALID
    assert refusal(verifiers.make(keys, generation=2), token, NOW + 330) is Reason.TOKEN_EXPIRED


def test_a_withdrawn_key_counts_at_once(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Entries of another generation are not used."""
    token = es256.token(CLAIMS)
    verifiers.make(keys).verify(token, NOW)
    without = verifiers.make({"shop.example": KeySet()}, generation=2)
    assert refusal(without, token) is Reason.ISSUER_UNAVAILABLE


def test_only_good_ones_are_kept(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Garbage pushes nothing out of the cache."""
    verifier = verifiers.make(keys)
    for number in range(10):
        refusal(verifier, es256.token(CLAIMS, aud=f"a{number}"))
    assert len(verifiers.cache) == 0
    verifier.verify(es256.token(CLAIMS), NOW)
    assert len(verifiers.cache) == 1


def test_a_token_is_one_kind_of_credential_only(
    verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey
) -> None:
    """TOK: even where one key signs for both, and the same bytes were verified as the other kind before."""
    token = es256.token({**CLAIMS, "iss": CORP, "aud": ["orders", "shop"]})
    issuer = Issuer("corp", CORP, ("shop",), algorithms=("ES256",))
    sig = {"corp": usable_keys([es256.jwk()])}
    users = UserVerifier(IdentitySettings(issuers=(issuer,)), sig, 1, verifiers.cache, b"k" * 32, lambda _: None)
    assert isinstance(verifiers.make(keys).verify(token, NOW), Workload)
    assert users.verify(token, NOW).user.subject == WEB
    assert isinstance(verifiers.make(keys).verify(token, NOW), Workload)


def test_an_unknown_key_is_asked_for(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Of trust domains that have keys, by their name and no other."""
    verifier = verifiers.make(keys)
    for subject in (WEB, "spiffe://evil.example/a", "spiffe://dark.example/a"):
        with pytest.raises(Refused):
            verifier.verify(es256.token(CLAIMS, {"kid": "new"}, sub=subject), NOW)
    assert verifiers.asked == ["spiffe://shop.example"]


def test_a_revoked_workload_is_refused(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """Also from the cache."""
    token = es256.token(CLAIMS)
    verifiers.make(keys).verify(token, NOW)
    revoking = verifiers.make(keys, revocations=Revocations(workloads=frozenset({WEB})))
    assert refusal(revoking, token) is Reason.WORKLOAD_REFUSED


def test_certificate_and_token_must_agree(verifiers: Verifiers, keys: dict[str, KeySet], es256: SigningKey) -> None:
    """The certificate proves more, and stays; a bad token is refused beside any certificate."""
    verifier = verifiers.make(keys)
    certified = Workload(parse_spiffe_id(WEB), CERTIFICATE)
    assert verifier.identify(es256.token(CLAIMS), certified, NOW) is certified
    assert verifier.identify(es256.token(CLAIMS), None, NOW).by_token
    for token, reason in (
        (es256.token(CLAIMS, sub=BATCH), Reason.WORKLOAD_REFUSED),
        (es256.token(CLAIMS, aud="x"), Reason.TOKEN_INVALID),
        ("", Reason.TOKEN_INVALID),
    ):
        with pytest.raises(Refused) as refused:
            verifier.identify(token, certified, NOW)
        assert refused.value.reason is reason
