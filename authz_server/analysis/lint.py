"""What is wrong with policies that load: rules that do nothing, and rules that do more than somebody may have meant."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from authz_server.analysis.conditions import has_user, has_workload, unguarded_negations, what_it_comes_to
from authz_server.analysis.covering import nobody_fits, ways
from authz_server.analysis.grants import everything, is_open, whole_trust_domain, writes
from authz_server.analysis.overlaps import Overlaps
from authz_server.analysis.places import Places, Spot
from authz_server.analysis.reach import elsewhere, neighbours, no_host_meets
from authz_server.analysis.roles import unused_roles
from authz_server.documents.problem import Problem
from authz_server.documents.suggest import listing, quoted
from authz_server.documents.tree import FieldPath
from authz_server.policy.findings import Finding
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import OperationItem, Plan, Rule, Service

Severity = Literal["warning", "notice"]
"""What does nothing or not what it seems to; and what may be meant, and deserves a reason."""
NOTICES = frozenset({Finding.OPEN_TO_ANYONE, Finding.WIDE_GRANT, Finding.UNUSED_ROLE, Finding.NEEDLESS_ACCEPTANCE})

Near = Mapping[str, Sequence[Service]]
"""By service, those that speak for one of its hosts."""
Found = tuple[Finding, FieldPath, str, str]
"""Code, place below the rule, what is so, what to do."""


class Lint(Struct, frozen=True):
    """One finding."""

    severity: Severity
    problem: Problem


def lint(plan: Plan, files: Sequence[ParsedFile], now: float) -> list[Lint]:
    """All findings by place; `now` is in seconds since the epoch. The files are those that the plan was made of."""
    places, overlaps, near = Places(files), Overlaps(plan), neighbours(plan)
    services: dict[str, list[Service]] = {}
    rules: dict[str, Rule] = {}
    for service in plan.services:
        for rule in service.rules:
            services.setdefault(rule.location, []).append(service)
            rules[rule.location] = rule
    found = [_finding(Finding.UNUSED_ROLE, problem) for problem in unused_roles(files)]
    for place, rule in rules.items():
        spot = places.of(rule)
        found += _accepted(spot, list(_of_rule(rule, services[place], near, overlaps, now)))
    return sorted(found, key=lambda each: (each.problem.position, each.problem.code))


def _finding(code: Finding, problem: Problem) -> Lint:
    return Lint("notice" if code in NOTICES else "warning", problem)


def _accepted(spot: Spot, found: Sequence[Found]) -> Iterator[Lint]:
    """What is left of the findings about a rule, and what it accepts in vain."""
    for code, path, message, hint in found:
        if code not in spot.accepts:
            yield _finding(code, spot.document.problem((*spot.path, *path), code, message, hint))
    for accepted in spot.accepts:
        if accepted not in [code for code, *_ in found]:
            message = f"nothing is found that {quoted(accepted)} says"
            path = (*spot.path, "accepts", accepted)
            problem = spot.document.problem(path, Finding.NEEDLESS_ACCEPTANCE, message, "remove it", key=True)
            yield _finding(Finding.NEEDLESS_ACCEPTANCE, problem)


def _of_rule(rule: Rule, services: Sequence[Service], near: Near, overlaps: Overlaps, now: float) -> Iterator[Found]:
    idle = list(_idle(rule, services, near, now))
    yield from idle
    if rule.condition is not None:
        yield from _of_condition(rule)
    if rule.effect == "allow" and not rule.audit and not idle:
        for service in services:
            yield from _overlapping(rule, service, overlaps)
            yield from _grants(rule, service)


def _idle(rule: Rule, services: Sequence[Service], near: Near, now: float) -> Iterator[Found]:
    """Why a rule, or a part of it, is about no request at all."""
    if rule.times is not None and rule.times.ends is not None and rule.times.ends <= now:
        yield Finding.EXPIRED, ("valid", "until"), "the rule has ended", "remove it"
    yield from _reach(rule, services, near)
    yield from _of_callers(rule)


def _reach(rule: Rule, services: Sequence[Service], near: Near) -> Iterator[Found]:
    for number, item in enumerate(rule.operations or ()):
        if item.hosts and all(no_host_meets(item.hosts, service.hosts) for service in services):
            message = "no request that the rule is asked about has one of these hosts"
            yield Finding.UNREACHABLE_HOST, ("to", number, "hosts"), message, "write one of those of the service"
        for index, text in enumerate(item.paths):
            owner = None if rule.guardrail else elsewhere(text, services[0], near[services[0].name])
            if owner is not None:
                message = f"requests for these paths belong to the service {quoted(owner)}"
                yield Finding.UNREACHABLE_PATH, ("to", number, "paths", index), message, "move the rule there"


def _of_callers(rule: Rule) -> Iterator[Found]:
    for number, item in enumerate(rule.callers or ()):
        if all(map(nobody_fits, ways(item))):
            message = "nobody fits all of this: what the item and its roles ask for excludes each other"
            yield Finding.NOBODY_FITS, ("from", number), message, "one item must fit in all that it has"


def _of_condition(rule: Rule) -> Iterator[Found]:
    if rule.condition is None:
        return
    comes_to = what_it_comes_to(rule, rule.condition)
    if True not in comes_to and (rule.effect == "allow" or None not in comes_to):
        yield Finding.NEVER_HOLDS, ("when",), "the condition never holds, whatever the request", "the rule does nothing"
    elif comes_to == {True}:
        message = "the condition always holds for what fits `to` and `from`"
        yield Finding.ALWAYS_HOLDS, ("when",), message, "leave it out, or write what is meant"
    what = "not allowed" if rule.effect == "allow" else "denied"
    for name in unguarded_negations(rule.condition):
        message = f"a request without {quoted(name)} cannot be evaluated, and is {what} by this rule"
        yield Finding.UNGUARDED_NEGATION, ("when",), message, 'say what is meant then: with has(…) or `"…" in …`'
    if rule.effect == "deny":
        yield from _unguarded_callers(rule)


def _unguarded_callers(rule: Rule) -> Iterator[Found]:
    reads = () if rule.condition is None else rule.condition.reads
    for message, has in (("user", has_user), ("workload", has_workload)):
        read = any(name.startswith((f"{message}.", f"{message}[")) for name in reads)
        if read and f"has_{message}" not in reads and not (rule.callers and all(map(has, rule.callers))):
            text = f"the rule denies every request without a {message} to which it applies"
            yield Finding.UNGUARDED_CALLER, ("when",), text, f"write `has_{message} && …`, or say so in `from`"


def _overlapping(rule: Rule, service: Service, overlaps: Overlaps) -> Iterator[Found]:
    if shadowing := overlaps.shadowing(service, rule):
        message = f"all that the rule allows is denied by {_names(shadowing)}"
        yield Finding.SHADOWED, ("id",), message, "remove it, or narrow what denies"
        return
    covering = overlaps.covering(service, rule)
    # Of two that allow the same, the first stays.
    if covering and not any(_is_covered_by(overlaps, service, other, rule) for other in covering):
        message = f"all that the rule allows is allowed by {_names(covering)}"
        yield Finding.COVERED, ("id",), message, "remove it, or narrow the other"


def _is_covered_by(overlaps: Overlaps, service: Service, other: Rule, rule: Rule) -> bool:
    if rule.id > other.id:
        return False
    back = overlaps.covering(service, other)
    return back is not None and rule.id in [each.id for each in back]


def _names(rules: Sequence[Rule]) -> str:
    return listing([f"{rule.id} ({rule.location.rpartition(':')[0]})" for rule in rules[:3]])


def _grants(rule: Rule, service: Service) -> Iterator[Found]:
    if is_open(rule):
        message = "anyone may do this, without an identity, and it is more than reading"
        yield Finding.OPEN_TO_ANYONE, ("from",), message, "name the callers, or the methods (`methods: [GET]`)"
        return
    if rule.condition is not None or rule.requires is not None:
        return
    operations = rule.operations or (OperationItem(),)
    for number, item in enumerate(rule.callers or ()):
        domain = whole_trust_domain(item)
        if domain is not None and any(map(writes, operations)):
            message = f"every workload of {quoted(domain)} may do this, and it is more than reading"
            yield Finding.WIDE_GRANT, ("from", number, "workloads"), message, "name the workloads, or a path of them"
    for number, operation in enumerate(operations):
        if everything(operation, service):
            place: FieldPath = ("to", number) if rule.operations else ("id",)
            message = "this is every path, and more than reading"
            yield Finding.WIDE_GRANT, place, message, "name the paths, or the methods (`methods: [GET]`)"
