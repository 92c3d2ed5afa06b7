"""Policy files in one canonical form: the same documents to the loader, and easier to read and compare for people."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgspec
from pydantic import BaseModel

from authz_server.documents.formatting.comments import attach, comments_of, heading
from authz_server.documents.formatting.entries import entries_of, mark_groups
from authz_server.documents.formatting.layout import Style, lines_of
from authz_server.documents.problem import Position, Problem
from authz_server.documents.shape import fields, models_at
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler import compile_policies
from authz_server.policy.files import PolicyFile
from authz_server.policy.parsing import ParsedFile, parse_policy
from authz_server.policy.plan import Plan
from authz_server.policy.schema import KINDS

_LISTS = frozenset({"rules", "tests"})
"""Fields of documents whose items are set apart."""
_TABLES = frozenset({"roles", "workloads", "users", "matrix"})
_SET_APART = frozenset({"rules", "roles", "workloads", "tests", "matrix"})
_TABLES_OF_MATRICES = (("matrix", "requests"), ("matrix", "allow"))
_PATTERNS = frozenset({"paths", "workloads", "networks"})


class Unformattable(Exception):
    """The file stays as it is, because of these problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("the file cannot be formatted")
        self.problems = problems


def format_policy(file: PolicyFile) -> bytes:
    """The file in its canonical form, with all comments.

    Raises Unformattable for a file with errors, and for one that would not mean the same.
    """
    parsed = _checked(file)
    content = _formatted(parsed.document, parsed.kind).encode()
    after = msgspec.structs.replace(file, content=content)
    try:
        again = _checked(after)
    except Unformattable:
        raise _changed(file, "could not be read again") from None
    if _value(parsed.document) != _value(again.document) or _plan(parsed) != _plan(again):
        raise _changed(file, "would not mean the same")
    if _comment_texts(parsed.document) != _comment_texts(again.document):
        raise _changed(file, "would lose a comment")
    return content


def _formatted(document: Document, kind: str) -> str:
    source = document.root.source
    root = entries_of(document)
    mark_groups(root, source)
    attach(root, comments_of(root, source), source)
    return "\n".join(lines_of(root, heading(root), _style(kind))).strip("\n") + "\n"


def _checked(file: PolicyFile) -> ParsedFile:
    parsed, problems = parse_policy(file)
    if parsed is not None and not problems:
        # Roles and rules of other files are not known here.
        problems = compile_policies([parsed], "", complete=False)[1]
    if parsed is None or problems:
        raise Unformattable(sorted(problems, key=lambda problem: (problem.position, problem.message)))
    return parsed


@cache
def _style(kind: str) -> Style:
    model = KINDS[kind]

    def order(path: FieldPath) -> tuple[str, ...]:
        return _order(model, tuple(path))

    return Style(order, always_block=_always_block, set_apart=_set_apart, quoted_items=_PATTERNS)


@cache
def _order(model: type[BaseModel], path: FieldPath) -> tuple[str, ...]:
    return tuple(name for each in models_at(model, path) for name in fields(each))


def _always_block(path: FieldPath) -> bool:
    """Tables, rules and tests, whatever fits on a line; and lists of conditions, which then need no quotes."""
    if len(path) <= 1:
        return not path or path[0] in _LISTS | _TABLES
    return (len(path) == 2 and path[0] in _LISTS) or path in _TABLES_OF_MATRICES or path[-1] == "when"


def _set_apart(path: FieldPath) -> bool:
    return (len(path) == 2 and path[0] in _LISTS) or (len(path) == 1 and path[0] in _SET_APART)


def _value(document: Document) -> bytes:
    """In bytes, where 1, 1.0 and true are not the same."""
    return msgspec.json.encode(document.value, order="sorted")


def _plan(parsed: ParsedFile) -> Plan:
    """What the file makes, without the places of its rules."""
    plan, _ = compile_policies([parsed], "", complete=False)
    services = [
        msgspec.structs.replace(
            service, rules=tuple(msgspec.structs.replace(rule, location="") for rule in service.rules)
        )
        for service in plan.services
    ]
    return msgspec.structs.replace(plan, services=tuple(services))


def _comment_texts(document: Document) -> Counter[str]:
    found = comments_of(entries_of(document), document.root.source)
    return Counter(comment.text for comment in found)


def _changed(file: PolicyFile, what: str) -> Unformattable:
    message = f"the formatted file {what}, so this one stays as it is"
    return Unformattable([Problem(Position(file.shown, 1, 1), "not_formattable", message)])
