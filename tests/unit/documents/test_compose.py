"""YAML as plain values, and what of YAML is refused; the wording is asserted with the errors of policies."""

import pytest

from authz_server.documents.compose import MAX_DEPTH, MAX_VALUES
from authz_server.documents.load import parse
from authz_server.documents.source import MAX_PROBLEMS


def value_of(text: str) -> object:
    """The value of a document without problems."""
    document, problems = parse(text, "policy.yaml")
    assert problems == []
    assert document is not None
    return document.value


def codes_of(text: str) -> list[tuple[str, int, int, int]]:
    """Code, line, column and length of each problem."""
    _, problems = parse(text, "policy.yaml")
    return [(one.code, one.position.line, one.position.column, one.position.length) for one in problems]


def test_mappings_lists_and_scalars_become_plain_values() -> None:
    """Block and flow styles, all styles of scalars, comments and an explicit beginning and end of the document."""
    text = """\
---
# a comment
a: 1
"b": [x, 'it''s', "\\ttab", {c: 1.5, d: true}]
e:
  - f
  - >-
    folded
    text
  - |
    literal
    text
...
"""
    assert value_of(text) == {
        "a": 1,
        "b": ["x", "it's", "\ttab", {"c": 1.5, "d": True}],
        "e": ["f", "folded text", "literal\ntext\n"],
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n# nothing\n...\n"])
def test_an_empty_document_is_an_empty_mapping(text: str) -> None:
    """A file in which everything is commented out says nothing, as an absent one."""
    assert value_of(text) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\n", [("yaml_anchor", 1, 4, 4)]),
        ("a: *x\n", [("yaml_alias", 1, 4, 2)]),
        ("a: !!str 1\n", [("yaml_tag", 1, 4, 7)]),
        ("a: ! 1\n", [("yaml_tag", 1, 4, 3)]),
        ("<<: {a: 1}\n", [("yaml_merge_key", 1, 1, 2)]),
        ('"<<": 1\n', []),
        ("a: 1\nb: 2\na: 3\n", [("duplicate_field", 3, 1, 1)]),
        ("{a: 1, 'a': 2}\n", [("duplicate_field", 1, 8, 3)]),
        ("a: 1\n---\nb: 2\n", [("several_documents", 2, 1, 3)]),
        ("%YAML 1.2\n---\na: 1\n", [("yaml_directive", 1, 1, 9)]),
        ("[a]: 1\n", [("yaml_key", 1, 1, 1)]),
        ("true: 1\n", [("yaml_key", 1, 1, 4)]),
        ("on: 1\n", [("yaml_key", 1, 1, 2)]),
        ("a: no\n", [("ambiguous_value", 1, 4, 2)]),
        ("a:\n", [("empty_value", 1, 1, 1)]),
        ("- \n", [("empty_value", 1, 2, 1)]),
        ('a: "x\\0"\n', [("forbidden_character", 1, 4, 5)]),
        ("a: [1\n", [("yaml_syntax", 1, 4, 1)]),
    ],
)
def test_what_makes_yaml_a_trap_is_refused_where_it_stands(
    text: str, expected: list[tuple[str, int, int, int]]
) -> None:
    """Each has a code of its own, and the place that is to be underlined."""
    assert codes_of(text) == expected


def test_nesting_is_bounded() -> None:
    """A document can be as deep as the bound, and no deeper; a million brackets cost nothing."""
    assert value_of("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert codes_of("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [("too_deep", 1, MAX_DEPTH + 1, 1)]
    assert codes_of("[" * 1_000_000)[-1][0] == "too_deep"


def test_problems_are_bounded() -> None:
    """A file of nothing but mistakes has a hundred problems."""
    assert len(codes_of("- no\n" * 10_000)) == MAX_PROBLEMS


def test_of_a_field_that_is_given_twice_the_first_counts() -> None:
    """The rest of the file is checked as if the second were not there."""
    document, problems = parse("a: {b: 1}\na: {b: 2, c: 3}\n", "policy.yaml")
    assert len(problems) == 1
    assert document is not None
    assert document.value == {"a": {"b": 1}}


def test_the_number_of_values_is_bounded() -> None:
    """Each of them may be wrong, and saying so takes longer than reading it."""
    assert codes_of("[" + "a," * (MAX_VALUES - 1) + "]") == []
    assert codes_of("[" + "a," * MAX_VALUES + "]") == [("file_too_big", 1, 2 * MAX_VALUES, 1)]
