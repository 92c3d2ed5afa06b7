"""Roles that nobody names."""

from collections.abc import Iterable, Iterator, Sequence

from authz_server.documents.problem import Problem
from authz_server.documents.suggest import quoted
from authz_server.policy.findings import Finding
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.schema import Caller, Roles


def unused_roles(files: Sequence[ParsedFile]) -> Iterator[Problem]:
    """Each where it is defined. One that only roles name which nobody names is used."""
    used = {(file.file.folders, name) for file in files for name in _named(file)}
    for file in files:
        if not isinstance(file.model, Roles):
            continue
        own = file.file.folders
        for name in file.model.roles:
            if not any(folders[: len(own)] == own and named == name for folders, named in used):
                message = f"no rule and no role names {quoted(name)}"
                yield file.document.problem(("roles", name), Finding.UNUSED_ROLE, message, "remove it", key=True)


def _named(file: ParsedFile) -> Iterator[str]:
    for rule in file.rules:
        if rule is not None and isinstance(rule.callers, list):
            yield from _of(rule.callers)
    if isinstance(file.model, Roles):
        for items in file.model.roles.values():
            yield from _of(items)


def _of(items: Iterable[Caller]) -> Iterator[str]:
    for item in items:
        yield from item.roles
