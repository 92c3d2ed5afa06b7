"""The readings of lenient paths, case by case."""

from time import process_time

import pytest

from authz_server.errors import Refused
from authz_server.request.readings import MAX_BYTES, MAX_READINGS, MAX_SEPARATORS, has_several, lenient_target, readings


def texts(path: str) -> set[str]:
    """The readings as texts; a slash within a segment is a bar."""
    found = readings(lenient_target(path).path_text)
    parts = [(reading.path, [part.replace("/", "|") for part in reading.path.segments]) for reading in found]
    return {"/" + "/".join(segments) + "/" * (path.trailing_slash and bool(segments)) for path, segments in parts}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"/"}),
        ("/a/b", {"/a/b"}),
        ("/a.b/.c/...", {"/a.b/.c/..."}),
        ("/a%20b", {"/a%20b", "/a b"}),
        ("/%61%20b", {"/%61%20b", "/a b", "/a%20b"}),
        ("/a%2Fb", {"/a%2Fb", "/a/b", "/a|b"}),
        ("/a%2fb%20c", {"/a%2fb%20c", "/a/b c", "/a|b c", "/a%2fb c"}),
        ("/a%252Fb", {"/a%252Fb", "/a%2Fb", "/a/b", "/a|b"}),
        ("/100%25", {"/100%25", "/100%"}),
        ("/a\\b", {"/a\\b", "/a/b"}),
        ("/a%5Cb", {"/a%5Cb", "/a\\b", "/a/b"}),
        ("/a//b", {"/a//b", "/a/b"}),
        ("//a/b", {"//a/b", "/a/b", "/b"}),
        ("///a/b", {"///a/b", "/a/b", "/b"}),
        ("/a//../b", {"/a//../b", "/a/b", "/a/../b", "/b"}),
        ("/a/./b", {"/a/./b", "/a/b"}),
        ("/a/b/..", {"/a/b/..", "/a/", "/a"}),
        ("/..", {"/..", "/"}),
        ("/a/%2e%2e/b", {"/a/%2e%2e/b", "/a/../b", "/b"}),
        ("/a/%2E/b%20c", {"/a/%2E/b%20c", "/a/./b c", "/a/./b%20c", "/a/b c", "/a/b%20c"}),
        ("/a;x/b;y", {"/a;x/b;y", "/a/b", "/a;x/b", "/a"}),
        ("/a/..;/b", {"/a/..;/b", "/a/../b", "/b", "/a/..", "/"}),
        ("/a%3Bx", {"/a%3Bx", "/a;x", "/a"}),
        ("/a%3fx/b", {"/a%3fx/b", "/a?x/b", "/a"}),
        ("/a%23x", {"/a%23x", "/a#x", "/a"}),
        ("/%C3%A9", {"/%C3%A9", "/é"}),
    ],
)
def test_a_path_has_these_readings(path: str, expected: set[str]) -> None:
    """All of them, and the path as it was sent is the first."""
    assert texts(path) == expected
    first, *_ = readings(path)
    assert "/".join(("", *first.path.segments)) == path.rstrip("/") or path == "/"
    assert has_several(path) is (len(expected) > 1)


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        *(("", "empty"), ("a", "no slash"), ("*", "no slash"), ("/a#b", "`#`"), ("/a?b#c", "`#`")),
        *(
            ("/a b", "character"),
            ("/a\x7f", "character"),
            ("/é", "character"),
            ("/a|b", "character"),
            ("/<", "character"),
        ),
        *(("/a?b\n", "character"), ("/%", "broken"), ("/%zz", "broken"), ("/a%2", "broken"), ("/%u002f", "broken")),
        *(("/%00", "control"), ("/a%0Ab", "control"), ("/%7f", "control"), ("/%c2%80", "control")),
        *(("/%2500", "control"), ("/%250a", "control"), ("/%25c2%2580", "control"), ("/%25%30%30", "control")),
        *(("/%ff", "UTF-8"), ("/%c0%af", "UTF-8"), ("/%25c0%25af", "UTF-8"), ("/%25ff", "UTF-8")),
        *(("/%25252f", "more than twice"), ("/%2525252e", "more than twice"), ("/%25252541", "more than twice")),
    ],
)
def test_what_no_reading_could_mend_is_refused(target: str, fault: str) -> None:
    """Also what only decoding twice brings to light. The detail says what it is, and nothing of the path."""
    with pytest.raises(Refused) as refused:
        lenient_target(target)
    assert refused.value.reason == "ambiguous_path"
    assert fault in refused.value.detail


def test_the_query_is_no_part_of_the_readings() -> None:
    """It is handed on as it came."""
    target = lenient_target("/a%2Fb?c=%2F..&d=%zz")
    assert (target.path_text, target.query_text) == ("/a%2Fb", "c=%2F..&d=%zz")


@pytest.mark.parametrize(
    "path",
    [
        "/a%2fb%2f..%5c..;//%252e%252e%3f%23",
        "/" + "a;b/" * MAX_SEPARATORS,
        "/" + "a%2Fb" * (MAX_SEPARATORS + 1),
        "/" + "%252f" * (MAX_SEPARATORS + 1),
        "/a;" + "a" * MAX_BYTES,
        "/" + ";" * MAX_BYTES,
        "/" + "%41" * MAX_BYTES,
        "/" + "\\" * MAX_BYTES,
        "/" + "../" * MAX_BYTES,
        "/..;%2f" * 60 + "%5c%252e/%3b%3f%23//a",
    ],
)
def test_work_is_bounded(path: str) -> None:
    """Paths of many readings, or of length, are refused, and soon."""
    begun = process_time()
    for _ in range(10):
        with pytest.raises(Refused):
            readings(path)
    # 1 ms and 1 µs for each 100 bytes, with room for a machine that is busy.
    assert (process_time() - begun) / 10 < 10 * (0.001 + len(path) * 1e-8)


def test_a_long_path_with_one_reading_is_read() -> None:
    """What bounds readings bounds no plain path."""
    assert len(readings("/" + "a/" * 10_000)) == 1
    assert lenient_target("/" + "a" * 65_535)
    assert lenient_target("/a" * 1024)
    for longer in ("/" + "a" * 65_536, "/a" * 1025, "/a" * 1025 + "%2F"):
        with pytest.raises(Refused):
            lenient_target(longer)


def test_honest_paths_have_few_readings() -> None:
    """Far fewer than are allowed, also where everything comes together."""
    path = "/api/v4/projects/group%2Fproject/files/src%2Fmain%20file.c;rev=1/raw"
    assert 1 < len(readings(path)) <= MAX_READINGS / 2


def test_how_a_path_was_read_is_said_without_it() -> None:
    """For operators: the steps, in their order."""
    hows = [reading.how for reading in readings("/secret%2F..%2Fadmin")]
    assert hows[0] == "as sent"
    assert "decoded, dots resolved" in hows
    assert not any("secret" in how or "admin" in how for how in hows)
