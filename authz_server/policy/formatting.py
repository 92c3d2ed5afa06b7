"""Policy files in one canonical form: the same documents to the loader, and easier to read and compare for people."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel

from authz_server.documents.formatting.comments import attach, comments_of, heading
from authz_server.documents.formatting.entries import Entry, entries_of, mark_groups
from authz_server.documents.formatting.layout import Style, lines_of
from authz_server.documents.problem import Position, Problem
from authz_server.documents.shape import fields, models_at
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.collection import without_collection
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
    with without_collection():
        parsed, plan = _compiled(file)
        content, comments = _formatted(parsed.document, parsed.kind)
        if content != file.content:
            _check_meaning(file, content, (_value(parsed.document), plan, comments))
    return content


def _check_meaning(file: PolicyFile, content: bytes, meaning: tuple[bytes, Plan, Counter[str]]) -> None:
    try:
        again, plan = _compiled(replace(file, content=content))
    except Unformattable:
        raise _changed(file, "could not be read again") from None
    value, expected, comments = meaning
    if _value(again.document) != value or plan != expected:
        raise _changed(file, "would not mean the same")
    found = comments_of(entries_of(again.document), again.document.root.source)
    if Counter(comment.text for comment in found) != comments:
        raise _changed(file, "would lose a comment")


def rewritten(document: Document, kind: str, change: Callable[[Entry], None]) -> bytes:
    """The canonical form of a document whose entries were changed, with the comments of those that are left."""
    root, _ = _commented(document)
    above = heading(root)
    change(root)
    return _text(root, above, kind)


def _formatted(document: Document, kind: str) -> tuple[bytes, Counter[str]]:
    """The canonical form, and the comments that are to be in it."""
    root, comments = _commented(document)
    return _text(root, heading(root), kind), comments


def _commented(document: Document) -> tuple[Entry, Counter[str]]:
    """The entries with their comments, and all of these."""
    source = document.root.source
    root = entries_of(document)
    comments = comments_of(root, source)
    mark_groups(root, source)
    attach(root, comments, source)
    return root, Counter(comment.text for comment in comments)


def _text(root: Entry, heading: Sequence[str], kind: str) -> bytes:
    return ("\n".join(lines_of(root, heading, _style(kind))).strip("\n") + "\n").encode()


def _compiled(file: PolicyFile) -> tuple[ParsedFile, Plan]:
    """The file, and what it makes without the places of its rules."""
    parsed, problems = parse_policy(file)
    if parsed is None or problems:
        raise Unformattable(problems)
    # Roles and rules of other files are not known here.
    plan, problems = compile_policies([parsed], "", complete=False)
    if problems:
        raise Unformattable(sorted(problems, key=lambda problem: (problem.position, problem.message)))
    return parsed, _without_places(plan)


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


def _without_places(plan: Plan) -> Plan:
    services = [
        replace(service, rules=tuple(replace(rule, location="") for rule in service.rules)) for service in plan.services
    ]
    return replace(plan, services=tuple(services))


def _changed(file: PolicyFile, what: str) -> Unformattable:
    message = f"the formatted file {what}, so this one stays as it is"
    return Unformattable([Problem(Position(file.shown, 1, 1), "not_formattable", message)])
