"""Headers: one view, whichever way they came."""

import pytest

from authz_server.errors import Reason, Refused
from authz_server.request.headers import Authorization, Headers, HeaderUnusable


def headers(*pairs: tuple[str, bytes], joined: bool = False) -> Headers:
    """Headers that came in this order."""
    return Headers.read(pairs, joined)


def refusal(*pairs: tuple[str, bytes], joined: bool = False) -> Reason:
    """Why these headers are refused, credentials included."""
    with pytest.raises(Refused) as refused:
        Headers.read(pairs, joined).authorization()
    return refused.value.reason


def test_names_are_lower_case_and_pseudo_headers_are_none() -> None:
    """HDR-05: names are looked up in lower case; pseudo-headers never show as headers."""
    view = headers((":path", b"/"), ("X-Team", b"a"), ("accept", b"*/*"))
    assert view.names() == ["x-team", "accept"]
    assert view.single("x-team") == "a"
    for read in (view.single, view.values):
        with pytest.raises(HeaderUnusable):
            read(":path")


def test_no_headers_are_fine() -> None:
    """PROTO-02: headers may be missing altogether."""
    view = headers()
    assert view.names() == []
    assert view.authorization() is None


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        ([("x", b"a")], ["a"]),
        ([("x", b"a, b\t,c")], ["a", "b", "c"]),
        ([("x", b"a"), ("y", b"-"), ("x", b"b,c")], ["a", "b", "c"]),
        ([("X", b"a"), ("x", b"b")], ["a", "b"]),
        ([("x", b"")], [""]),
        ([("x", b"a,,b,")], ["a", "", "b", ""]),
        ([("x", b""), ("x", b"a")], ["", "a"]),
        ([("x", "é,ü".encode())], ["é", "ü"]),
    ],
)
def test_all_values_of_a_header_are_seen(pairs: list[tuple[str, bytes]], values: list[str]) -> None:
    """HDR-02: repeated headers and commas give one list, and an empty value does not vanish."""
    assert headers(*pairs).values("x") == values


def test_joined_and_raw_headers_give_the_same_values() -> None:
    """HDR-04: a deny rule sees the same, however the proxy sends repeated headers."""
    raw = headers(("x", b"a"), ("x", b"b"))
    joined = headers(("x", b"a,b"), joined=True)
    assert raw.values("x") == joined.values("x")
    assert raw.raw("x") == joined.raw("x")


def test_a_repeated_header_has_no_single_value() -> None:
    """HDR-02: a second value is an error where one is wanted, even the same one."""
    for second in (b"a", b"b", b""):
        with pytest.raises(HeaderUnusable):
            headers(("x", b"a"), ("x", second)).single("x")


def test_an_absent_header_is_an_error_and_never_empty() -> None:
    """POL-01: what is missing has no value."""
    for read in (headers().single, headers().values):
        with pytest.raises(HeaderUnusable):
            read("x")
    assert headers().raw("x") is None


@pytest.mark.parametrize("value", [b"\xff", b"a\xc3", b"\xc0\xae", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf_8_are_an_error_when_read(value: bytes) -> None:
    """HDR-03: a header that no rule reads may hold any bytes."""
    view = headers(("x", value), ("y", b"ok"))
    assert view.single("y") == "ok"
    for read in (view.single, view.values):
        with pytest.raises(HeaderUnusable):
            read("x")


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
@pytest.mark.parametrize("place", ["name", "value", "second value", "pseudo-header", "last name"])
def test_line_breaks_and_nul_are_malformed(character: str, place: str) -> None:
    """CR, LF and NUL stand in no header."""
    odd = f"a{character}b"
    pairs = {
        "name": [(odd, b"x"), ("y", b"z")],
        "value": [("x", odd.encode()), ("y", b"z")],
        "second value": [("x", b"a"), ("x", odd.encode())],
        "pseudo-header": [(":scheme", odd.encode())],
        "last name": [("y", b"z"), ("x" + character, b"")],
    }[place]
    assert refusal(*pairs) is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a:b",
        "a,b",
        "é",
        "x\u212a",
        "(x)",
        "a/b",
        ":",
        ":status",
        ":foo",
        "::path",
        "x:",
        "\x7f",
        "a\x85",
    ],
)
def test_a_name_that_is_no_token_is_malformed(name: str) -> None:
    """RFC 9110 section 5.1, and RFC 9113 section 8.3 on pseudo-headers that requests do not have."""
    assert refusal((name, b"x"), ("y", b"z")) is Reason.MALFORMED_REQUEST
    assert refusal(("y", b"z"), (name, b"x")) is Reason.MALFORMED_REQUEST


