"""A plan made ready for look-ups: host, path and method, caller. So a request meets only the rules that can fit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from authz_server.model import Path, RecordClass, RuleItems
from authz_server.policy import plan
from authz_server.policy.answers import BoundAnswer, bind_answer
from authz_server.policy.caller_index import Fitting
from authz_server.policy.callers import Caller, CallerMatch, caller_match
from authz_server.policy.collection import nothing
from authz_server.policy.conditions import ConditionRuntime, Program
from authz_server.policy.folding import folded_captures
from authz_server.policy.hosts import HostIndex
from authz_server.policy.inputs import Input, inputs_of
from authz_server.policy.operation_index import OperationIndex, templates
from authz_server.policy.operations import OperationMatch, operation_match
from authz_server.policy.patterns import PathTemplate
from authz_server.policy.requirements import Requirements
from authz_server.policy.times import Times
from authz_server.request.operation import Operation

EVERY_OPERATION = plan.OperationItem()
NO_CAPTURES: Mapping[str, str] = {}


class BoundRule(Struct, frozen=True):
    """A rule with its expressions loaded; `order` is its place among the rules of the service."""

    order: int
    id: str
    condition: Program | None
    answer: BoundAnswer
    reads_captures: bool
    times: Times | None = None
    """None exists always."""
    requires: Requirements | None = None
    guardrail: bool = False


class Candidate(NamedTuple):
    """One way in which a rule can fit: an item of `from` with an item of `to` and one of its templates."""

    rule: BoundRule
    callers: CallerMatch | None
    """What is left to ask of the caller."""
    operation: OperationMatch
    template: PathTemplate | None
    items: RuleItems
    """Which ones these are."""

    def exists(self, now: float) -> bool:
        """Whether the rule is there at this moment, in seconds since the epoch."""
        return self.rule.times is None or self.rule.times.include(now)

    def fits(self, caller: Caller, operation: Operation) -> bool:
        """Whether caller and operation have all that is asked for, beyond what the index already found."""
        return (self.callers is None or self.callers.fits(caller)) and self.operation.fits(operation)

    def captures(self, path: Path) -> Sequence[Mapping[str, str]]:
        """The readings of the captures that conditions have to consider: one, or for a deny rule perhaps two."""
        if self.template is None or not self.rule.reads_captures:
            return (NO_CAPTURES,)
        if self.operation.effect == "deny":
            return folded_captures(self.template, path)
        return (self.template.match(path) or NO_CAPTURES,)


class Rehearsal(Struct, frozen=True):
    """The rules in audit: asked about every request, and obeyed in none."""

    deny: OperationIndex[Candidate]
    allow: OperationIndex[Candidate]


class ServiceIndex(Struct, frozen=True, weakref=True):
    """One service's rules by what they are about. Immutable, and the same for every revision that has the service."""

    name: str
    hosts: tuple[str, ...]
    path_prefix: str
    deny: OperationIndex[Candidate]
    allow: OperationIndex[Candidate]
    allow_with_user: OperationIndex[Candidate]
    """The allow rules that ask for a user, without that demand: who fits here was missing a user."""
    inputs: tuple[Input, ...]
    protected: frozenset[str]
    """Headers that reach the upstream only as a rule sets them."""
    rehearsal: Rehearsal | None = None
    """None where no rule is in audit."""
    audit: bool = False
    """The service is in audit: its rules deny nothing."""
    guards_users: bool = False
    """A guardrail asks who the user is: what no mode undoes cannot be told where a credential fails."""
    audits: bool = False
    """The service or some of its rules are in audit: there is more to do than to decide."""
    lenient: bool = False
    """Paths with several readings are decided, each reading by itself."""
    record_class: RecordClass | None = None
    record_classes: Mapping[str | None, RecordClass] = {}
    """Of the rules that have one of their own, by id."""

    def record_class_of(self, rule: str | None) -> RecordClass | None:
        """That of a decision by this rule; None where policies do not say."""
        return self.record_classes.get(rule, self.record_class)

    def fitting(self, index: OperationIndex[Candidate], operation: Operation, caller: Caller) -> Iterable[Candidate]:
        """The candidates of one of the indexes that fit, in the order of their rules."""
        found: list[Candidate] = []
        for callers in index.find(operation):
            found += [candidate for candidate in callers.find(caller) if candidate.fits(caller, operation)]
        if len(found) > 1:
            found.sort(key=lambda candidate: candidate.rule.order)
        return found


class ServiceIndexer:
    """Indexes services one by one: nothing but the service itself decides what comes of it."""

    def __init__(self, runtime: ConditionRuntime, identity_headers: Iterable[str]) -> None:
        """`identity_headers` never reach an upstream but as a rule sets them."""
        self._runtime = runtime
        self._identity_headers = frozenset(identity_headers)
        self.fitting: Fitting[Candidate] = Fitting()
        """What all its indexes have in common."""

    def index(self, service: plan.Service, step: Callable[[], None] = nothing) -> ServiceIndex:
        """Make the index of a service; `step` is called after each rule. Raises RuntimeError as `runtime.load` does."""
        protected = self._identity_headers.union(service.set_headers)
        rehearses = any(rule.audit for rule in service.rules)
        index = ServiceIndex(
            name=service.name,
            hosts=service.hosts,
            path_prefix=service.path_prefix,
            deny=self._empty("deny"),
            allow=self._empty("allow"),
            allow_with_user=self._empty("allow"),
            inputs=inputs_of(service.inputs),
            protected=protected,
            rehearsal=Rehearsal(self._empty("deny"), self._empty("allow")) if rehearses else None,
            audit=service.audit,
            audits=service.audit or rehearses,
            guards_users=any(rule.guardrail and _asks_for_user(rule) for rule in service.rules),
            lenient=service.lenient,
            record_class=service.record,
            record_classes={rule.id: rule.record for rule in service.rules if rule.record is not None},
        )
        removed = {"allow": protected, "deny": frozenset[str]()}
        # Most rules change nothing of their own, and share that.
        plain = {effect: bind_answer(plan.EMPTY_ANSWER, self._runtime, names) for effect, names in removed.items()}
        for order, rule in enumerate(service.rules):
            own = rule.answer != plan.EMPTY_ANSWER
            answer = bind_answer(rule.answer, self._runtime, removed[rule.effect]) if own else plain[rule.effect]
            _add(index, rule, _bind(order, rule, self._runtime, answer))
            step()
        return index

    def _empty(self, effect: plan.Effect) -> OperationIndex[Candidate]:
        return OperationIndex(effect, self.fitting)


