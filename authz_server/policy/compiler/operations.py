"""Compiles the items of `to`."""

from collections.abc import Iterable, Mapping, Sequence

from authz_server.documents.suggest import listing, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.names import Report
from authz_server.policy.patterns import Literal, PathTemplate, PatternError, parse_path_template
from authz_server.policy.plan import GrpcItem, OperationItem
from authz_server.policy.schema import Operation

# What cannot stand beside a field in one item, because nothing would fit both.
_EXCLUDED = {
    "connect": ("methods", "paths", "grpc", "upgrade"),
    "grpc": ("methods", "paths", "upgrade"),
}
_WHY = {
    "connect": "a CONNECT request has no path and no other method",
    "grpc": "a gRPC request has the path and method of its service",
}


Templates = Mapping[str, PathTemplate]
"""The path templates of a rule, by their text."""


def templates_of(items: Iterable[Operation]) -> Templates:
    """The path templates of a `to`, each of which has been checked."""
    return {text: parse_path_template(text) for item in items for text in item.paths}


def captures_of(templates: Templates) -> frozenset[str]:
    """The captures of all path templates."""
    return frozenset([name for template in templates.values() for name in template.captures])


def compile_operations(
    document: Document,
    path: FieldPath,
    items: Sequence[Operation],
    templates: Templates,
    path_prefix: str,
    report: Report,
) -> tuple[OperationItem, ...] | None:
    """The items of a `to`; None is every operation. `path_prefix` is that of the service, `/` where there is none."""
    prefix = [part for part in path_prefix.split("/") if part]
    for index, item in enumerate(items):
        place = (*path, index)
        if not item.model_fields_set:
            message = "an item without a field fits nothing in particular"
            report(document.problem(place, "empty_item", message, "leave `to` out for every operation"))
        _check_together(document, place, item, report)
        for number, text in enumerate(item.paths if prefix else ()):
            if not _can_be_below(templates[text], prefix):
                message = f"no path of this service fits: all begin with {quoted(path_prefix)}"
                hint = "paths of rules are whole paths, prefix included"
                report(document.problem((*place, "paths", number), "unreachable_path", message, hint))
    return tuple([_item(item) for item in items]) or None


def captures_of_raw(items: object) -> tuple[frozenset[str], bool]:
    """The captures of a `to` that may be wrong anywhere; and whether these are all of them."""
    captures: set[str] = set()
    complete = items is None or isinstance(items, list)
    for item in items if isinstance(items, list) else ():
        paths = item.get("paths", []) if isinstance(item, dict) else None
        complete = complete and isinstance(paths, list)
        for text in paths if isinstance(paths, list) else ():
            try:
                captures |= parse_path_template(text).captures if isinstance(text, str) else set()
            except PatternError:
                complete = False
    return frozenset(captures), complete


def _item(item: Operation) -> OperationItem:
    return OperationItem(
        methods=tuple(item.methods),
        paths=tuple(item.paths),
        grpc=None if item.grpc is None else GrpcItem(item.grpc.service, tuple(item.grpc.methods)),
        hosts=tuple(item.hosts),
        ports=tuple(item.ports),
        upgrade=item.upgrade,
        connect=bool(item.connect),
    )


def _check_together(document: Document, path: FieldPath, item: Operation, report: Report) -> None:
    for field, excluded in _EXCLUDED.items():
        beside = [name for name in excluded if getattr(item, name)]
        if getattr(item, field) and beside:
            message = f"{quoted(field)} cannot stand beside {listing(beside)}: {_WHY[field]}"
            report(document.problem((*path, field), "contradiction", message, "make it an item of its own", key=True))
            return


def _can_be_below(template: PathTemplate, prefix: Sequence[str]) -> bool:
    if len(template.segments) < len(prefix) and template.rest is None:
        return False
    # Deny rules fit in any case of the letters, so only what differs otherwise is out of reach.
    return all(
        pattern.text.casefold() == part.casefold() if isinstance(pattern, Literal) else True
        for pattern, part in zip(template.segments, prefix, strict=False)
    )
