"""What conditions read only where somebody has said so: bodies by the service, metadata by the configuration."""

import re
from collections.abc import Iterable, Iterator

from authz_server.documents.problem import Problem
from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.names import KnownNames
from authz_server.policy.plan import Rule

_BODY = re.compile(r"\b(?:has_)?body\b")
_METADATA = "metadata["
_DECLARE = "write `body: json` beside `hosts`"


def undeclared(
    document: Document, path: FieldPath, source: str, reads: Iterable[str], known: KnownNames | None
) -> Iterator[Problem]:
    """The errors about an expression that reads what nobody has declared."""
    reads = list(reads)
    if any(map(_is_body, reads)) and _needs_declaration(document):
        found = _BODY.search(source)
        offset, length = (0, 1) if found is None else (found.start(), len(found[0]))
        message = "the body can be read only where the service declares it"
        yield document.problem_within(path, "undeclared_body", message, _DECLARE, offset=offset, length=length)
    for namespace in sorted(_namespaces(reads)):
        if known is not None and namespace not in known.metadata:
            message = f"unknown namespace of metadata {quoted(namespace)}"
            names = sorted(known.metadata)
            listed = f"known are {listing(names)}" if names else "list it under `metadata` in the configuration"
            hint, offset = did_you_mean(namespace, names, listed), max(source.find(namespace), 0)
            yield document.problem_within(
                path, "unknown_metadata", message, hint, offset=offset, length=max(len(namespace), 1)
            )


def bodies_of_guardrails(document: Document, rules: Iterable[Rule]) -> Iterator[Problem]:
    """The errors about a service without bodies to which guardrails apply that read them."""
    for rule in rules:
        reads = [name for expression in rule.expressions() for name in expression.reads]
        if rule.guardrail and any(map(_is_body, reads)):
            message = f"the guardrail {quoted(rule.id)} reads the body of this service, which does not declare it"
            yield document.problem(("hosts",), "undeclared_body", message, _DECLARE, key=True)


def _is_body(read: str) -> bool:
    return read == "has_body" or read.startswith(("body.", "body["))


def _needs_declaration(document: Document) -> bool:
    """Whether this is a service that does not say `body`: of guardrails the services below have to say it."""
    fields = document.find(()).value
    return isinstance(fields, dict) and fields.get("kind") == "service" and "body" not in fields


def _namespaces(reads: Iterable[str]) -> set[str]:
    named = {read[len(_METADATA) : read.rindex("]")] for read in reads if read.startswith(_METADATA)}
    return named - {"*"}
