"""Canonical paths in strict mode: one reading, or none."""

import pytest

from authz_server.errors import Reason, Refused
from authz_server.model import Path
from authz_server.request.path import MAX_PATH_BYTES, canonical_path


@pytest.mark.parametrize(
    ("target", "segments", "trailing_slash"),
    [
        ("/", (), True),
        ("/orders", ("orders",), False),
        ("/orders/", ("orders",), True),
        ("/orders/c7-1/items", ("orders", "c7-1", "items"), False),
        ("/a%20b/c", ("a b", "c"), False),
        ("/%7Euser/%C3%A9", ("~user", "é"), False),
        ("/%61dmin", ("admin",), False),
        ("/%F0%9F%98%80", ("😀",), False),
        ("/a%22%3C%3E%5E%60%7B%7C%7D", ('a"<>^`{|}',), False),
        ("/a+b", ("a+b",), False),
        ("/.well-known/x", (".well-known", "x"), False),
        ("/...", ("...",), False),
        ("/.../admin", ("...", "admin"), False),
        ("/admin.", ("admin.",), False),
        ("/admin..", ("admin..",), False),
        ("/..admin/.a/a./b..c", ("..admin", ".a", "a.", "b..c"), False),
        ("/ADMIN", ("ADMIN",), False),
        ("/%20", (" ",), False),
        ("/-._~!$&'()*+,=:@[]", ("-._~!$&'()*+,=:@[]",), False),
    ],
)
def test_a_path_with_one_reading_is_split_and_decoded_once(
    target: str, segments: tuple[str, ...], trailing_slash: bool
) -> None:
    """Segments are decoded once; only a final slash is kept apart."""
    assert canonical_path(target).path == Path(segments, trailing_slash)


@pytest.mark.parametrize(
    ("target", "path_text", "query_text"),
    [
        ("/a", "/a", ""),
        ("/a?", "/a", ""),
        ("/a?b=c&d", "/a", "b=c&d"),
        ("/a?b?c", "/a", "b?c"),
        ("/a?/../admin", "/a", "/../admin"),
        ('/a?%zz;\\"é', "/a", '%zz;\\"é'),
        ("/%41/?x", "/%41/", "x"),
    ],
)
def test_the_query_begins_at_the_first_question_mark(target: str, path_text: str, query_text: str) -> None:
    """The path's text is kept as sent, and the rules for paths do not reach into the query."""
    canonical = canonical_path(target)
    assert (canonical.path_text, canonical.query_text) == (path_text, query_text)


@pytest.mark.parametrize(
    "target",
    [
        *("", "admin", "*", "http://u:p@evil:99/admin", "?a", "a/b", " /a", "\\a"),
        *("//", "//admin", "//admin/dashboard", "/x//admin", "/x//", "/x//?a"),
        *("/.", "/..", "/./", "/../", "/./admin", "/../admin", "/public/../admin", "/public/.", "/public/.."),
        *("/public/./admin", "/public/..?x", "/../..", "/a/../", "/a/./"),
        *("/%2e", "/%2E", "/public/%2e%2e/admin", "/public/%2E./admin", "/a%2Etxt", "/.%2e/admin"),
        *("/..;/admin", "/.;/admin", "/public/..;x=1/admin", "/admin;a=b", "/admin;/x", "/;", "/admin;a=b/x"),
        *("/public\\..\\admin", "\\..\\", "/a\\b"),
        *("/a#frag", "/#", "/a?b#c", "/a?#"),
        *("/a b", "/a\t", "/a\x00", "/a\x1f", "/a\x7f", "/a\n", "/a\r\n", "/a\x80", "/é", "/a\u2028", "/\udcff"),
        *('/"', "/<", "/>", "/^", "/{", "/|", "/}", "/`"),
        *("/a%", "/a%2", "/a%zz", "/a%2g", "/%", "/%%41", "/%4", "/%\u0664\u0661"),
        *("/public/..%2fadmin", "/a%2Fb", "/a%5cb", "/a%5C", "/%252e%252e/admin", "/a%25", "/a%3b", "/a%3B", "/a%3f"),
        *("/a%3F", "/a%23", "/admin%00", "/a%0a", "/a%0D", "/a%1f", "/a%7f", "/a%7F", "/a%C2%80", "/a%C2%9F"),
        *("/%c0%ae%c0%ae/admin", "/%ff", "/%C3", "/%ED%A0%80", "/%F5%80%80%80", "/%e0%80%af", "/%80"),
        *("/a?b c", "/a?b\r\nx: y", "/a?\x00", "/a?\x7f"),
    ],
)
def test_a_path_with_several_readings_is_refused(target: str) -> None:
    """Whatever two servers could read differently is no path at all."""
    with pytest.raises(Refused) as refused:
        canonical_path(target)
    assert refused.value.reason is Reason.AMBIGUOUS_PATH


def test_a_path_has_a_bounded_length() -> None:
    """The work of everything that walks a path is bounded; a query may be longer."""
    longest = "/" + "a" * (MAX_PATH_BYTES - 1)
    assert canonical_path(f"{longest}?{longest}").path_text == longest
    with pytest.raises(Refused):
        canonical_path(longest + "a")


def test_an_empty_path_is_admitted_on_request_only() -> None:
    """CONNECT has an empty path, which is not the path `/`."""
    assert canonical_path("", allow_empty=True).path == Path((), trailing_slash=False)
    with pytest.raises(Refused):
        canonical_path("")
    with pytest.raises(Refused):
        canonical_path("admin", allow_empty=True)


@pytest.mark.parametrize("code", range(256))
def test_each_character_is_either_refused_or_kept(code: int) -> None:
    """No single character is dropped, folded or taken for another one."""
    character = chr(code)
    allowed = set("!$%&'()*+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~?") - set("%?")
    if character in allowed:
        assert canonical_path(f"/a{character}b").path == Path(tuple(f"a{character}b".split("/")), False)
    elif character == "?":
        assert canonical_path("/a?b").path == Path(("a",), False)
    else:
        with pytest.raises(Refused):
            canonical_path(f"/a{character}b")


@pytest.mark.parametrize("code", range(256))
def test_each_escape_is_either_refused_or_decoded(code: int) -> None:
    """Escapes of separators, dots, percent signs, controls and bytes of no character are refused, in either case."""
    refused = code < 0x20 or code > 0x7E or chr(code) in "/\\.%;?#"
    for escape in (f"%{code:02x}", f"%{code:02X}"):
        if refused:
            with pytest.raises(Refused):
                canonical_path(f"/a{escape}b")
        else:
            assert canonical_path(f"/a{escape}b").path == Path((f"a{chr(code)}b",), False)


def test_the_detail_of_a_refusal_repeats_nothing_of_the_client() -> None:
    """Details reach logs, and the client's text does not."""
    for target in ("/secret//x", "/secret/../x", "/secret%zz", "/secret%00", "/secret%ff", "/secret#", "secret"):
        with pytest.raises(Refused) as refused:
            canonical_path(target)
        assert "secret" not in refused.value.detail
