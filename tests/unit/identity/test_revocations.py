"""What is revoked is refused on its next use, and nothing else is."""

from collections.abc import Mapping
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import parse_jwks
from authz_server.identity.revocations import IssuerRevocations, Revocations
from authz_server.identity.settings import ForwardedCallers, IdentitySettings, Issuer, TrustDomain
from authz_server.identity.user import CachedToken, UserVerifier
from authz_server.identity.workload import CachedLeaf, WorkloadVerifier
from authz_server.model import Request
from tests.unit.identity.certificates import NOW as CERTIFICATE_NOW
from tests.unit.identity.certificates import WEB, Authority, url_encoded
from tests.unit.identity.tokens import CLAIMS, CORP, NOW, SigningKey, jwks

ISSUER = Issuer("corp", CORP, ("shop",))
PARTNER = Issuer("partner", "https://partner.example/", ("shop",))
TOKEN = {**CLAIMS, "jti": "t1", "sid": "s1", "iat": NOW - 10}


class Users:
    """Verifiers that differ in what is revoked, and share keys and cache."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._keys = {"corp": parse_jwks(jwks(key.jwk())), "partner": parse_jwks(jwks(key.jwk()))}
        self.cache = BoundedCache[tuple[int, bytes], CachedToken](100, 10_000_000)

    def token(self, claims: Mapping[str, Any]) -> str:
        """A token with these claims."""
        return self._key.token(dict(claims))

    def refusal(self, token: str, revocations: Revocations | None) -> str | None:
        """Why a token is refused as revoked, None if it is not."""
        settings = IdentitySettings(issuers=(ISSUER, PARTNER))
        verifier = UserVerifier(settings, self._keys, 1, self.cache, b"k" * 32, lambda _: None, revocations)
        try:
            verifier.verify(token, NOW)
        except Refused as refusal:
            return str(refusal)
        return None


@pytest.fixture(name="users")
def _users(es256: SigningKey) -> Users:
    return Users(es256)


@pytest.mark.parametrize(
    ("revoked", "others"),
    [
        (IssuerRevocations(tokens=frozenset({"t1"})), {"jti": "t2"}),
        (IssuerRevocations(sessions=frozenset({"s1"})), {"sid": "s2"}),
        (IssuerRevocations(subjects={"zoe": inf}), {"sub": "ann"}),
        (IssuerRevocations(subjects={"zoe": NOW - 5}), {"iat": NOW - 5}),
        (IssuerRevocations(before=NOW - 9.5), {"iat": NOW - 9}),
    ],
)
def test_a_revoked_token_is_refused_and_others_are_not(
    users: Users, revoked: IssuerRevocations, others: dict[str, Any]
) -> None:
    """Whether it was verified before, and is cached, or not; of the issuer that is named, and of no other one."""
    revocations = Revocations(issuers={"corp": revoked})
    token = users.token(TOKEN)
    assert str(users.refusal(token, revocations)).startswith(Reason.TOKEN_REVOKED)
    assert users.refusal(token, None) is None
    assert len(users.cache) == 1
    assert users.refusal(token, revocations) is not None
    assert users.refusal(users.token({**TOKEN, **others}), revocations) is None
    assert users.refusal(token, Revocations(issuers={"partner": revoked})) is None


def test_a_revoked_key_takes_its_tokens_along(users: Users, es256: SigningKey) -> None:
    """While the issuer still publishes it; another key's tokens stay."""
    token, kid = users.token(TOKEN), es256.jwk()["kid"]
    assert users.refusal(token, Revocations(issuers={"corp": IssuerRevocations(keys=frozenset({kid}))})) is not None
    assert users.refusal(token, Revocations(issuers={"corp": IssuerRevocations(keys=frozenset({"k"}))})) is None


@pytest.mark.parametrize(
    "revoked", [IssuerRevocations(before=NOW - 100), IssuerRevocations(subjects={"zoe": NOW - 100})]
)
def test_a_token_that_does_not_say_when_it_was_issued_counts_as_old(users: Users, revoked: IssuerRevocations) -> None:
    """It may be older."""
    without = {name: value for name, value in TOKEN.items() if name != "iat"}
    assert users.refusal(users.token(without), Revocations(issuers={"corp": revoked})) is not None
    assert users.refusal(users.token(TOKEN), Revocations(issuers={"corp": revoked})) is None


@pytest.mark.parametrize("name", ["jti", "sid"])
@pytest.mark.parametrize("value", [["t1"], {"t1": 1}, 1, None, True])
def test_a_name_that_is_no_text_is_none_of_those_revoked(users: Users, name: str, value: object) -> None:
    """And no exception."""
    revoked = IssuerRevocations(tokens=frozenset({"t1"}), sessions=frozenset({"s9"}))
    token = users.token({**TOKEN, "jti": "t2", name: value})
    assert users.refusal(token, Revocations(issuers={"corp": revoked})) is None


def workload_refusal(authority: Authority, revocations: Revocations, hops: tuple[str, ...] = ()) -> str | None:
    """Why a caller with a good certificate is refused; with hops it is forwarded by a proxy, by its name."""
    forwarded = ForwardedCallers(hops, appended=False) if hops else None
    settings = IdentitySettings(trust_domains=(TrustDomain("shop.example"),), forwarded=forwarded)
    verifier = WorkloadVerifier(settings, {}, 1, BoundedCache[tuple[int, str], CachedLeaf](10, 100_000), revocations)
    san = hops[0] if hops else WEB
    certificate = url_encoded(authority.leaf(san, lifetime=timedelta(hours=1)))
    element = f"By={san};Hash={'ab' * 32};URI={WEB}".encode()
    headers = (("x-forwarded-client-cert", element),) if hops else ()
    request = Request(certificate=certificate, principal=san, headers=headers)
    try:
        assert verifier.identify(request, CERTIFICATE_NOW) is not None
    except Refused as refusal:
        return str(refusal)
    return None


EDGE = "spiffe://shop.example/envoy/edge"


@pytest.mark.parametrize(
    ("revocations", "hops", "refused"),
    [
        (Revocations(workloads=frozenset({WEB})), (), True),
        (Revocations(workloads=frozenset({WEB + "2"})), (), False),
        (Revocations(certificates={"shop.example": frozenset({"abc"})}), (), True),
        (Revocations(certificates={"shop.example": frozenset({"abcd", "0abc"})}), (), False),
        (Revocations(certificates={"partner.example": frozenset({"abc"})}), (), False),
        (Revocations(workloads=frozenset({EDGE})), (EDGE,), True),
        (Revocations(workloads=frozenset({WEB})), (EDGE,), True),
        (Revocations(certificates={"shop.example": frozenset({"abc"})}), (EDGE,), True),
        (Revocations(workloads=frozenset({"spiffe://shop.example/other"})), (EDGE,), False),
    ],
)
def test_a_revoked_workload_or_certificate_is_refused(
    authority: Authority, revocations: Revocations, hops: tuple[str, ...], refused: bool
) -> None:
    """The caller, and the proxy that speaks for it."""
    detail = workload_refusal(authority, revocations, hops)
    assert (detail is not None) is refused
    if detail is not None:
        assert detail.startswith(f"{Reason.WORKLOAD_REFUSED}: the workload")
        assert detail.endswith("is revoked")