class PolicyIndex:
    """All services of one revision. Immutable."""

    def __init__(
        self,
        policies: plan.Plan,
        runtime: ConditionRuntime,
        identity_headers: Iterable[str],
        step: Callable[[], None] = nothing,
    ) -> None:
        """`identity_headers` never reach an upstream but as a rule sets them; `step` is called after each rule."""
        indexer = ServiceIndexer(runtime, identity_headers)
        services = [indexer.index(service, step) for service in policies.services]
        self._hold(policies.revision, policies.number, services, step)

    @classmethod
    def of(
        cls, revision: str, number: int | None, services: Sequence[ServiceIndex], step: Callable[[], None] = nothing
    ) -> "PolicyIndex":
        """Policies whose services are indexed already; `step` is called after each."""
        made = cls.__new__(cls)
        made._hold(revision, number, services, step)
        return made

    def _hold(
        self, revision: str, number: int | None, services: Sequence[ServiceIndex], step: Callable[[], None]
    ) -> None:
        self.revision = revision
        self.number = number
        """Gives revisions an order; None where the policies have none."""
        self.has_lenient = any(service.lenient for service in services)
        """Whether any service takes paths with several readings."""
        self._by_name = {service.name: service for service in services}
        self._by_host: HostIndex[ServiceIndex] = HostIndex()
        for service in services:
            for host in service.hosts:
                self._by_host.add(host, service.path_prefix, service)
            step()

    @property
    def services(self) -> tuple[ServiceIndex, ...]:
        """All of them."""
        return tuple(self._by_name.values())

    def service(self, operation: Operation, named: str | None) -> ServiceIndex | None:
        """The service that a route names, else the one that speaks for host and path; None where there is none."""
        if named is not None:
            return self._by_name.get(named)
        return self._by_host.find(operation.host, operation.port, operation.path)

    def named(self, name: str) -> ServiceIndex:
        """The service with this full name. Raises KeyError."""
        return self._by_name[name]

    def speaks_for_all(self, service: ServiceIndex, operation: Operation, paths: Iterable[Path]) -> bool:
        """Whether all these paths of a host, by host and path, are a service's."""
        return all(self._by_host.find(operation.host, operation.port, path) is service for path in paths)


def _asks_for_user(rule: plan.Rule) -> bool:
    reads = () if rule.condition is None else rule.condition.reads
    asks = any(read == "has_user" or read.startswith("user.") for read in reads)
    return asks or any(map(_names_user, rule.callers or ()))


def _names_user(item: plan.CallerItem) -> bool:
    return item.users is not None or item.anonymous or any(map(_names_user, item.any_of))


def _bind(order: int, rule: plan.Rule, runtime: ConditionRuntime, answer: BoundAnswer) -> BoundRule:
    return BoundRule(
        order=order,
        id=rule.id,
        condition=None if rule.condition is None else runtime.load(rule.condition),
        answer=answer,
        times=None if rule.times is None else Times(rule.times),
        requires=None if rule.requires is None else Requirements(rule.requires),
        guardrail=rule.guardrail,
        reads_captures=any(name.startswith(("path.", "path[")) for e in rule.expressions() for name in e.reads),
    )


def _add(index: ServiceIndex, rule: plan.Rule, bound: BoundRule) -> None:
    callers: list[tuple[int | None, CallerMatch | None]] = [(None, None)]
    if rule.callers is not None:
        callers = [(number, caller_match(item, rule.effect)) for number, item in enumerate(rule.callers)]
    indexes = index.rehearsal if rule.audit and index.rehearsal is not None else index
    operations = indexes.deny if rule.effect == "deny" else indexes.allow
    for number, item in enumerate(rule.operations or (EVERY_OPERATION,)):
        match = operation_match(item, rule.effect)
        for template in templates(item):
            for caller, fit in callers:
                items = (caller, None if rule.operations is None else number)
                candidate = Candidate(bound, None if fit is None else fit.beyond_index(), match, template, items)
                for leaf in operations.leaves(item, template):
                    leaf.add(fit, candidate)
                if rule.effect == "allow" and not rule.audit and (without := _without_user(fit)) is not None:
                    for leaf in index.allow_with_user.leaves(item, template):
                        leaf.add(without, candidate._replace(callers=without.beyond_index()))


def _without_user(callers: CallerMatch | None) -> CallerMatch | None:
    """The item without its demand for a user; None where it has none."""
    if callers is None:
        return None
    nested = [_without_user(item) for item in callers.any_of]
    if callers.users is None and not any(nested):
        return None
    any_of = tuple(bare or item for bare, item in zip(nested, callers.any_of, strict=True))
    return msgspec.structs.replace(callers, users=None, any_of=any_of)
