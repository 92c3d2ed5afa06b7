"""Whose a request is, and which rules hold there."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.reference.asked import Asked, Documents, Item
from tests.reference.paths import Path


class Rule(NamedTuple):
    """A rule where it holds."""

    id: str
    text: Item
    folders: tuple[str, ...]


def service_of(documents: Documents, asked: Asked, path: Path) -> str | None:
    """The file of the service that the route names, or that speaks for host and path."""
    services = {file: document for file, document in documents.items() if document["kind"] == "service"}
    if asked.service is not None:
        return next((file for file, document in services.items() if name_of(file, document) == asked.service), None)
    claims = [(file, host, document) for file, document in services.items() for host in document["hosts"]]
    fitting = [claim for claim in claims if host_fits(claim[1], asked.host)]
    # The most exact host first, then the longest prefix.
    fitting.sort(key=lambda claim: (*_exactness(claim[1]), len(_prefix(claim[2]))), reverse=True)
    for file, _, document in fitting:
        prefix = _prefix(document)
        if path.segments[: len(prefix)] == prefix:
            return file
        folded = [segment.lower().rstrip(". ") or segment for segment in path.segments[: len(prefix)]]
        if folded == [segment.lower() for segment in prefix]:
            return None
    return None


def _prefix(document: Item) -> tuple[str, ...]:
    return tuple(part for part in document.get("path_prefix", "/").split("/") if part)


def _exactness(pattern: str) -> tuple[int, int, int]:
    name, _, port = pattern.partition(":")
    return (0 if name == "*" else 1 if name.startswith("*.") else 2, len(name), bool(port))


def host_fits(pattern: str, host: str) -> bool:
    """Whether a host, as clients write it, fits a pattern."""
    name, _, port = pattern.partition(":")
    host, _, host_port = host.lower().partition(":")
    host = host.removesuffix(".")
    return (not port or port == host_port) and (name in ("*", host) or (name[0] == "*" and host.endswith(name[1:])))


def name_of(file: str, document: Item) -> str:
    """The full name of a service."""
    return "/".join([*folders_of(file), document["name"]])


def folders_of(file: str) -> tuple[str, ...]:
    """The folders that a file is in, the outermost first."""
    return tuple(file.split("/")[:-1])


def rules_of(documents: Documents, service: str) -> Iterator[Rule]:
    """The service's own rules and the guardrails of its folders."""
    folders = folders_of(service)
    for file, document in documents.items():
        above = folders_of(file)
        if file == service:
            yield from [Rule(f"{name_of(file, document)}/{rule['id']}", rule, above) for rule in document["rules"]]
        elif document["kind"] == "guardrails" and folders[: len(above)] == above:
            prefix = "/".join([*above, "guardrails"])
            yield from [Rule(f"{prefix}/{rule['id']}", rule, above) for rule in document["rules"]]
