"""Canonical paths: whatever comes in, what is accepted has one reading."""

import posixpath
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.errors import Reason, Refused
from authz_server.model import Path
from authz_server.request.path import canonical_path
from authz_server.request.query import UnreadableQuery, parse_query

PIECES = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2F",
    "%5c",
    "%",
    "%25",
    "%41",
    "%C3%A9",
    "%00",
    ";",
    "\\",
    "?",
    "#",
    "a",
    "é",
    " ",
]
targets = st.text() | st.lists(st.sampled_from(PIECES)).map(lambda pieces: "/" + "".join(pieces))

SAFE = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\.%;?#")
queries = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=9)
segments = st.text(SAFE, min_size=1).map(lambda text: text + "x")

# Anything of this kind, anywhere in a path, is read differently by some server.
DANGEROUS = [
    "//",
    "/./",
    "/../",
    ";",
    "\\",
    "#",
    "%2f",
    "%5C",
    "%2e",
    "%25",
    "%3b",
    "%3F",
    "%23",
    "%00",
    "%0a",
    "%",
    " ",
]


def rebuilt(path: Path) -> str:
    """The target that a canonical path stands for."""
    text = "".join(f"/{quote(segment, safe='')}" for segment in path.segments)
    return text + "/" if path.trailing_slash else text


def read(target: str) -> Path | Reason:
    """The canonical path, or why there is none."""
    try:
        return canonical_path(target).path
    except Refused as refused:
        return refused.reason


@given(targets)
@example("/a/%2e%2e/b")
def test_no_segment_of_a_canonical_path_can_be_read_twice(target: str) -> None:
    """A path is refused, or its segments are whole, decoded and mean the same to everybody."""
    path = read(target)
    if isinstance(path, Reason):
        assert path is Reason.AMBIGUOUS_PATH
        return
    for segment in path.segments:
        assert segment not in ("", ".", "..")
        assert not set(segment) & set("/\\%;?#\0")


@given(targets)
def test_what_is_accepted_stays_the_same_when_read_again(target: str) -> None:
    """Encoding a canonical path and reading it once more changes nothing."""
    path = read(target)
    assert isinstance(path, Reason) or read(rebuilt(path)) == path


@given(targets)
def test_a_server_that_decodes_and_normalises_reads_the_same(target: str) -> None:
    """Decoding once or twice, resolving dots and merging slashes give the segments that were decided about."""
    try:
        canonical = canonical_path(target)
    except Refused:
        return
    once = unquote(canonical.path_text, errors="strict")
    for reading in (once, unquote(once, errors="strict"), re.sub("//+", "/", once), posixpath.normpath(once)):
        assert tuple(part for part in reading.split("/") if part) == canonical.path.segments


@given(st.lists(segments), st.booleans(), queries)
def test_escaped_segments_come_back_as_they_were(parts: list[str], trailing_slash: bool, query: str) -> None:
    """Every text of harmless characters can be a segment."""
    path = Path(tuple(parts), trailing_slash or not parts)
    canonical = canonical_path(f"{rebuilt(path)}?{query}")
    assert canonical.path == path
    assert canonical.query_text == query


@given(st.lists(segments), st.data())
def test_a_dangerous_piece_anywhere_is_refused(parts: list[str], data: st.DataObject) -> None:
    """PATH-04: there is no place in a path where an ambiguous piece goes unseen."""
    text = rebuilt(Path(tuple(parts), trailing_slash=True))
    places = [match.start() for match in re.finditer("/", text)]
    place = data.draw(st.sampled_from(places))
    piece = data.draw(st.sampled_from(DANGEROUS))
    with pytest.raises(Refused):
        canonical_path(f"{text[:place]}/x{piece}{text[place:]}")


@given(st.text())
def test_a_query_is_read_or_unreadable(text: str) -> None:
    """PATH-12: no query is an error of ours, and no value is lost."""
    try:
        parameters = parse_query(text)
    except UnreadableQuery:
        return
    assert sum(map(len, parameters.values())) == sum(1 for parameter in text.split("&") if parameter)
