"""Path templates and host patterns; the wording of their errors is asserted with those of policies."""

from contextlib import suppress

import pytest

from authz_server.policy.patterns import (
    Capture,
    HostPattern,
    Literal,
    PathTemplate,
    PatternError,
    Rest,
    parse_host_pattern,
    parse_path_template,
)
from authz_server.request.path import canonical_path

UUID = "123e4567-e89b-12d3-a456-426614174000"


def captured(template: str, target: str) -> dict[str, str] | None:
    """What a template captures of a request's target."""
    return parse_path_template(template).match(canonical_path(target).path)


@pytest.mark.parametrize(
    ("text", "segments", "rest", "trailing_slash", "captures"),
    [
        ("/", (), None, True, set()),
        ("/orders", (Literal("orders"),), None, False, set()),
        ("/orders/", (Literal("orders"),), None, True, set()),
        ("/a b/é", (Literal("a b"), Literal("é")), None, False, set()),
        ("/orders/{id}", (Literal("orders"), Capture("id")), None, False, {"id"}),
        ("/{n:int}/{u:uuid}/", (Capture("n", "int"), Capture("u", "uuid")), None, True, {"n", "u"}),
        ("/v{n:int}.json", (Capture("n", "int", "v", ".json"),), None, False, {"n"}),
        ("/**", (), Rest(None), False, set()),
        ("/files/{rest...}", (Literal("files"),), Rest("rest"), False, {"rest"}),
    ],
)
def test_a_template_is_taken_apart(
    text: str,
    segments: tuple[Literal | Capture, ...],
    rest: Rest | None,
    trailing_slash: bool,
    captures: set[str],
) -> None:
    """Segments, what may follow them, the final slash, and the names of captures."""
    assert parse_path_template(text) == PathTemplate(text, segments, rest, trailing_slash, frozenset(captures))


@pytest.mark.parametrize(
    ("template", "target", "expected"),
    [
        ("/", "/", {}),
        ("/", "/a", None),
        ("/orders", "/orders", {}),
        ("/orders", "/orders?a=b", {}),
        ("/orders", "/orders/", None),
        ("/orders", "/Orders", None),
        ("/orders", "/orders1", None),
        ("/orders", "/", None),
        ("/orders/", "/orders/", {}),
        ("/orders/", "/orders", None),
        ("/a b", "/a%20b", {}),
        ("/orders/{id}", "/orders/c7-1", {"id": "c7-1"}),
        ("/orders/{id}", "/orders/%C3%A9", {"id": "é"}),
        ("/orders/{id}", "/orders/a/b", None),
        ("/orders/{id}", "/orders/", None),
        ("/orders/{id}/", "/orders/a/", {"id": "a"}),
        ("/{n:int}", "/0042", {"n": "0042"}),
        ("/{n:int}", "/" + "9" * 18, {"n": "9" * 18}),
        ("/{n:int}", "/" + "9" * 19, None),
        ("/{n:int}", "/-1", None),
        ("/{n:int}", "/+1", None),
        ("/{n:int}", "/1.0", None),
        ("/{n:int}", "/%D9%A1", None),
        ("/{n:int}", "/%C2%B2", None),
        ("/{u:uuid}", f"/{UUID}", {"u": UUID}),
        ("/{u:uuid}", f"/{UUID.upper()}", {"u": UUID.upper()}),
        ("/{u:uuid}", f"/{UUID}0", None),
        ("/{u:uuid}", f"/{UUID.replace('-', '')}", None),
        ("/{name}.txt", "/a.txt", {"name": "a"}),
        ("/{name}.txt", "/.txt", None),
        ("/{name}.txt", "/a.txt.txt", {"name": "a.txt"}),
        ("/aa{name}aa", "/aaa", None),
        ("/aa{name}aa", "/aaaa", None),
        ("/aa{name}aa", "/aaxaa", {"name": "x"}),
        ("/a/**", "/a", None),
        ("/a/**", "/a/", None),
        ("/a/**", "/a/b", {}),
        ("/a/**", "/a/b/", {}),
        ("/a/**", "/a/b/c/d", {}),
        ("/a/**", "/ab/c", None),
        ("/**", "/", None),
        ("/**", "/a", {}),
        ("/a/{rest...}", "/a/b/c%20d/", {"rest": "b/c d"}),
        ("/a/{rest...}", "/a/", None),
        ("/{x}/{rest...}", "/a/b", {"x": "a", "rest": "b"}),
    ],
)
def test_a_template_fits_whole_segments_and_captures_them(
    template: str, target: str, expected: dict[str, str] | None
) -> None:
    """None is a path that does not fit; captures are decoded and never empty."""
    assert captured(template, target) == expected


@pytest.mark.parametrize("piece", ["(a|", "(", "[", "[a-z", "<a", "/:a", "/:", "{a*", "${a", "|", ".", " a", "a"])
def test_the_cost_of_a_template_grows_with_its_length_only(piece: str) -> None:
    """A long text that looks like what other systems have takes no time to speak of, whatever is said about it."""
    with suppress(PatternError):
        parse_path_template("/" + piece * 50_000)


