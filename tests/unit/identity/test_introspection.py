"""What an issuer says about an opaque token, and how long it holds."""

import base64
import json
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.cache import BoundedCache
from authz_server.identity.introspection import (
    FAILED_S,
    REFUSED,
    REFUSED_S,
    IntrospectionNeeded,
    OpaqueTokens,
    opaque_tokens,
)
from authz_server.identity.revocations import IssuerRevocations, Revocations
from authz_server.identity.settings import IdentitySettings, Introspection, Issuer
from authz_server.identity.user import UserVerifier
from authz_server.model import User
from tests.unit.identity.tokens import CORP, NOW, SigningKey

ASKED = Introspection("https://login.shop.example/introspect", "gate", "secret", max_age_s=30.0)
ISSUER = Issuer("corp", CORP, ("shop",), introspection=ASKED)
SETTINGS = IdentitySettings(issuers=(ISSUER,))
CLAIMS = {"active": True, "sub": "zoe", "aud": "shop", "exp": NOW + 300, "scope": "a b"}
TOKEN = "2YotnFZFEjr1zCsicMWpAA"
DIGEST = "ab" * 32
DIGEST_OF_TOKEN = blake2b(TOKEN.encode(), digest_size=32).digest()
THUMBPRINT = base64.urlsafe_b64encode(bytes.fromhex(DIGEST)).rstrip(b"=").decode()


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.seconds


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="tokens")
def _tokens(clock: Clock) -> OpaqueTokens:
    return OpaqueTokens(ISSUER, ASKED, b"k" * 32, clock)


def verifier(tokens: OpaqueTokens, generation: int = 1, revocations: Revocations | None = None) -> UserVerifier:
    """A verifier of one generation, without any keys."""
    cache = BoundedCache[Any, Any](10, 100_000)
    return UserVerifier(SETTINGS, {}, generation, cache, b"k" * 32, lambda _issuer: None, revocations, tokens)


def needed(tokens: OpaqueTokens, token: str = TOKEN, now: float = NOW) -> IntrospectionNeeded:
    """The question that a request with this token leads to."""
    with pytest.raises(IntrospectionNeeded) as raised:
        verifier(tokens).verify(token, now)
    assert token not in repr(raised.value) + str(raised.value)
    return raised.value


def take(tokens: OpaqueTokens, token: str = TOKEN, now: float = NOW, **changes: object) -> str:
    """Give the issuer's answer to that question, with these changes; None takes a claim away."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return tokens.take(needed(tokens, token, now), json.dumps(claims).encode(), now)


def refusal(tokens: OpaqueTokens, now: float = NOW, fingerprint: str | None = None) -> Refused:
    """Why a request with the token is refused."""
    with pytest.raises(Refused) as refused:
        verifier(tokens).verify(TOKEN, now, fingerprint)
    return refused.value


def test_an_active_token_names_the_user(tokens: OpaqueTokens) -> None:
    """As a JWT with these claims would; `iss` is who was asked."""
    assert take(tokens) == "accepted"
    verified = verifier(tokens).verify(TOKEN, NOW)
    assert verified.user == User(
        issuer="corp",
        subject="zoe",
        scopes=frozenset({"a", "b"}),
        claims={"iss": CORP, **CLAIMS},
        expires=NOW + 300,
    )
    assert TOKEN not in verified.token_hash


def test_an_answer_outlives_keys_and_policies(tokens: OpaqueTokens) -> None:
    """It does not follow from them: another generation asks no more questions."""
    take(tokens)
    assert verifier(tokens, generation=2).verify(TOKEN, NOW).user.subject == "zoe"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"active": False}, "its issuer says that it is not active"),
        ({"iss": "https://other.example/"}, "its `iss` is not the issuer's"),
        ({"iss": 1}, "its `iss` is not the issuer's"),
        ({"aud": None}, "its `aud` is no text and no list of texts"),
        ({"aud": "bank"}, "its `aud` is somebody else"),
        ({"aud": ["bank", 1]}, "its `aud` is no text and no list of texts"),
        ({"exp": None}, "it has no `exp`"),
        ({"exp": "soon"}, "its `exp` is not a time"),
        ({"exp": True}, "its `exp` is not a time"),
        ({"nbf": NOW + 31}, "it is not valid yet"),
        ({"iat": NOW + 31}, "it is not valid yet"),
        ({"sub": None}, "the token's `sub` is not a text"),
        ({"sub": ""}, "the token's `sub` is not a text"),
        ({"sub": 7}, "the token's `sub` is not a text"),
        ({"nonce": "n"}, "it is an ID token: it has `nonce`"),
        ({"token_type": "refresh_token"}, "its `token_type` is neither `Bearer` nor `DPoP`"),
        ({"token_type": 1}, "its `token_type` is neither `Bearer` nor `DPoP`"),
        ({"token_type": "DPoP"}, "its `token_type` is `DPoP`, and it has no `cnf.jkt`"),
        ({"cnf": {"x5t#S256": "short"}}, "its `x5t#S256` is no SHA-256"),
        ({"cnf": {}}, "cnf"),
    ],
)
def test_what_is_no_good_access_token_is_refused(tokens: OpaqueTokens, changes: dict[str, Any], detail: str) -> None:
    """By the same rules as a JWT; the answer is as much the issuer's word as a signature."""
    assert take(tokens, **changes) == "refused"
    refused = refusal(tokens)
    assert refused.reason is Reason.TOKEN_INVALID
    assert detail in refused.detail


