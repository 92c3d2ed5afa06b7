"""Checks what tests expect against the policies that they are about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from authz_server.documents.problem import Problem
from authz_server.documents.suggest import did_you_mean, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.errors import Reason, Refused
from authz_server.policy.compiler.conflicts import GUARDRAILS, full_name
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.patterns import parse_host_pattern
from authz_server.policy.schema import Service
from authz_server.policy.testcases import PolicyTests
from authz_server.request.host import canonical_host


class Defined(NamedTuple):
    """What the policies of one load define."""

    rules: frozenset[str]
    """Ids and full ids."""
    hosts: tuple[str, ...] | None
    """Of all services; None where a service is wrong, whose hosts are not known."""
    hosts_of_folders: Mapping[tuple[str, ...], Sequence[str]]
    """Those of the services that stand in a folder itself."""


def defined_by(files: Sequence[ParsedFile]) -> Defined:
    """The rules and hosts of all files, also rules that are wrong."""
    rules: set[str] = set()
    hosts: dict[tuple[str, ...], list[str]] = {}
    complete = True
    for parsed in files:
        if parsed.kind not in ("service", GUARDRAILS):
            continue
        owner = GUARDRAILS
        if isinstance(parsed.model, Service):
            owner = parsed.model.name
            hosts.setdefault(parsed.file.folders, []).extend(parsed.model.hosts)
        elif parsed.kind == "service":
            complete = False
        for index in range(len(parsed.rules)):
            written = parsed.document.find(("rules", index, "id")).value
            if isinstance(written, str):
                rules |= {written, f"{full_name(parsed, owner)}/{written}"}
    every = tuple([host for group in hosts.values() for host in group])
    return Defined(frozenset(rules), every if complete else None, hosts)


def default_host(folders: tuple[str, ...], defined: Defined) -> str | None:
    """The host of a matrix that names none; None where the folder speaks for several, or for a pattern."""
    hosts = defined.hosts_of_folders.get(folders, ())
    return hosts[0] if len(hosts) == 1 and "*" not in hosts[0] else None


def check_expectations(parsed: ParsedFile, tests: PolicyTests, defined: Defined) -> Iterator[Problem]:
    """Rules that nobody defines, and requests to hosts of no service, which would test nothing."""
    document = parsed.document
    for index, case in enumerate(tests.tests):
        place = ("tests", index)
        rule = case.expect.rule
        if rule is not None and rule not in defined.rules:
            hint = did_you_mean(rule, defined.rules, "write the id of a rule, or its full id")
            yield document.problem((*place, "expect", "rule"), "unknown_rule", f"unknown rule {quoted(rule)}", hint)
        if case.expect.reason != Reason.NO_SERVICE and case.request.service is None:
            yield from _check_host(document, (*place, "request", "host"), case.request.host, defined)
    if tests.matrix is not None and tests.matrix.host is not None:
        yield from _check_host(document, ("matrix", "host"), tests.matrix.host, defined)
    elif tests.matrix is not None and defined.hosts is not None and default_host(parsed.file.folders, defined) is None:
        message = "which host the requests of this matrix are for cannot be told"
        hint = "add `host`: this folder has not exactly one service with one host"
        yield document.problem(("matrix",), "missing_field", message, hint, key=True)


def _check_host(document: Document, place: FieldPath, text: str, defined: Defined) -> Iterator[Problem]:
    try:
        host = canonical_host(text)
    except Refused:
        # A test may well send what is refused.
        return
    hosts = defined.hosts
    if hosts is None or any(parse_host_pattern(pattern).matches(host.name, host.port) for pattern in hosts):
        return
    hint = did_you_mean(text, hosts, "expect `reason: no_service` if that is what is meant")
    yield document.problem(place, "unknown_host", f"no service speaks for {quoted(text)}", hint)
