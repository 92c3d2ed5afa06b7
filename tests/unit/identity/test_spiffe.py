"""SPIFFE IDs and patterns, by example."""

import pytest

from authz_server.identity.spiffe import (
    InvalidSpiffeId,
    InvalidSpiffePattern,
    SpiffePattern,
    parse_spiffe_id,
    parse_spiffe_pattern,
)
from authz_server.model import SpiffeId

LONGEST_PATH = "/" + "a" * (2048 - len("spiffe://td/"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "spiffe://shop.example/ns/front/sa/web",
            SpiffeId("spiffe://shop.example/ns/front/sa/web", "shop.example", ("ns", "front", "sa", "web")),
        ),
        ("spiffe://td", SpiffeId("spiffe://td", "td", ())),
        ("spiffe://a.b_c-1/A.b_C-1/...", SpiffeId("spiffe://a.b_c-1/A.b_C-1/...", "a.b_c-1", ("A.b_C-1", "..."))),
        ("spiffe://td" + LONGEST_PATH, SpiffeId("spiffe://td" + LONGEST_PATH, "td", (LONGEST_PATH[1:],))),
        ("spiffe://" + "a" * 255 + "/x", SpiffeId("spiffe://" + "a" * 255 + "/x", "a" * 255, ("x",))),
    ],
)
def test_a_spiffe_id_is_taken_apart(text: str, expected: SpiffeId) -> None:
    """ID-06: trust domain and segments; the ID of a trust domain has none."""
    assert parse_spiffe_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "spiffe:",
            "spiffe:/",
            "spiffe://",
            "spiffe:///",
            "spiffe:///a",
            "/a",
            "td/a",
            "http://td/a",
            "CN=spiffe://td/a",
        ),
        *(
            "SPIFFE://td/a",
            "Spiffe://td/a",
            " spiffe://td/a",
            "spiffe://td/a ",
            "spiffe://td/a\n",
            "spiffe://td\n",
            "spiffe:\\\\td",
        ),
        *(
            "spiffe://TD/a",
            "spiffe://td:443/a",
            "spiffe://user@td/a",
            "spiffe://user:pw@td/a",
            "spiffe://t%64/a",
            "spiffe://tü/a",
        ),
        *("spiffe://td/", "spiffe://td/a/", "spiffe://td//a", "spiffe://td/a//b", "spiffe://td//"),
        *("spiffe://td/.", "spiffe://td/..", "spiffe://td/a/../admin", "spiffe://td/./a", "spiffe://td/a/."),
        *(
            "spiffe://td/%61",
            "spiffe://td/a?x",
            "spiffe://td/a#f",
            "spiffe://td/a?x#f",
            "spiffe://td/a,b",
            "spiffe://td/a\x00",
        ),
        *(
            "spiffe://td/é",
            "spiffe://td/a\u212a",
            "spiffe://td/a,By=spiffe://td/x;URI=spiffe://td/admin",
            "spiffe://td/*",
        ),
        *("spiffe://td" + LONGEST_PATH + "a", "spiffe://" + "a" * 256 + "/x", "spiffe://td/" + "a" * 100_000),
    ],
)
def test_what_is_not_exactly_a_spiffe_id_is_refused(text: str) -> None:
    """ID-06: no case folding, no normalisation, no tolerance."""
    with pytest.raises(InvalidSpiffeId):
        parse_spiffe_id(text)


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        (
            "spiffe://prod/ns/a",
            ["spiffe://prod/ns/a"],
            [
                "spiffe://prod/ns/ab",
                "spiffe://prod/ns",
                "spiffe://prod/ns/a/b",
                "spiffe://prod-evil/ns/a",
                "spiffe://prod",
            ],
        ),
        (
            "spiffe://prod/**",
            ["spiffe://prod/a", "spiffe://prod/a/b/c"],
            ["spiffe://prod", "spiffe://prod-evil/a", "spiffe://prod.evil/a", "spiffe://xprod/a"],
        ),
        (
            "spiffe://prod/ns/*/sa/web",
            ["spiffe://prod/ns/a/sa/web", "spiffe://prod/ns/../sa/web".replace("..", "b.c")],
            ["spiffe://prod/ns/sa/web", "spiffe://prod/ns/a/b/sa/web", "spiffe://prod/ns/a/sa/web2"],
        ),
        (
            "spiffe://prod/ns/*/**",
            ["spiffe://prod/ns/a/b", "spiffe://prod/ns/a/b/c"],
            ["spiffe://prod/ns/a", "spiffe://prod/ns", "spiffe://prod/nsx/a/b"],
        ),
        ("spiffe://a.b/x.y", ["spiffe://a.b/x.y"], ["spiffe://axb/x.y", "spiffe://a.b/xzy"]),
        ("spiffe://prod/*", ["spiffe://prod/a"], ["spiffe://prod/a/b", "spiffe://prod"]),
    ],
)
def test_a_pattern_fits_by_whole_segments(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    """ID-07: a star is one segment, a last double star one or more, and a dot is a dot."""
    parsed = parse_spiffe_pattern(pattern)
    assert [text for text in fits if not parsed.matches(parse_spiffe_id(text))] == []
    assert [text for text in fits_not if parsed.matches(parse_spiffe_id(text))] == []


def test_a_pattern_is_taken_apart() -> None:
    """What indexes are built from."""
    assert parse_spiffe_pattern("spiffe://td/ns/*/**") == SpiffePattern(
        "spiffe://td/ns/*/**", "td", ("ns", "*"), rest=True
    )


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("", 0, "begins with `spiffe://`", "spiffe://<trust domain>"),
        ("shop.example/ns/**", 0, "begins with `spiffe://`", "spiffe://<trust domain>"),
        ("spiffe://*/ns/**", 9, "a trust domain stands literally", "one pattern for each"),
        ("spiffe://a.*.b/ns", 11, "a trust domain stands literally", "one pattern for each"),
        ("spiffe://Shop/ns", 9, "not a trust domain", "lower-case"),
        ("spiffe://shop:443/ns", 13, "not a trust domain", "no port"),
        ("spiffe:///ns", 9, "not a trust domain", "lower-case"),
        ("spiffe://td", 11, "no workload has the ID of a whole trust domain", "`spiffe://td/**`"),
        ("spiffe://td/", 12, "an empty segment", "leave out the last slash"),
        ("spiffe://td//a", 12, "an empty segment", "leave out one slash"),
        ("spiffe://td/a/", 14, "an empty segment", "`/**`"),
        ("spiffe://td/**/a", 12, "`**` can only be the last", "`*` for exactly one"),
        ("spiffe://td/ns/web-*", 19, "a whole segment", "`*` alone"),
        ("spiffe://td/***", 12, "a whole segment", "`*` alone"),
        ("spiffe://td/a/../b", 14, "cannot be `..`", "without it"),
        ("spiffe://td/a b", 13, "a character that no SPIFFE ID has", "letters"),
        ("spiffe://td/%61", 12, "a character that no SPIFFE ID has", "percent-encoded"),
        ("spiffe://td/a\n", 13, "a character that no SPIFFE ID has", "letters"),
        ("spiffe://td/" + "a" * 2048, 0, "longer than 2048", "that long"),
    ],
)
def test_a_bad_pattern_says_what_where_and_what_to_write(text: str, offset: int, message: str, hint: str) -> None:
    """Errors of policies are for people."""
    with pytest.raises(InvalidSpiffePattern) as invalid:
        parse_spiffe_pattern(text)
    assert invalid.value.offset == offset
    assert message in str(invalid.value)
    assert hint in invalid.value.hint