def test_a_token_that_has_expired_says_so(tokens: OpaqueTokens) -> None:
    """An issuer that calls it active nonetheless is not believed."""
    take(tokens, exp=NOW - 31)
    assert refusal(tokens).reason is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"active",
        b"[true]",
        b"{}",
        b'{"active": "true"}',
        b'{"active": 1}',
        b'{"active": null}',
        b'{"active": false, "active": true}',
        b'{"active": true, "sub": "a\\u0000b"}',
        b'{"active": true, "exp": 1e999}',
        b'\xef\xbb\xbf{"active": true}',
        b'{"active": true} {}',
        b'{"active": true, "x": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_what_is_no_answer_is_none(tokens: OpaqueTokens, answer: bytes) -> None:
    """Types that lie and documents that have two readings say nothing, neither good nor bad."""
    with pytest.raises(ValueError, match=r"not|without|twice|deeper|NUL|range"):
        tokens.take(needed(tokens), answer, NOW)
    needed(tokens)


@pytest.mark.parametrize("step", [0.0, -1e6, 1e6])
def test_a_failure_is_not_available_for_a_moment(tokens: OpaqueTokens, clock: Clock, step: float) -> None:
    """Then it is asked again, wherever the time of day has been set."""
    tokens.fail(needed(tokens))
    clock.seconds += FAILED_S - 0.1
    assert refusal(tokens, NOW + step).reason is Reason.ISSUER_UNAVAILABLE
    clock.seconds += 0.1
    needed(tokens, now=NOW + step)


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({}, 30),
        ({"exp": NOW - 1}, 29),
        ({"exp": NOW - 10}, 20),
        ({"active": False}, REFUSED_S),
        ({"sub": ""}, REFUSED_S),
    ],
)
def test_an_answer_holds_no_longer_than_the_token(
    tokens: OpaqueTokens, clock: Clock, changes: dict[str, Any], until: float
) -> None:
    """Nor than `max_age`; the issuer's tolerance counts for `exp`. A bad token may be good soon."""
    take(tokens, **changes)
    clock.seconds += until - 0.1
    with suppress(Refused):
        tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + until - 0.1)
    clock.seconds += 0.1
    with pytest.raises(IntrospectionNeeded):
        tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + until)


@pytest.mark.parametrize("changes", [{}, {"active": False}])
def test_a_step_of_the_time_of_day_makes_no_answer_older_or_younger(
    tokens: OpaqueTokens, clock: Clock, changes: dict[str, Any]
) -> None:
    """A token that was taken back is not good for longer because a clock was set back."""
    until = 30.0 if not changes else REFUSED_S
    take(tokens, **changes)
    clock.seconds += until - 0.1
    for step in (0.0, -86_400.0, 100.0):
        with suppress(Refused):
            tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + step)
    clock.seconds += 0.1
    for step in (0.0, -86_400.0, 100.0):
        with pytest.raises(IntrospectionNeeded):
            tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + step)


def test_the_end_of_a_token_is_a_time_of_day(tokens: OpaqueTokens) -> None:
    """Where the clock is set to it, its issuer is asked again, however young the answer is."""
    take(tokens)
    tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + 300 + 29.9)
    with pytest.raises(IntrospectionNeeded):
        tokens.find(TOKEN, DIGEST_OF_TOKEN, NOW + 300 + 30)


