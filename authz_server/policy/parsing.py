"""From a policy file to the document that it holds; of one with errors the parts that can be checked further."""

from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from authz_server.documents.load import parse
from authz_server.documents.problem import Problem
from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.documents.tree import Document
from authz_server.documents.validate import validate
from authz_server.policy.files import PolicyFile
from authz_server.policy.schema import KINDS, Guardrail, Guardrails, PolicyDocument, Roles, Rule, Service

M = TypeVar("M", bound=BaseModel)


class ParsedFile(NamedTuple):
    """A document, and where things stand in it.

    Where the file has problems, `model` is the document without its wrong rules or roles, or None, and `rules` has None
    in their places.
    """

    file: PolicyFile
    document: Document
    kind: str
    model: PolicyDocument | None
    rules: tuple[Rule | Guardrail | None, ...]
    """Of a service or guardrails, by index."""


def parse_policy(file: PolicyFile) -> tuple[ParsedFile | None, list[Problem]]:
    """The document of a file; None where it cannot be read as YAML or its kind is not known."""
    document, problems = parse(file.content, file.shown)
    if document is None:
        return None, problems
    kind, complaint = _kind(file, document)
    if complaint is not None:
        problems.append(complaint)
    if kind is None:
        return None, problems
    model, more = validate(document, KINDS[kind])
    if model is None:
        return _salvaged(file, document, kind), problems + more
    rules: tuple[Rule | Guardrail, ...] = ()
    if isinstance(model, Service | Guardrails):
        rules = tuple(model.rules)
    return ParsedFile(file, document, kind, model, rules), problems


def _kind(file: PolicyFile, document: Document) -> tuple[str | None, Problem | None]:
    value = document.value
    kinds = listing(KINDS, "or")
    if not isinstance(value, dict):
        return None, document.problem(
            (), "wrong_type", "the file must be a mapping of fields", f"begin with `kind:` and {kinds}"
        )
    if "kind" not in value:
        return None, document.problem((), "missing_kind", "the file needs `kind`", f"one of {kinds}")
    kind = value["kind"]
    if document.find(("kind",)).refused:
        return None, None
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS, f"known kinds are {listing(KINDS)}")
        return None, document.problem(("kind",), "unknown_kind", f"unknown kind {quoted(str(kind))}", hint)
    name = file.path.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    if (kind == "tests") != stem.endswith("_test"):
        if kind == "tests":
            message, hint = "tests stand in a file of their own", f"rename it to `{stem}_test.{suffix}`"
        else:
            message = f"a file whose name ends with `_test` holds tests, and not a document of kind {quoted(kind)}"
            hint = "rename the file, or write `kind: tests`"
        return kind, document.problem(("kind",), "test_file_name", message, hint)
    return kind, None


def _salvaged(file: PolicyFile, document: Document, kind: str) -> ParsedFile:
    value: dict[str, Any] = document.root.value
    if kind in ("service", "guardrails"):
        raw = value.get("rules")
        rules = tuple(_rule(item, kind) for item in raw) if isinstance(raw, list) else ()
        header = _validated(Service, {**value, "rules": []}) if kind == "service" else None
        return ParsedFile(file, document, kind, header, rules)
    raw = value.get("roles")
    if kind == "roles" and isinstance(raw, dict):
        roles = {
            name: items for name, items in raw.items() if _validated(Roles, {"kind": kind, "roles": {name: items}})
        }
        return ParsedFile(file, document, kind, _validated(Roles, {"kind": kind, "roles": roles}), ())
    return ParsedFile(file, document, kind, None, ())


def _rule(raw: object, kind: str) -> Rule | Guardrail | None:
    return _validated(Rule, raw) if kind == "service" else _validated(Guardrail, raw)


def _validated(model: type[M], value: object) -> M | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None
