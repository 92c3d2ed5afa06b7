"""Where things stand in a file."""

import pytest

from authz_server.documents.load import parse
from authz_server.documents.tree import Document, FieldPath


def document_of(text: str, file: str = "policy.yaml") -> Document:
    """A document without problems."""
    document, problems = parse(text, file)
    assert problems == []
    assert document is not None
    return document


TEXT = """\
name: orders
hosts: ["a.example", b.example]
rules:
  - id: first
    to:
      - methods: [GET]
  - id: second
description: |
  one
  two
"""


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ((), False, (1, 1, 4)),
        (("name",), False, (1, 7, 6)),
        (("name",), True, (1, 1, 4)),
        (("hosts",), False, (2, 8, 24)),
        (("hosts", 0), False, (2, 9, 11)),
        (("hosts", 1), False, (2, 22, 9)),
        (("rules",), False, (4, 5, 2)),
        (("rules", 1), False, (7, 5, 2)),
        (("rules", 0, "to", 0, "methods", 0), False, (6, 19, 3)),
        (("rules", 0, "nothing", "here"), False, (4, 5, 2)),
        (("description",), False, (8, 14, 1)),
    ],
)
def test_every_value_and_name_of_a_field_has_its_place(
    path: FieldPath, key: bool, expected: tuple[int, int, int]
) -> None:
    """Line, column and length; of a block its first field, of what is not there the last thing on the way to it."""
    place = document_of(TEXT).position(path, key=key)
    assert (place.line, place.column, place.length) == expected


@pytest.mark.parametrize(
    "text",
    [
        "when: request.method == WRONG && b",
        "when: request.method ==\n    WRONG && b",
        "when:   request.method\n\n     == WRONG",
        "when: 'a == ''x'' && WRONG'",
        "when: 'a ==\n  ''x''\n\n  && WRONG'",
        'when: "a == \\"x\\" && \\u0061 == \\x61 && WRONG"',
        'when: "a == \\\n  b &&\\\n  WRONG"',
        'when: "a == \\"x\\"\n   && WRONG"',
        "when: |\n  a\n    && b\n\n  && WRONG\n",
        "when: |2-\n   a\n   && WRONG\n",
        "when: >-\n  a ==\n  'b'\n\n  && WRONG\n",
        "when: > # a comment\n  a\n    && b\n  && WRONG",
        "{when: a && WRONG}",
        "when: 'é 🙂 == x && WRONG'",
        "when: |\r\n  a\r\n  && WRONG\r\n",
    ],
)
def test_a_part_of_a_text_is_underlined_where_it_stands_in_the_file(text: str) -> None:
    """Whatever the style of the scalar, the word WRONG of its value is underlined, and no more."""
    document = document_of(text)
    offset = document.root.value["when"].index("WRONG")
    problem = document.problem_within(("when",), "code", "message", offset=offset, length=len("WRONG"))
    place = problem.position
    assert problem.source_line[place.column - 1 :][: place.length] == "WRONG"


def test_an_error_behind_the_end_of_a_text_is_underlined_there() -> None:
    """An expression that ends too early is wrong where nothing stands."""
    place = document_of("when: 'a &&'\n").problem_within(("when",), "code", "message", offset=4, length=1).position
    assert (place.line, place.column, place.length) == (1, 12, 1)


def test_a_part_of_several_lines_is_underlined_on_the_first() -> None:
    """An underline never goes beyond its line."""
    document = document_of("when: |\n  abc\n  def\n")
    place = document.problem_within(("when",), "code", "message", offset=1, length=6).position
    assert (place.line, place.column, place.length) == (2, 4, 2)


def test_a_part_of_what_is_no_text_is_all_of_it() -> None:
    """There is nothing to count in a number."""
    place = document_of("a: 12345\n").problem_within(("a",), "code", "message", offset=2, length=1).position
    assert (place.column, place.length) == (4, 5)


def test_a_value_from_elsewhere_keeps_its_own_place() -> None:
    """What replaces a value, or adds one deep down, is complained about under its own name."""
    document = document_of("a: 1\nb: {c: 2}\n")
    document.replace(("b", "c"), document_of("three", "$B_C"))
    document.replace(("d", "e"), document_of("four", "$D_E"))
    assert document.value == {"a": 1, "b": {"c": "three"}, "d": {"e": "four"}}
    assert document.position(("b", "c")).file == "$B_C"
    assert document.position(("d", "e")).file == "$D_E"
    assert document.position(("a",)).file == "policy.yaml"
    assert str(document.problem(("b", "c"), "code", "wrong")) == "$B_C:1:1: wrong\n    1 | three\n      | ^^^^^"


def test_a_text_that_cannot_be_aligned_with_the_file_is_underlined_as_a_whole() -> None:
    """As with an anchor before it, which is refused anyway."""
    document, problems = parse("a: &x 'b c'\n", "policy.yaml")
    assert [problem.code for problem in problems] == ["yaml_anchor"]
    assert document is not None
    place = document.problem_within(("a",), "code", "message", offset=2, length=1).position
    assert (place.column, place.length) == (4, 8)
    assert document.file == "policy.yaml"
