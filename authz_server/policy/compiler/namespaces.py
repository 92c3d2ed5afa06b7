"""Finds files that reach beyond what the namespaces of their folders may speak for."""

from collections.abc import Iterable, Iterator, Mapping

from authz_server.documents.problem import Problem
from authz_server.documents.suggest import listing, quoted
from authz_server.documents.tree import FieldPath
from authz_server.identity.spiffe import parse_spiffe_pattern
from authz_server.policy.compiler.callers import Folders
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.patterns import parse_host_pattern
from authz_server.policy.schema import Caller, Namespace, Roles, Service


def beyond_namespaces(files: Iterable[ParsedFile]) -> Iterator[Problem]:
    """Hosts and trust domains that a folder above the file, or its own, does not have; and namespaces given twice."""
    files = list(files)
    namespaces: dict[Folders, ParsedFile] = {}
    for parsed in files:
        if isinstance(parsed.model, Namespace):
            first = namespaces.setdefault(parsed.file.folders, parsed)
            if first is not parsed:
                message, hint = "the folder has a namespace already", f"at {first.file.shown}:1"
                yield parsed.document.problem(("kind",), "duplicate_namespace", message, hint)
            yield from _limits_nothing(parsed, parsed.model)
    if namespaces:
        for parsed in files:
            yield from _beyond(parsed, namespaces)


def _limits_nothing(parsed: ParsedFile, namespace: Namespace) -> Iterator[Problem]:
    if not namespace.hosts and not namespace.trust_domains:
        message = "a namespace without `hosts` and `trust_domains` limits nothing"
        yield parsed.document.problem(("kind",), "empty_item", message, "add one of them, or remove the file")


def _beyond(parsed: ParsedFile, namespaces: Mapping[Folders, ParsedFile]) -> Iterator[Problem]:
    folders = parsed.file.folders
    for depth in range(len(folders) + 1):
        above = namespaces.get(folders[:depth])
        if above is None or above is parsed or not isinstance(above.model, Namespace):
            continue
        namespace, where = above.model, above.file.shown
        if namespace.hosts:
            for path, host in _hosts(parsed):
                if not any(_covers(pattern, host) for pattern in namespace.hosts):
                    message = f"the folder may not speak for the host {quoted(host)}"
                    hint = f"{where} has {listing(namespace.hosts)}"
                    yield parsed.document.problem(path, "beyond_namespace", message, hint)
        if namespace.trust_domains:
            for path, domain in _trust_domains(parsed):
                if domain not in namespace.trust_domains:
                    message = f"the folder may not speak of the trust domain {quoted(domain)}"
                    hint = f"{where} has {listing(namespace.trust_domains)}"
                    yield parsed.document.problem(path, "beyond_namespace", message, hint)


def _covers(pattern: str, host: str) -> bool:
    """Whether every host that fits `host`, a pattern itself, fits the pattern."""
    wide, narrow = parse_host_pattern(pattern), parse_host_pattern(host)
    if wide.port is not None and wide.port != narrow.port:
        return False
    if wide.name in ("*", narrow.name):
        return True
    # `*.a.example` is within `*.example`, as every host is that it fits.
    return wide.name.startswith("*.") and narrow.name.removeprefix("*.").endswith(wide.name[1:])


def _hosts(parsed: ParsedFile) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(parsed.model, Service | Namespace):
        for index, host in enumerate(parsed.model.hosts):
            yield ("hosts", index), host


def _trust_domains(parsed: ParsedFile) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(parsed.model, Namespace):
        for index, domain in enumerate(parsed.model.trust_domains):
            yield ("trust_domains", index), domain
    if isinstance(parsed.model, Roles):
        for name, items in parsed.model.roles.items():
            yield from _of_callers(("roles", name), items)
    for index, rule in enumerate(parsed.rules):
        if rule is not None and isinstance(rule.callers, list):
            yield from _of_callers(("rules", index, "from"), rule.callers)


def _of_callers(path: FieldPath, items: Iterable[Caller]) -> Iterator[tuple[FieldPath, str]]:
    for index, item in enumerate(items):
        for number, pattern in enumerate(item.workloads):
            yield (*path, index, "workloads", number), parse_spiffe_pattern(pattern).trust_domain
