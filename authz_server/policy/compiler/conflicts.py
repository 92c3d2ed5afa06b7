"""Finds services that claim what another has."""

from collections.abc import Iterable, Iterator

from authz_server.documents.problem import Position, Problem
from authz_server.documents.suggest import quoted
from authz_server.policy.folding import fold_segment
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.schema import Service

GUARDRAILS = "guardrails"


def full_name(parsed: ParsedFile, name: str) -> str:
    """The name with the folders of the file in front: `shop/orders`."""
    return "/".join((*parsed.file.folders, name))


def conflicts(files: Iterable[ParsedFile]) -> Iterator[Problem]:
    """Two services of one name, and two that speak for the same host and paths; the later file is complained about."""
    names: dict[str, Position] = {}
    claims: dict[tuple[str, tuple[str, ...]], Position] = {}
    for parsed in files:
        document, service = parsed.document, parsed.model
        if not isinstance(service, Service):
            continue
        if service.name == GUARDRAILS:
            message = f"a service cannot be named `{GUARDRAILS}`"
            yield document.problem(("name",), "invalid_name", message, "the ids of guardrails begin with it")
        name = full_name(parsed, service.name)
        position = names.setdefault(name, document.position(("name",)))
        if position != document.position(("name",)):
            message = f"a service named {quoted(name)} is there already"
            yield document.problem(("name",), "duplicate_service", message, f"at {position.file}:{position.line}")
        # Prefixes that backends may take for one another would leave the paths below them to nobody.
        prefix = tuple(fold_segment(segment) for segment in service.path_prefix.split("/"))
        for index, host in enumerate(service.hosts):
            place = ("hosts", index)
            position = claims.setdefault((host, prefix), document.position(place))
            if position != document.position(place):
                below = "" if service.path_prefix == "/" else f" below {quoted(service.path_prefix)}"
                message = f"another service speaks for {quoted(host)}{below}"
                if position.file == parsed.file.shown:
                    message = f"the host {quoted(host)} is given twice"
                yield document.problem(place, "duplicate_host", message, f"at {position.file}:{position.line}")