def test_names_that_differ_by_case_in_a_map_are_malformed() -> None:
    """A map has no order, so nobody could say which value came first."""
    assert refusal(("x-a", b"1"), ("X-A", b"2"), joined=True) is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Bearer abc", Authorization("bearer", "abc")),
        (b"bearer abc", Authorization("bearer", "abc")),
        (b"BEARER a.b.c", Authorization("bearer", "a.b.c")),
        (b"DPoP abc", Authorization("dpop", "abc")),
        (b"Basic YTpi", None),
        (b"Basic", None),
        (b"Negotiate a b c", None),
        (b"Bearerx abc", None),
        (b"Custom \xff", None),
    ],
)
def test_credentials_of_our_schemes_are_found_in_any_case(value: bytes, expected: Authorization | None) -> None:
    """JWT-11: the scheme's case does not matter, and other schemes are ignored."""
    assert headers(("authorization", value)).authorization() == expected


@pytest.mark.parametrize(
    "value",
    [b"Bearer", b"Bearer ", b"Bearer  abc", b"Bearer abc ", b"Bearer abc def", b"Bearer \xff", b"bearer", b"DPoP"],
)
def test_a_bearer_scheme_without_one_token_is_invalid(value: bytes) -> None:
    """JWT-11: `Bearer` with nothing, or with more than one space, does not make the caller anonymous."""
    assert refusal(("authorization", value)) is Reason.TOKEN_INVALID


@pytest.mark.parametrize("value", [b"", b" Bearer abc", b"Bearer\tabc", b"\xff abc", b"(x) abc", b'"Bearer" abc'])
def test_an_authorization_without_a_scheme_is_malformed(value: bytes) -> None:
    """What does not begin with a scheme and a space could be anything."""
    assert refusal(("authorization", value)) is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    "value", [b"Bearer a,Bearer b", b"Bearer a,", b",Bearer a", b"Basic a,Bearer b", b"Bearer a,Basic b"]
)
def test_a_comma_in_authorization_is_malformed(value: bytes, joined: bool) -> None:
    """HDR-01: joined headers cannot be told from one with a comma."""
    assert refusal(("authorization", value), joined=joined) is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize("second", [b"Bearer a", b"Bearer b", b"Basic YTpi", b""])
@pytest.mark.parametrize("name", ["authorization", "Authorization"])
def test_a_second_authorization_header_is_malformed(name: str, second: bytes) -> None:
    """HDR-01, JWT-11: also the same one again, and `Basic` beside `Bearer`."""
    assert refusal(("authorization", b"Bearer a"), (name, second)) is Reason.MALFORMED_REQUEST
    assert refusal((name, second), ("authorization", b"Bearer a")) is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize("name", ["x_user", "X_User", "x_workload_id", "x-workload_id", "x_workload-id"])
def test_an_underscore_variant_of_a_protected_header_is_a_conflict(name: str) -> None:
    """HDR-05: servers that speak CGI take `x_user` for `x-user`."""
    with pytest.raises(Refused) as refused:
        Headers.read(((name, b"root"),), False).refuse_variants(frozenset({"x-user", "x-workload-id"}))
    assert refused.value.reason is Reason.HEADER_CONFLICT


@pytest.mark.parametrize("name", ["x-user-id", "x_user-id", "X-User-Id"])
def test_a_protected_name_may_have_the_underscore(name: str) -> None:
    """Either can be taken for the other."""
    with pytest.raises(Refused):
        Headers.read(((name, b"root"),), False).refuse_variants(frozenset({"x_user_id"}))


@pytest.mark.parametrize("protected", [frozenset(), frozenset({"x-user"}), frozenset({"x_other", "x-other"})])
def test_protected_headers_and_other_underscores_are_fine(protected: frozenset[str]) -> None:
    """The client's copy of a protected header is removed later; other names may have underscores."""
    Headers.read((("x-user", b"root"), ("x_other", b"1")), False).refuse_variants(protected)
