"""What an access token must say."""

from typing import Any

import msgspec
import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.access_token import Validity, check_claims, check_header
from authz_server.identity.settings import Issuer
from tests.unit.identity.tokens import CLAIMS, CORP, NOW

ISSUER = Issuer("corp", CORP, ("shop", "shop-admin"), skew_s=0.0)


def issuer(**changes: object) -> Issuer:
    """The issuer with other settings."""
    return msgspec.structs.replace(ISSUER, **changes)


def claims(**changes: object) -> dict[str, Any]:
    """Good claims with changes; a claim that is `...` is taken away."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}


def refusal(changes: dict[str, object], settings: Issuer = ISSUER, now: float = NOW) -> Reason:
    """Why these claims are refused."""
    with pytest.raises(Refused) as refused:
        check_claims(claims(**changes), settings, now)
    return refused.value.reason


@pytest.mark.parametrize(
    "header", [{}, {"typ": "JWT"}, {"typ": "jwt"}, {"typ": "at+jwt"}, {"typ": "application/AT+JWT"}]
)
def test_the_usual_types_are_accepted(header: dict[str, str]) -> None:
    """JWT-10: `at+jwt`, `JWT` or none, in any case, with or without `application/`."""
    check_header(header, ISSUER)


@pytest.mark.parametrize(
    "typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "id+jwt", "none", "", "JWE", "text/at+jwt", "at+jwt "]
)
def test_other_types_are_refused(typ: str) -> None:
    """JWT-10: a token of another kind is no access token, and the word `none` is not the absence of a type."""
    with pytest.raises(Refused):
        check_header({"typ": typ}, ISSUER)


@pytest.mark.parametrize("typ", [None, 5, True, ["JWT"], {"a": "JWT"}])
def test_a_type_that_is_no_text_is_refused(typ: object) -> None:
    """JWT-10: also null, which is not absent."""
    with pytest.raises(Refused):
        check_header({"typ": typ}, ISSUER)


def test_an_issuer_can_name_its_types() -> None:
    """JWT-10: with `token_types`, others are refused, and so is none unless it is listed."""
    strict = issuer(token_types=("application/at+jwt",))
    check_header({"typ": "AT+jwt"}, strict)
    for header in ({}, {"typ": "JWT"}):
        with pytest.raises(Refused):
            check_header(header, strict)
    check_header({}, issuer(token_types=("at+jwt", "none")))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": []},
        {"crit": ["exp"]},
        {"crit": None},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
    ],
)
def test_extensions_of_the_signature_are_refused(header: dict[str, object]) -> None:
    """JWT-04, JWT-05: none is supported, in whatever form it comes."""
    with pytest.raises(Refused):
        check_header(header, ISSUER)


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t", "cty"])
def test_a_header_that_offers_a_key_is_not_asked(name: str) -> None:
    """JWT-02: such members are neither used nor a fault."""
    check_header({name: "https://evil.example/"}, ISSUER)


@pytest.mark.parametrize("audience", ["shop", "shop-admin", ["shop"], ["other", "shop"], ["shop", "shop"]])
def test_one_of_our_audiences_must_be_named(audience: object) -> None:
    """JWT-08: as a text or in a list of texts."""
    check_claims(claims(aud=audience), ISSUER, NOW)


@pytest.mark.parametrize(
    "audience",
    [
        ...,
        None,
        "",
        "Shop",
        "shop ",
        "sho",
        "shop/",
        "shop,other",
        [],
        ["other"],
        ["shop", 5],
        ["shop", None],
        [["shop"]],
        {"shop": True},
        {"aud": "shop"},
        5,
        True,
    ],
)
def test_any_other_audience_is_refused(audience: object) -> None:
    """JWT-08: no prefix, no folding, no objects, and one odd element spoils the list."""
    assert refusal({"aud": audience}) is Reason.TOKEN_INVALID


def test_an_issuer_without_audiences_accepts_no_token() -> None:
    """JWT-08: there is always an audience to name."""
    assert refusal({}, issuer(audiences=())) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("iss", [..., None, "", CORP.rstrip("/"), CORP.upper(), CORP + "x", [CORP], 5])
def test_the_issuer_is_compared_exactly(iss: object) -> None:
    """JWT-09: `iss` is a text, to the last slash."""
    assert refusal({"iss": iss}) is Reason.TOKEN_INVALID


BAD_TIMES = ["1772442300", True, False, None, [], {}, -1, -0.5, 1e300, 2**62, "", float(10**12)]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", BAD_TIMES)
def test_a_time_that_is_no_date_is_refused(name: str, value: object) -> None:
    """JWT-07: texts, booleans, null, lists, negative and huge numbers."""
    assert refusal({name: value}) is Reason.TOKEN_INVALID


def test_an_expiry_is_required() -> None:
    """JWT-07: a token without `exp` would live for ever."""
    assert refusal({"exp": ...}) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    ("offset", "skew", "reason"),
    [
        (-0.001, 0.0, None),
        (0.0, 0.0, Reason.TOKEN_EXPIRED),
        (1.0, 0.0, Reason.TOKEN_EXPIRED),
        (29.9, 30.0, None),
        (30.0, 30.0, Reason.TOKEN_EXPIRED),
        (1e6, 30.0, Reason.TOKEN_EXPIRED),
    ],
)
def test_a_token_ends_at_its_expiry(offset: float, skew: float, reason: Reason | None) -> None:
    """JWT-07: `exp == now` is expired, and the skew moves that moment and nothing else."""
    settings = issuer(skew_s=skew)
    if reason is None:
        check_claims(claims(), settings, NOW + 300 + offset)
    else:
        assert refusal({}, settings, NOW + 300 + offset) is reason


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize(
    ("skew", "early", "fits"), [(0.0, 0.0, True), (0.0, 0.5, False), (30.0, 30.0, True), (30.0, 30.5, False)]
)
def test_a_token_of_the_future_is_invalid(name: str, skew: float, early: float, fits: bool) -> None:
    """JWT-07: neither before `nbf` nor issued later than now."""
    settings = issuer(skew_s=skew)
    if fits:
        check_claims(claims(**{name: NOW + early}), settings, NOW)
    else:
        assert refusal({name: NOW + early}, settings) is Reason.TOKEN_INVALID


def test_what_else_is_wrong_counts_more_than_the_age() -> None:
    """`token_expired` means that the token was good once."""
    assert refusal({"aud": "other"}, now=NOW + 10_000) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(("iat", "reason"), [(NOW, None), (NOW - 1, Reason.TOKEN_INVALID), (..., Reason.TOKEN_INVALID)])
def test_a_lifetime_can_be_bounded(iat: object, reason: Reason | None) -> None:
    """JWT-07: with `max_lifetime`, `iat` is required, and `exp` may not be further away."""
    settings = issuer(max_lifetime_s=300.0)
    if reason is None:
        check_claims(claims(iat=iat), settings, NOW)
    else:
        assert refusal({"iat": iat}, settings) is reason


def test_without_a_bound_iat_may_be_missing() -> None:
    """JWT-07: `iat` is optional."""
    assert check_claims(claims(iat=...), ISSUER, NOW) == Validity(0.0, NOW + 300, NOW + 300)


def test_the_times_of_a_token_are_told() -> None:
    """From when until when, skew included, and `exp` itself."""
    validity = check_claims(claims(nbf=NOW - 10.5), issuer(skew_s=30.0), NOW)
    assert validity == Validity(NOW - 40.5, NOW + 330, NOW + 300)


@pytest.mark.parametrize("name", ["nonce", "at_hash", "c_hash"])
@pytest.mark.parametrize("value", ["x", "", None])
def test_an_id_token_is_refused_unless_it_is_accepted(name: str, value: object) -> None:
    """JWT-10: what an ID token alone has betrays it."""
    assert refusal({name: value}) is Reason.TOKEN_INVALID
    check_claims(claims(**{name: value}), issuer(accept_id_tokens=True), NOW)


def test_a_logout_token_is_refused() -> None:
    """JWT-10: a security event, whatever its type says."""
    events: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert refusal({"events": events}) is Reason.TOKEN_INVALID
