"""Policy files in their canonical form."""

from pathlib import Path
from textwrap import dedent

import pytest

from authz_server.documents.formatting import layout
from authz_server.policy import formatting
from authz_server.policy.files import policy_file, read_directory
from authz_server.policy.formatting import Unformattable, format_policy

EXAMPLES = Path(__file__).with_name("formatting")
POLICIES = Path(__file__).parents[3] / "policies"
HEAD = "kind: guardrails\n\nrules:\n  - id: a\n"
EFFECT = "    effect: deny\n"
RULE = f"{HEAD}{EFFECT}    "


def formatted(text: str, name: str = "a.yaml") -> str:
    """The canonical form of a text."""
    return format_policy(policy_file(Path(), name, dedent(text).encode())).decode()


def rule_with(field: str) -> str:
    """How a field of a rule is written."""
    return formatted(RULE + field).removeprefix(HEAD).replace(EFFECT, "").strip()


def test_everything_at_once() -> None:
    """Order of fields, indentation, quotes, brackets, empty lines, and comments wherever they may stand."""
    assert formatted((EXAMPLES / "before.yaml").read_text()) == (EXAMPLES / "after.yaml").read_text()


def test_the_policies_that_come_with_the_product_are_formatted() -> None:
    """`authz policy fmt policies` does it."""
    files, _ = read_directory(POLICIES)
    assert [file.path for file in files if format_policy(file) != file.content] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("description: 'plain'", "description: plain"),
        ('description: "a: b"', 'description: "a: b"'),
        ("""description: 'say "a: b"'""", """description: 'say "a: b"'"""),
        (r'description: "tab\there"', r'description: "tab\there"'),
        ("description: 'no'", 'description: "no"'),
        ("description: '1.10'", 'description: "1.10"'),
        ("to: [{paths: [/a, '/b/{c}']}]", 'to: [{paths: ["/a", "/b/{c}"]}]'),
        ("from: [{networks: [10.0.0.0/8]}]", 'from: [{networks: ["10.0.0.0/8"]}]'),
        ("when: 'has_user'", "when: has_user"),
        ("when: '!has_user'", 'when: "!has_user"'),
        ("when: [has_user, '!has_workload']", 'when:\n      - has_user\n      - "!has_workload"'),
        ("description: |+\n      a\n\n", 'description: "a\\n\\n"'),
        ("description: >-\n         a\n         b", "description: >-\n      a\n      b"),
    ],
)
def test_a_value_has_one_way_to_be_written(before: str, after: str) -> None:
    """Plain where every reader of YAML agrees, else in quotes; lines that the author broke stay broken."""
    assert rule_with(before) == after


def test_what_does_not_fit_on_a_line_gets_several() -> None:
    """A list or mapping is broken at its outermost brackets first."""
    paths = ", ".join(f'"/{"x" * 20}/{number}"' for number in range(3))
    assert rule_with(f"to: [{{methods: [GET], paths: [{paths}]}}]") == (
        f"to:\n      - methods: [GET]\n        paths: [{paths}]"
    )
    assert max(map(len, rule_with(f"to: [{{methods: [GET], paths: [{paths}]}}]").splitlines())) <= layout.WIDTH


def test_a_comment_about_the_first_field_moves_with_it() -> None:
    """One for an editor, or set apart by an empty line, stays on top."""
    text = """\
        # yaml-language-server: $schema=x
        # the name
        name: a
        kind: service
        hosts: [a.example]
        rules: []
    """
    assert formatted(text).splitlines()[:4] == [
        "# yaml-language-server: $schema=x",
        "kind: service",
        "# the name",
        "name: a",
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("kind: servce", "unknown_kind"),
        ("kind: [", "yaml_syntax"),
        (RULE + "efect: deny", "unknown_field"),
        (RULE + "when: request.methd == 'GET'", "invalid_condition"),
    ],
)
def test_a_file_with_errors_is_left_alone(text: str, code: str) -> None:
    """Errors of conditions included."""
    with pytest.raises(Unformattable) as refused:
        formatted(text)
    assert [problem.code for problem in refused.value.problems] == [code]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([RULE + "mode: audit"], "would not mean the same"),
        (["kind: guardrails", "rules: ["], "could not be read again"),
        ([RULE], "would lose a comment"),
    ],
)
def test_a_form_that_says_something_else_is_never_taken(
    lines: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the layout does wrong: the file stays, with an error."""
    monkeypatch.setattr(formatting, "lines_of", lambda *_: lines)
    with pytest.raises(Unformattable) as refused:
        formatted(RULE + "# a comment")
    [problem] = refused.value.problems
    assert problem.code == "not_formattable"
    assert message in problem.message
