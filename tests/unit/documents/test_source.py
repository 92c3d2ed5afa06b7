"""Text of files: what must not stand anywhere in it."""

import pytest

from authz_server.documents.source import MAX_BYTES, MAX_PROBLEMS, Source, decode


def refusal(content: bytes) -> str:
    """The one problem of a content, as it is shown."""
    source, problems = decode(content, "policy.yaml")
    assert source is None
    (problem,) = problems
    return str(problem)


def test_a_text_is_read_as_utf8() -> None:
    """Text outside ASCII, line breaks and tabs are text."""
    source, problems = decode("a: Zürich\r\n\tb: 東京 🙂\n".encode(), "policy.yaml")
    assert problems == []
    assert source is not None
    assert source.lines == ["a: Zürich", "\tb: 東京 🙂", ""]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (
            "a: 1\nb\u202e: 2\n".encode(),
            "policy.yaml:2:2: the character U+202E (right-to-left override) does not show what it is\n"
            "    2 | b\ufffd: 2\n"
            '      |  ^ remove it; where it is meant, write "\\u202E" in double quotes',
        ),
        (
            "id: ord\u200bers".encode(),
            "policy.yaml:1:8: the character U+200B (zero width space) does not show what it is\n"
            "    1 | id: ord\ufffders\n"
            '      |        ^ remove it; where it is meant, write "\\u200B" in double quotes',
        ),
        (
            "\ufeffkind: service".encode(),
            "policy.yaml:1:1: the file begins with a byte order mark\n"
            "    1 | \ufffdkind: service\n"
            "      | ^ save the file as UTF-8 without it",
        ),
        (
            b"a: \0",
            "policy.yaml:1:4: the character U+0000 (control character) does not show what it is\n"
            "    1 | a: \ufffd\n"
            '      |    ^ remove it; where it is meant, write "\\u0000" in double quotes',
        ),
        (
            "a: \U000e0041".encode(),
            "policy.yaml:1:4: the character U+E0041 (tag latin capital letter a) does not show what it is\n"
            "    1 | a: \ufffd\n"
            "      |    ^ remove it",
        ),
        (
            "a: ü\n".encode("latin-1"),
            "policy.yaml:1:4: the byte 0xfc is not UTF-8\n    1 | a: \ufffd\n      |    ^ save the file as UTF-8",
        ),
        (
            "a: 1".encode("utf-16"),
            "policy.yaml:1:1: the file is UTF-16\n    save it as UTF-8 without a byte order mark",
        ),
        (
            b"a" * (MAX_BYTES + 1),
            "policy.yaml:1:1: the file has 1,048,577 bytes; 1,048,576 are the most\n    split it into several files",
        ),
    ],
)
def test_what_cannot_be_seen_or_read_is_refused_where_it_stands(content: bytes, shown: str) -> None:
    """A character that hides or that is no text is shown as a replacement character, with its place."""
    assert refusal(content) == shown


@pytest.mark.parametrize(
    "character", "\x07\x1b\x7f\x85\xad\u061c\u180e\u200d\u200f\u2028\u2029\u202a\u2066\u2069\ufff9"
)
def test_no_character_that_changes_how_a_line_is_shown_gets_through(character: str) -> None:
    """Terminal escapes, bidirectional controls and hidden line breaks are refused, comments included."""
    assert f"U+{ord(character):04X}" in refusal(f"# a{character}b".encode())


def test_a_file_of_nothing_but_forbidden_characters_has_a_bounded_number_of_problems() -> None:
    """Nobody reads more than the first hundred problems of a file."""
    _, problems = decode(b"\0" * 10_000, "policy.yaml")
    assert len(problems) == MAX_PROBLEMS


def test_a_very_long_line_is_not_shown() -> None:
    """A line of hundreds of characters would bury the message."""
    source = Source("policy.yaml", "a" * 1_000)
    assert source.problem(source.position_at(900), "code", "message").source_line == ""


def test_a_message_cannot_change_the_terminal_either() -> None:
    """Names from double quotes, where escapes are allowed, are shown without their control characters."""
    source = Source("policy.yaml", "a")
    assert source.problem(source.position_at(0), "code", "unknown \x1b[2J").message == "unknown \ufffd[2J"
