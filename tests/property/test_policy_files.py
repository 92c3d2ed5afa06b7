"""Policy files in any order and with any content: one plan, or problems, and never an exception."""

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authz_server.documents.load import parse
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import compile_policies
from authz_server.policy.files import PolicyFile, revision
from authz_server.policy.loader import load_policies
from authz_server.policy.parsing import parse_policy
from authz_server.policy.patterns import PatternError, parse_host_pattern, parse_path_template
from authz_server.policy.plan import Plan

GUARDRAIL = "kind: guardrails\nrules: [{{id: {0}, effect: deny, when: request.host == '{0}'}}]\n"
ROLES = "kind: roles\nroles: {{{0}: [{{users: {{issuer: corp, groups: [{0}]}}}}, {{networks: [10.0.0.0/8]}}]}}\n"
SERVICE = """\
kind: service
name: {0}
hosts: [{1}.example, {0}.example]
rules:
  - {{id: b, effect: allow, from: [{{roles: [top]}}], when: user.claims.a == "{0}"}}
  - {{id: a, effect: deny, to: [{{paths: ["/{{x}}"]}}], when: path.x == "{1}"}}
"""
FILES = {
    "guardrails.yaml": GUARDRAIL.format("one"),
    "more.yaml": GUARDRAIL.format("two"),
    "roles.yaml": ROLES.format("top"),
    "shop/guardrails.yaml": GUARDRAIL.format("one"),
    "shop/roles.yaml": ROLES.format("shop"),
    "shop/orders.yaml": SERVICE.format("orders", "x"),
    "shop/web.yaml": SERVICE.format("web", "y"),
    "web.yaml": SERVICE.format("web", "z").replace("web.example", "other.example"),
}
CONFLICTS = {
    **FILES,
    "roles_again.yaml": ROLES.format("top"),
    "shop/guardrails_again.yaml": GUARDRAIL.format("one"),
    "shop/orders_again.yaml": SERVICE.format("orders", "x"),
    "broken.yaml": "kind: [\n",
}


def compiled(files: dict[str, str], order: list[str]) -> tuple[str, Plan, list[Problem]]:
    """Revision, plan and problems of files that are found in an order."""
    found = []
    for path in order:
        folders = tuple(path.split("/")[:-1])
        found.append(PolicyFile(path, path, folders, files[path].encode(), f"{hash(files[path]):x}"))
    parsed = [parse_policy(file) for file in found]
    documents = [document for document, _ in parsed if document is not None]
    plan, problems = compile_policies(documents, revision(found), complete=len(documents) == len(found))
    problems += [problem for _, several in parsed for problem in several]
    return revision(found), plan, sorted(problems, key=lambda problem: (problem.position, problem.message))


@given(order=st.permutations(sorted(FILES)))
def test_the_order_of_files_never_shows_in_the_plan(order: list[str]) -> None:
    """The same files give the same revision and the same plan, byte for byte."""
    first_revision, first_plan, problems = compiled(FILES, sorted(FILES))
    assert problems == []
    assert compiled(FILES, order) == (first_revision, first_plan, [])


@given(order=st.permutations(sorted(CONFLICTS)))
def test_the_order_of_files_never_shows_in_the_problems(order: list[str]) -> None:
    """The same file is complained about, whichever was found first."""
    _, _, problems = compiled(CONFLICTS, sorted(CONFLICTS))
    assert len({problem.position.file for problem in problems}) == 4
    assert compiled(CONFLICTS, order)[2] == problems


@given(
    rules=st.permutations(["{id: a, effect: deny}", "{id: b, effect: deny}", "{id: c, effect: allow, from: anyone}"])
)
def test_the_order_of_rules_shows_only_in_their_places(rules: list[str]) -> None:
    """Rules are sorted by id."""
    text = "kind: service\nname: web\nhosts: [web.example]\nrules:\n" + "".join(f"  - {rule}\n" for rule in rules)
    _, plan, problems = compiled({"web.yaml": text}, ["web.yaml"])
    assert problems == []
    assert [(rule.id, rule.effect) for rule in plan.services[0].rules] == [
        ("web/a", "deny"),
        ("web/b", "deny"),
        ("web/c", "allow"),
    ]


