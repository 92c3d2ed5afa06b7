"""Where two policies decide differently: both are asked one request of each kind that either of them tells apart.

Kinds of actions are found first, and most of them meet the same rules on both sides: nothing more is asked about
those. For each other kind of action, the callers that the rules which fit it tell apart; and for each kind of caller
that meets other rules on one side than on the other, the circumstances that those rules depend on.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from authz_server.analysis.actions import actions, fits_host, hosts, vocabulary
from authz_server.analysis.attributes import Asked, asked_by
from authz_server.analysis.callers import Named, everybody
from authz_server.analysis.circumstances import dimensions, explored, name_callers
from authz_server.analysis.judge import Action, Circumstances, Judge, Outcome, Probe, Who, operation_of
from authz_server.analysis.meeting import Meeting, caller_of
from authz_server.analysis.supposed import Question, SupposingRuntime, Suppositions, question
from authz_server.errors import Refused
from authz_server.policy.index import Candidate
from authz_server.policy.patterns import parse_host_pattern
from authz_server.policy.plan import CallerItem, Expression, Plan, Rule, Service
from authz_server.request.operation import Operation

MAX_COMBINATIONS = 1_024
"""Circumstances that are tried for one caller and action."""
MAX_SUPPOSED = 5
"""Conditions that are supposed to hold or not at the same time: three to the power of them."""
MAX_FLIPS = 20_000
_OF_CALLERS = ("user", "has_user", "workload", "has_workload", "client", "certificate")


class Flip(Struct, frozen=True):
    """A request that two policies decide differently, as an example of its kind."""

    probe: Probe
    old: Outcome
    new: Outcome
    conditions: tuple[str, ...] = ()
    """Those that the decisions rest on: if one held that does not, or did not hold, it would be decided otherwise."""
    supposed: bool = False
    """No such request was found: it is decided differently if the conditions hold, or do not, as is possible."""


class Comparison(Struct):
    """What came of it."""

    flips: list[Flip] = []
    cut: dict[str, None] = {}
    """What was not looked at, in words; empty where everything was."""
    actions: int = 0
    decisions: int = 0
    seconds: float = 0.0


_Least = dict[object, list[Who]]
"""Who was found already, by what is decided."""


class _TooMuch(Exception):
    """The comparison takes too long, or finds too much."""


def compare(old: Plan, new: Plan, now: float, timeout_s: float) -> Comparison:
    """Ask both plans about requests of each kind at the time `now`, in seconds since the epoch."""
    return _Comparing(old, new, now, timeout_s).run()


class _Comparing:
    def __init__(self, old: Plan, new: Plan, now: float, timeout_s: float) -> None:
        old, new = self._plans = _what_matters(_without_places(old), _without_places(new))
        self._now = now
        self._began = time.monotonic()
        self._timeout_s = timeout_s
        self._judges = (Judge(old), Judge(new))
        self._meetings = (Meeting(old, self._judges[0].index), Meeting(new, self._judges[1].index))
        self._suppositions: Suppositions = {}
        self._supposing = tuple(Judge(plan, SupposingRuntime(self._suppositions)) for plan in (old, new))
        self._issuers = sorted({name for plan in self._plans for name in _issuers(plan)})
        self._asked: dict[str, Asked] = {}
        self._found = Comparison()

    def run(self) -> Comparison:
        """Everything, or what could be had within the bounds."""
        try:
            for host in hosts(self._host_patterns()):
                self._compare_host(host)
        except _TooMuch as cut:
            self._found.cut[str(cut)] = None
        old, new = (plan.services for plan in self._plans)
        for service in {*old} ^ {*new}:
            if service.lenient:
                self._found.cut["paths with several readings, of services with `paths: lenient`"] = None
        self._found.seconds = time.monotonic() - self._began
        return self._found

    def _services(self) -> Iterator[Service]:
        for plan in self._plans:
            yield from plan.services

    def _host_patterns(self) -> Iterator[str]:
        for service in self._services():
            yield from service.hosts
            for rule in service.rules:
                for item in rule.operations or ():
                    yield from item.hosts
                for expression in rule.expressions():
                    for (variable, keys), values in self._asked_by(expression).values.items():
                        if variable == "request" and keys[0] == "host":
                            yield from [value for value in values if isinstance(value, str) and _is_host(value)]

    def _asked_by(self, expression: Expression) -> Asked:
        if expression.source not in self._asked:
            self._asked[expression.source] = asked_by(expression)
        return self._asked[expression.source]

    def _compare_host(self, host: str) -> None:
        speaking = [
            [s for s in plan.services if any(fits_host(parse_host_pattern(pattern), host) for pattern in s.hosts)]
            for plan in self._plans
        ]
        if speaking[0] == speaking[1]:
            return
        services = [service for each in speaking for service in each]
        asked = [(r, self._asked_by(e)) for service in services for r in service.rules for e in r.expressions()]
        kinds: set[object] = set()
        for action in actions(vocabulary(services, asked), host):
            self._check_time()
            try:
                operation, _ = operation_of(Probe(action, Who(), Circumstances()))
            except Refused:
                continue
            met = [meeting.by_action(operation) for meeting in self._meetings]
            if met[0] == met[1]:
                continue
            rules = [rule for meeting in self._meetings for rule in meeting.rules(operation)]
            kind = (*met, *self._seen(action, operation, rules))
            if kind not in kinds:
                kinds.add(kind)
                self._found.actions += 1
                self._compare_callers(action, operation, rules)

    def _seen(self, action: Action, operation: Operation, rules: Sequence[Rule]) -> Iterator[object]:
        """What the expressions of the rules see of an action, beyond that their `to` fits it."""
        # Methods have rows of their own, although rules may not tell them apart: that is how people ask.
        yield action.method, action.upgrade
        reads = {read for rule in rules for expression in rule.expressions() for read in expression.reads}
        if any(read.startswith(("path", "request.path")) for read in reads):
            yield operation.path
        if "request.host" in reads:
            yield operation.host
        if any(read.startswith(("grpc", "request.is_grpc", "body", "has_body")) for read in reads):
            yield action.grpc

    def _compare_callers(self, action: Action, operation: Operation, rules: Sequence[Rule]) -> None:
        named = Named()
        for rule in rules:
            named.add(rule.callers or ())
            for expression in rule.expressions():
                name_callers(self._asked_by(expression), named)
        callers, complete = everybody(named, self._issuers)
        if not complete:
            self._found.cut[f"all combinations of what users may have, for {action.method} {action.target}"] = None
        reads = {read for rule in rules for expression in rule.expressions() for read in expression.reads}
        sees_callers = any(read.startswith(_OF_CALLERS) for read in reads) or any(rule.requires for rule in rules)
        kinds: set[object] = set()
        least: _Least = {}
        for who in callers:
            self._check_time()
            asking, _ = operation_of(Probe(action, who, Circumstances()))
            caller = caller_of(who, asking)
            met = [meeting.by_caller(asking, caller) for meeting in self._meetings]
            if met[0] == met[1]:
                continue
            kind = (*met, who.workload, who.user is None)
            if sees_callers or kind not in kinds:
                kinds.update(() if sees_callers else (kind,))
                self._compare_circumstances(action, who, asking, least)

    def _compare_circumstances(self, action: Action, who: Who, operation: Operation, least: _Least) -> None:
        caller = caller_of(who, operation)
        fitting = [found for meeting in self._meetings for found in meeting.candidates(operation, caller)]
        rules = [rule for rule, _ in fitting]
        expressions = [e for rule in rules for e in rule.expressions()]
        asked = [self._asked_by(expression) for expression in expressions]
        times = [rule.times for rule in rules if rule.times is not None]
        requires = [rule.requires for rule in rules if rule.requires is not None]
        tried = dimensions(asked, requires, times, self._now)
        questions = _questions(fitting, operation)
        known: set[object] = set()
        for person, circumstances in tried.combinations(who, MAX_COMBINATIONS):
            probe = Probe(action, person, circumstances)
            self._found.decisions += 2
            old, new = (judge.outcome(probe) for judge in self._judges)
            if old.differs(new) and _key(old, new) not in known:
                known.add(_key(old, new))
                if _is_least(probe.who, _key(old, new), least):
                    self._add(Flip(probe, old, new, self._rested_on(questions, probe, (old, new))))
        if len(tried) > MAX_COMBINATIONS or not all(map(explored, asked)):
            self._suppose(questions, Probe(action, who, Circumstances(self._now)), known)

    def _rested_on(
        self, questions: Sequence[Question], probe: Probe, decided: tuple[Outcome, Outcome]
    ) -> tuple[str, ...]:
        """The conditions of which one changes what is decided, or where none does alone, all that do together."""
        sources = dict.fromkeys(source for source, _ in questions)
        alone = [
            source
            for source in sources
            if self._changes([each for each in questions if each[0] == source], probe, decided)
        ]
        return tuple(alone or (sources if self._changes(questions, probe, decided) else ()))

    def _changes(self, questions: Sequence[Question], probe: Probe, decided: tuple[Outcome, Outcome]) -> bool:
        """Whether it is decided otherwise where these conditions hold, or do not, or cannot be evaluated."""
        found = False
        for outcome in (True, False, None):
            self._suppositions.update(dict.fromkeys(questions, outcome))
            supposed = [judge.outcome(probe) for judge in self._supposing]
            found = found or any(one.differs(other) for one, other in zip(decided, supposed, strict=True))
        self._suppositions.clear()
        return found

    def _suppose(self, questions: Sequence[Question], probe: Probe, known: set[object]) -> None:
        """What would be decided if conditions held, or did not, for which no request was found."""
        if len(questions) > MAX_SUPPOSED:
            self._found.cut[
                f"combinations of {len(questions)} conditions, for {probe.action.method} {probe.action.target}"
            ] = None
        asked = questions[:MAX_SUPPOSED]
        texts = tuple(dict.fromkeys(source for source, _ in asked))
        for outcomes in product((True, False, None), repeat=len(asked)):
            self._suppositions.update(zip(asked, outcomes, strict=True))
            self._found.decisions += 2
            old, new = (judge.outcome(probe) for judge in self._supposing)
            if old.differs(new) and _key(old, new) not in known:
                known.add(_key(old, new))
                self._add(Flip(probe, old, new, texts, supposed=True))
        self._suppositions.clear()

    def _add(self, flip: Flip) -> None:
        self._found.flips.append(flip)
        if len(self._found.flips) == MAX_FLIPS:
            raise _TooMuch(f"more than {MAX_FLIPS:,} kinds of requests that are decided differently")

    def _check_time(self) -> None:
        if time.monotonic() - self._began > self._timeout_s:
            raise _TooMuch(f"what was left after {self._timeout_s:g} s (--timeout)")


def _questions(fitting: Sequence[tuple[Rule, Candidate]], operation: Operation) -> list[Question]:
    """The conditions of rules that fit, for each reading of the path."""
    found: dict[Question, None] = {}
    for rule, candidate in fitting:
        if rule.condition is not None:
            for captures in candidate.captures(operation.path):
                found[question(rule.condition.source, captures)] = None
    return list(found)


def _is_least(who: Who, decided: object, least: _Least) -> bool:
    """Whether nobody who has less was found to be decided so."""
    callers = least.setdefault(decided, [])
    if any(who.has_all_of(one) for one in callers):
        return False
    callers.append(who)
    return True


def _key(old: Outcome, new: Outcome) -> object:
    return old.reason, old.rule, new.reason, new.rule


def _without_places(plan: Plan) -> Plan:
    """The plan without where rules stand and what they are for, so that equal services are equal."""
    services = [
        replace(service, rules=tuple([replace(rule, location="", description="") for rule in service.rules]))
        for service in plan.services
    ]
    return replace(plan, services=tuple(services))


def _what_matters(old: Plan, new: Plan) -> tuple[Plan, Plan]:
    """The plans without the services that are the same in both, and share no host with one that is not."""
    changed = {parse_host_pattern(text) for service in {*old.services} ^ {*new.services} for text in service.hosts}

    def matters(service: Service) -> bool:
        patterns = map(parse_host_pattern, service.hosts)
        return any(pattern.meets(other.name) for pattern in patterns for other in changed)

    left = [replace(plan, services=tuple(filter(matters, plan.services))) for plan in (old, new)]
    return left[0], left[1]


def _is_host(text: str) -> bool:
    return bool(text) and text == text.lower() and " " not in text and "/" not in text


def _issuers(plan: Plan) -> Iterator[str]:
    for service in plan.services:
        for rule in service.rules:
            yield from _issuers_of(rule.callers or ())


def _issuers_of(items: Iterable[CallerItem]) -> Iterator[str]:
    for item in items:
        if item.users is not None and item.users.issuer is not None:
            yield item.users.issuer
        yield from _issuers_of(item.any_of)