@pytest.mark.parametrize(
    ("template", "target"),
    [
        ("/<", "/%3C"),
        ("/a<b", "/a%3Cb"),
        ("/x^2", "/x%5E2"),
        ("/a|b", "/a%7Cb"),
        ('/"a"', "/%22a%22"),
        ("/`", "/%60"),
        ("/$count", "/$count"),
        ("/v1:batch", "/v1:batch"),
        ("/Orders(7)", "/Orders(7)"),
        ("/a[0]", "/a[0]"),
        ("/c++", "/c++"),
        ("/v1.+json", "/v1.+json"),
        ("/a (b)/c", "/a%20(b)/c"),
    ],
)
def test_literal_text_that_a_path_can_hold_stands_for_itself(template: str, target: str) -> None:
    """Also where requests can only have it percent-encoded."""
    assert captured(template, target) == {}


@pytest.mark.parametrize(
    ("text", "offset", "length"),
    [
        ("", 0, None),
        ("orders", 0, None),
        ("//", 0, 2),
        ("/a//b", 2, 2),
        ("/a/**/b", 3, 2),
        ("/{rest...}/", 1, 9),
        ("/a/*", 3, 1),
        ("/a*b", 2, 1),
        ("/a%2Fb", 2, 1),
        ("/a/./b", 3, 1),
        ("/a/..", 3, 2),
        ("/a?b", 2, 1),
        ("/a#b", 2, 1),
        ("/a;b", 2, 1),
        ("/a\\b", 2, 2),
        ("/a\\é", 2, 1),
        ("/a\tb", 2, 1),
        ("/a\x85b", 2, 1),
        ("/{a}/{a}", 6, 1),
        ("/{a}/{a...}", 6, 1),
        ("/{a}{b}", 4, 1),
        ("/{a", 1, 1),
        ("/a}", 2, 1),
        ("/{}", 2, 1),
        ("/{1a}", 2, 2),
        ("/{a-b}", 2, 3),
        ("/{in}", 2, 2),
        ("/{a:integer}", 4, 7),
        ("/{a:}", 4, 0),
        ("/{...}", 2, 1),
        ("/{a...b}", 2, 5),
    ],
)
def test_a_template_that_nothing_can_fit_is_refused_where_it_is_wrong(
    text: str, offset: int, length: int | None
) -> None:
    """The place is in characters of the template, and the hint says what to write."""
    with pytest.raises(PatternError) as caught:
        parse_path_template(text)
    assert (caught.value.offset, caught.value.length) == (offset, length)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("orders.shop.example", "orders.shop.example", None),
        ("orders.shop.example:8443", "orders.shop.example", 8443),
        ("*.shop.example", "*.shop.example", None),
        ("*.shop.example:8443", "*.shop.example", 8443),
        ("*", "*", None),
        ("*:8443", "*", 8443),
        ("my_host", "my_host", None),
        ("10.1.2.3", "10.1.2.3", None),
        ("[::1]:8443", "[::1]", 8443),
    ],
)
def test_a_host_pattern_is_taken_apart(text: str, name: str, port: int | None) -> None:
    """The name that hosts are compared with, and the port."""
    assert parse_host_pattern(text) == HostPattern(name, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Orders.shop.example",
        "shop.example.",
        "*.",
        "*shop.example",
        "orders.*",
        "*.*.example",
        "http://shop.example",
        "shop.example/a",
        "user@shop.example",
        "shop.example:0",
        "shop.example:65536",
        "shop.example:http",
        "*:",
        "*:0443",
        "[::0:1]",
        "::1",
        "a,b",
        "é.example",
    ],
)
def test_what_no_host_can_be_is_refused(text: str) -> None:
    """Also a host in another form than the one that hosts are compared in."""
    with pytest.raises(PatternError) as caught:
        parse_host_pattern(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "host", "port", "fits"),
    [
        ("shop.example", "shop.example", None, True),
        ("shop.example", "shop.example", 8443, True),
        ("shop.example", "a.shop.example", None, False),
        ("shop.example:8443", "shop.example", 8443, True),
        ("shop.example:8443", "shop.example", 443, False),
        ("shop.example:8443", "shop.example", None, False),
        ("*.shop.example", "shop.example", None, False),
        ("*.shop.example", "a.shop.example", None, True),
        ("*.shop.example", "a.b.shop.example", None, True),
        ("*.shop.example", "ashop.example", None, False),
        ("*.shop.example", "a.shop.example.evil", None, False),
        ("*", "anything", 1, True),
        ("*:8443", "anything", 1, False),
    ],
)
def test_a_host_fits_by_whole_labels(pattern: str, host: str, port: int | None, fits: bool) -> None:
    """A wildcard stands for one or more labels in front, never for a part of one."""
    assert parse_host_pattern(pattern).matches(host, port) is fits