def test_made_up_tokens_push_out_nothing_that_is_good(tokens: OpaqueTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a cache of their own, and it has a bound."""
    monkeypatch.setattr("authz_server.identity.introspection.REFUSED", REFUSED._replace(entries=3))
    tokens = OpaqueTokens(ISSUER, ASKED, b"k" * 32)
    take(tokens)
    for number in range(10):
        take(tokens, f"made-up-{number}", active=False)
    assert verifier(tokens).verify(TOKEN, NOW).user.subject == "zoe"
    needed(tokens, "made-up-0")


def test_a_bound_token_needs_its_certificate(tokens: OpaqueTokens) -> None:
    """RFC 8705 section 3.2: `cnf` of the answer counts."""
    take(tokens, cnf={"x5t#S256": THUMBPRINT})
    assert verifier(tokens).verify(TOKEN, NOW, DIGEST).user.bound
    for fingerprint in (None, "cd" * 32):
        assert refusal(tokens, fingerprint=fingerprint).reason is Reason.TOKEN_INVALID


def test_a_revoked_token_is_refused_though_its_answer_is_kept(tokens: OpaqueTokens) -> None:
    """Revocations are looked at on each use."""
    take(tokens, jti="j1")
    revoked = Revocations(issuers={"corp": IssuerRevocations(tokens=frozenset({"j1"}))})
    with pytest.raises(Refused, match="token_revoked"):
        verifier(tokens, revocations=revoked).verify(TOKEN, NOW)


@pytest.mark.parametrize("token", ["=", "a=b", "a,b", "a%20b", 'a"b', "a\tb", "~~~\\"])
def test_what_no_issuer_makes_is_not_asked_about(tokens: OpaqueTokens, token: str) -> None:
    """RFC 6750 section 2.1."""
    with pytest.raises(Refused, match="characters that no token has"):
        verifier(tokens).verify(token, NOW)


def test_a_jwt_is_not_asked_about(tokens: OpaqueTokens, es256: SigningKey) -> None:
    """It is verified with keys or not at all, and shown to nobody."""
    with pytest.raises(Refused):
        verifier(tokens).verify(es256.token(), NOW)


@pytest.mark.parametrize(
    ("all_tokens", "claims", "header", "asked"),
    [
        (True, {}, {}, True),
        (True, {}, {"typ": "at+jwt"}, True),
        (True, {}, {"typ": "dpop+jwt"}, False),
        (True, {}, {"crit": ["x"]}, False),
        (True, {"iss": "https://other.example/"}, {}, False),
        (True, {"iss": None}, {}, False),
        (False, {}, {}, False),
    ],
)
def test_the_jwts_of_an_issuer_without_keys_are_asked_about(
    es256: SigningKey, clock: Clock, all_tokens: bool, claims: dict[str, Any], header: dict[str, Any], asked: bool
) -> None:
    """And no others. Nothing in them is believed: the answer says whose they are."""
    tokens = OpaqueTokens(ISSUER, msgspec.structs.replace(ASKED, all_tokens=all_tokens), b"k" * 32, clock)
    token = es256.token(header=header, **claims)
    if asked:
        take(tokens, token, sub="ann")
        assert verifier(tokens).verify(token, NOW).user.subject == "ann"
        clock.seconds += ASKED.max_age_s
        needed(tokens, token)
    else:
        with pytest.raises(Refused):
            verifier(tokens).verify(token, NOW)


def test_without_an_issuer_to_ask_an_opaque_token_is_bad() -> None:
    """Nothing is asked."""
    settings = IdentitySettings(issuers=(msgspec.structs.replace(ISSUER, introspection=None),))
    assert opaque_tokens(settings, b"k" * 32) is None
    users = UserVerifier(settings, {}, 1, BoundedCache[Any, Any](1, 1), b"k" * 32, lambda _issuer: None)
    with pytest.raises(Refused, match="token_invalid"):
        users.verify(TOKEN, NOW)


def test_two_issuers_that_are_asked_are_refused() -> None:
    """Nothing would tell whose a token is."""
    other = msgspec.structs.replace(ISSUER, name="other", issuer="https://other.example/")
    with pytest.raises(ValueError, match="two issuers have `introspection`"):
        opaque_tokens(IdentitySettings(issuers=(ISSUER, other)), b"k" * 32)


def test_the_digest_is_the_token_s(tokens: OpaqueTokens) -> None:
    """One question about a token at a time needs a name for it that is no secret."""
    assert needed(tokens).digest == blake2b(TOKEN.encode(), digest_size=32).digest()