YAML_TEXT = st.lists(
    st.sampled_from(
        [*"\n\n  -:{}[],'\"|>&*!#%@`?=~.0123456789\t", "\n  ", "\n- ", ": ", "a", "no", "<<", "\\", "é", "🙂", "---"]
    )
    | st.text(max_size=2)
).map("".join)
KINDS = st.sampled_from(["", "kind: service\n", "kind: roles\n", "kind: guardrails\n", "kind: service\nrules:\n  - "])


@settings(max_examples=500)
@given(
    content=st.builds(lambda kind, text: (kind + text).encode(errors="surrogatepass"), KINDS, YAML_TEXT) | st.binary()
)
@example(content=b"kind: service\nrules: [[{}]]")
@example(content=b"---")
@example(content=b"? |\n  a\n: b")
def test_any_content_is_a_document_or_problems_with_places_in_it(content: bytes) -> None:
    """No exception; and each problem underlines something that is there, or the place right behind it."""
    document, problems = parse_policy(PolicyFile("a.yaml", "a.yaml", (), content, ""))
    assert document is not None or problems
    lines = content.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in problems:
        place = problem.position
        assert 1 <= place.line <= len(lines)
        assert 1 <= place.column <= len(lines[place.line - 1]) + 1
        assert place.length == 1 or place.column - 1 + place.length <= len(lines[place.line - 1])
        assert str(problem)


@pytest.mark.parametrize("style", ["plain", "single", "double", "literal", "folded"])
@given(
    words=st.lists(st.text(string.ascii_letters + "&=<'\"\\(é🙂", min_size=1, max_size=5), min_size=1, max_size=6),
    data=st.data(),
)
def test_a_word_of_a_text_is_found_where_it_stands(style: str, words: list[str], data: st.DataObject) -> None:
    """Whatever the style, quotes, escapes and line breaks."""
    breaks = [data.draw(st.sampled_from([" ", "\n   ", "\n\n   "])) for _ in words]
    body = "".join(word + between for word, between in zip(words, breaks, strict=True)).rstrip()
    # A text of which all is meant is underlined with its quotes: there is always more than one character.
    body = f"xx{body}"
    written = {
        "plain": body,
        "single": "'" + body.replace("'", "''") + "'",
        "double": '"' + body.replace("\\", "\\\\").replace('"', '\\"').replace("é", "\\u00e9") + '"',
        "literal": "|\n   " + body,
        "folded": ">\n   " + body,
    }[style]
    document, problems = parse(f"when: {written}\n", "a.yaml")
    assert problems == []
    assert document is not None
    value = document.root.value["when"]
    index = data.draw(st.integers(0, len(value.rstrip()) - 1).filter(lambda at: not value[at].isspace()))
    problem = document.problem_within(("when",), "code", "message", offset=index, length=1)
    shown = problem.source_line[problem.position.column - 1 :]
    character = value[index]
    assert shown.startswith((character, "\\u00e9") if character == "é" else (character, "\\" + character))


@given(text=st.text("/ab{}:*.%?;\\ é\x00intudrs", max_size=20) | st.text())
def test_any_text_is_a_path_template_or_wrong_at_a_place_in_it(text: str) -> None:
    """A template that is accepted is taken apart the same way again, and the place of an error is in the text."""
    try:
        template = parse_path_template(text)
    except PatternError as refusal:
        error = refusal
    else:
        assert template.text == text
        assert parse_path_template(text) == template
        return
    assert 0 <= error.offset <= len(text)
    assert error.length is None or error.offset + error.length <= max(len(text), 1)


@given(text=st.text("ab.*:[]01é ", max_size=12) | st.text())
def test_any_text_is_a_host_pattern_or_refused(text: str) -> None:
    """A pattern fits the hosts that it names."""
    try:
        pattern = parse_host_pattern(text)
    except PatternError:
        return
    host = pattern.name.replace("*.", "a.").replace("*", "a")
    assert pattern.matches(host, pattern.port)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(content=st.binary(max_size=50))
def test_any_directory_is_loaded_or_explained(content: bytes, tmp_path: Path) -> None:
    """Through the file system as well."""
    (tmp_path / "a.yaml").write_bytes(content)
    loaded = load_policies(tmp_path)
    assert (loaded.plan is None) == bool(loaded.problems)


def test_nothing_is_parsed_as_a_document_that_is_not_one() -> None:
    """A document of nothing but a scalar has no fields."""
    document, problems = parse("just a text", "a.yaml")
    assert problems == []
    assert document is not None
    assert document.value == "just a text"
