"""SPIFFE IDs and patterns: nothing fits by a part of its text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.identity.spiffe import (
    InvalidSpiffeId,
    InvalidSpiffePattern,
    SpiffePattern,
    parse_spiffe_id,
    parse_spiffe_pattern,
)

trust_domains = st.text(st.sampled_from("ab.-_0"), min_size=1, max_size=6)
segments = st.text(st.sampled_from("aZ.-_0"), min_size=1, max_size=4).filter(lambda text: text not in (".", ".."))
paths = st.lists(segments, min_size=1, max_size=5)
pieces = st.sampled_from(
    ["spiffe://", "spiffe:", "/", "//", "a", "A", ".", "..", "*", "**", "%61", "?", "#", "@", ":", "\n"]
)
texts = st.text() | st.lists(pieces).map("".join) | st.lists(pieces).map(lambda some: "spiffe://td" + "".join(some))


def spiffe_id(trust_domain: str, path: list[str]) -> str:
    """The text of an ID."""
    return "/".join([f"spiffe://{trust_domain}", *path])


def as_regular_expression(pattern: str) -> re.Pattern[str]:
    """What a pattern means, said in another way."""
    escaped = re.escape(pattern).replace(r"/\*\*", "(/[^/]+)+").replace(r"\*", "[^/]+")
    return re.compile(escaped)


def read_pattern(text: str) -> SpiffePattern | InvalidSpiffePattern:
    """The pattern, or why there is none."""
    try:
        return parse_spiffe_pattern(text)
    except InvalidSpiffePattern as error:
        return error


@given(texts)
def test_a_text_is_refused_or_is_the_id_that_it_says(text: str) -> None:
    """ID-06: an ID is exactly its parts, and putting them together gives the text."""
    try:
        identity = parse_spiffe_id(text)
    except InvalidSpiffeId:
        return
    assert spiffe_id(identity.trust_domain, list(identity.segments)) == identity.text == text
    assert re.fullmatch("[a-z0-9._-]+", identity.trust_domain)
    assert all(re.fullmatch("[A-Za-z0-9._-]+", segment) for segment in identity.segments)


@given(trust_domains, paths)
def test_every_id_of_the_grammar_is_read(trust_domain: str, path: list[str]) -> None:
    """ID-06: the strict grammar refuses no proper ID, and an ID is a pattern of itself."""
    identity = parse_spiffe_id(spiffe_id(trust_domain, path))
    assert (identity.trust_domain, identity.segments) == (trust_domain, tuple(path))
    assert parse_spiffe_pattern(identity.text).matches(identity)


@given(texts)
def test_a_bad_pattern_is_explained_within_its_text(text: str) -> None:
    """Errors say where, and what to write."""
    pattern = read_pattern(text)
    if isinstance(pattern, InvalidSpiffePattern):
        assert 0 <= pattern.offset <= len(text)
        assert str(pattern)
        assert pattern.hint
    else:
        assert pattern.text == text


@given(trust_domains, trust_domains, st.lists(segments | st.just("*"), min_size=1, max_size=4), st.booleans(), paths)
def test_a_pattern_fits_whole_segments_only(
    trust_domain: str, other: str, pattern_path: list[str], rest: bool, path: list[str]
) -> None:
    """ID-07: the same as a regular expression in which `*` is one segment and `/**` one or more."""
    text = spiffe_id(trust_domain, pattern_path + ["**"] * rest)
    pattern = parse_spiffe_pattern(text)
    candidates = [spiffe_id(domain, some) for domain in (trust_domain, other) for some in (path, pattern_path + path)]
    for candidate in candidates:
        if "*" not in candidate:
            expected = as_regular_expression(text).fullmatch(candidate) is not None
            assert pattern.matches(parse_spiffe_id(candidate)) is expected


@given(trust_domains, paths, st.sampled_from(["x", "-evil", ".evil", "0"]))
def test_a_longer_name_is_another_name(trust_domain: str, path: list[str], suffix: str) -> None:
    """ID-07: `spiffe://prod` does not cover `spiffe://prod-evil`, nor `/ns/a` `/ns/ab`."""
    everything = parse_spiffe_pattern(f"spiffe://{trust_domain}/**")
    assert not everything.matches(parse_spiffe_id(spiffe_id(trust_domain + suffix, path)))
    below = parse_spiffe_pattern(spiffe_id(trust_domain, [*path, "**"]))
    longer = [*path[:-1], path[-1] + suffix, "x"]
    assert not below.matches(parse_spiffe_id(spiffe_id(trust_domain, longer)))


@pytest.mark.parametrize("code", range(256))
def test_each_character_in_trust_domain_and_path(code: int) -> None:
    """ID-06: all 256 characters in both places, alone, inside and at the end."""
    character = chr(code)
    lower_case = "abcdefghijklmnopqrstuvwxyz0123456789._-"
    for part in (character, f"a{character}b", f"a{character}"):
        in_domain, in_path = f"spiffe://{part}/a", f"spiffe://td/{part}"
        assert accepted(in_domain) is (character in lower_case or (character == "/" and part == "a/b"))
        is_segment = character in lower_case + lower_case.upper() and part != "."
        assert accepted(in_path) is (is_segment or (character == "/" and part == "a/b"))


def accepted(text: str) -> bool:
    """Whether the text is a SPIFFE ID."""
    try:
        parse_spiffe_id(text)
    except InvalidSpiffeId:
        return False
    return True
