"""Which rules, items of `from` and `to`, and conditions decide some case, and which decide none."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from authz_server.documents.problem import Position
from authz_server.errors import Reason
from authz_server.policy.conditions import ConditionCompiler, Evaluation, EvaluationError, Program
from authz_server.policy.decide import denial, permission
from authz_server.policy.index import Candidate, PolicyIndex, ServiceIndex
from authz_server.policy.plan import Plan, Rule, Service, TimesItem
from authz_server.policy.times import Times
from authz_server.testing.engine import Engine
from authz_server.testing.facts import Facts
from authz_server.testing.sources import RuleSource

_DENIALS_BY_RULES = (Reason.DENIED_BY_RULE, Reason.DENY_RULE_ERROR)


class Element(Struct, frozen=True):
    """A part of a rule that can make a difference: `("rule",)`, `("from", 0)`, `("when", 1)`, `("requires",)` …"""

    rule: str
    path: tuple[str | int, ...]
    position: Position
    missing: str
    """What no test does, in words."""


class Coverage(Struct, frozen=True):
    """All elements, and those that no case decides by."""

    total: int
    uncovered: tuple[Element, ...]
    """By place."""

    @property
    def percent(self) -> float:
        """How much is covered, from 0 to 100; all of nothing is covered."""
        return 100.0 * (self.total - len(self.uncovered)) / self.total if self.total else 100.0


def coverage_of(facts: Iterable[Facts], engine: Engine, sources: dict[str, RuleSource]) -> Coverage:
    """Measure what the cases decide by. Rules in audit are covered where they would have decided."""
    elements = [element for source in sources.values() for element in _elements(source)]
    measure = _Measure(engine, sources)
    for each in facts:
        measure.add(each)
    uncovered = [element for element in elements if (element.rule, element.path) not in measure.covered]
    return Coverage(len(elements), tuple(sorted(uncovered, key=lambda element: element.position)))


def _elements(source: RuleSource) -> Iterator[Element]:
    def element(position: Position, missing: str, *path: str | int) -> Element:
        return Element(source.id, path, position, missing)

    yield element(source.position(), "no test decides by this rule", "rule")
    callers = source.model.callers
    for index in range(len(callers) if isinstance(callers, list) else 0):
        missing = f"no test decides by item {index + 1} of `from`"
        yield element(source.position("from", index), missing, "from", index)
    for index in range(len(source.model.operations)):
        missing = f"no test decides by item {index + 1} of `to`"
        yield element(source.position("to", index), missing, "to", index)
    for index in range(len(source.conditions)):
        missing = "no test finds this condition false where all else fits"
        yield element(source.condition_position(index), missing, "when", index)
    if source.model.requires is not None:
        yield element(source.position("requires"), "no test lacks what this rule requires", "requires")
    for field in ("schedule", "valid"):
        if getattr(source.model, field) is not None:
            missing = f"no test asks outside of `{field}` where all else fits"
            yield element(source.position(field), missing, field)


class _Measure:
    """Collects what cases decide by."""

    def __init__(self, engine: Engine, sources: dict[str, RuleSource]) -> None:
        self._engine = engine
        self._sources = sources
        self._compiler = ConditionCompiler()
        self._rules = {(each.name, rule.id): rule for each in engine.plan.services for rule in each.rules}
        self._itemised: dict[tuple[str, str], tuple[ServiceIndex, list[tuple[int, int]]]] = {}
        self._conditions: dict[str, list[Program]] = {}
        self.covered: set[tuple[str, tuple[str | int, ...]]] = set()

    def add(self, facts: Facts) -> None:
        """Count one case."""
        decision = facts.decision
        if decision.reason is Reason.STEP_UP_REQUIRED and decision.rule is not None:
            self.covered.add((decision.rule, ("requires",)))
        elif decision.rule is not None and decision.reason in (Reason.ALLOWED, *_DENIALS_BY_RULES):
            self._decided(facts, decision.rule)
        for rule in decision.audited:
            self._decided(facts, rule)
        if decision.service is None:
            return
        denied = decision.reason in _DENIALS_BY_RULES
        for candidate, evaluation in facts.fitting(facts.index):
            rule_of_service = self._rules[facts.service.name, candidate.rule.id]
            if rule_of_service.effect == "deny" or not denied:
                self._not_decided(rule_of_service, candidate, evaluation)

    def _decided(self, facts: Facts, rule: str) -> None:
        self.covered.add((rule, ("rule",)))
        index, combinations = self._items(facts.service, rule)
        for candidate, evaluation in facts.fitting(index):
            if _holds(candidate, evaluation):
                caller, operation = combinations[candidate.rule.order]
                self.covered |= {(rule, ("from", caller)), (rule, ("to", operation))}

    def _items(self, service: Service, rule_id: str) -> tuple[ServiceIndex, list[tuple[int, int]]]:
        """A rule taken apart into one for each pair of items, and the pairs in order."""
        key = (service.name, rule_id)
        if key not in self._itemised:
            rule = self._rules[key]
            callers = [None] if rule.callers is None else [(item,) for item in rule.callers]
            operations = [None] if rule.operations is None else [(item,) for item in rule.operations]
            pairs = list(product(range(len(callers)), range(len(operations))))
            parts = [
                replace(rule, audit=False, callers=callers[caller], operations=operations[operation])
                for caller, operation in pairs
            ]
            self._itemised[key] = (self._index(service, parts), pairs)
        return self._itemised[key]

    def _index(self, service: Service, rules: list[Rule]) -> ServiceIndex:
        plan = Plan("", (replace(service, rules=tuple(rules)),))
        return PolicyIndex(plan, self._engine.runtime, self._engine.identity.identity_headers).named(service.name)

    def _not_decided(self, rule: Rule, candidate: Candidate, evaluation: Evaluation) -> None:
        """Count what alone keeps a rule, which fits by `from` and `to`, from deciding."""
        if not candidate.exists(evaluation.now):
            self.covered |= {(rule.id, (field,)) for field in _outside(rule, evaluation.now)}
        elif rule.condition is not None:
            programs = self._programs(rule)
            for captures in candidate.captures(evaluation.operation.path):
                false = [number for number, each in enumerate(programs) if not _true(each, evaluation, captures)]
                if len(false) == 1:
                    self.covered.add((rule.id, ("when", false[0])))

    def _programs(self, rule: Rule) -> list[Program]:
        """Each condition of a rule by itself."""
        if rule.id not in self._conditions:
            source = self._sources[rule.id]
            parts = source.conditions
            expressions = (
                [rule.condition] if len(parts) == 1 else [source.condition(self._compiler, [part]) for part in parts]
            )
            self._conditions[rule.id] = [self._engine.runtime.load(each) for each in expressions if each is not None]
        return self._conditions[rule.id]


def _outside(rule: Rule, now: float) -> Iterator[str]:
    """What keeps a rule from existing now."""
    times = rule.times or TimesItem()
    if not Times(replace(times, schedule=None)).include(now):
        yield "valid"
    if not Times(TimesItem(schedule=times.schedule)).include(now):
        yield "schedule"


def _holds(candidate: Candidate, evaluation: Evaluation) -> bool:
    if not candidate.exists(evaluation.now):
        return False
    if candidate.operation.effect == "deny":
        return denial(candidate, evaluation.operation, evaluation) is not None
    try:
        return permission(candidate, evaluation.operation, evaluation) is not None
    except EvaluationError:
        return False


def _true(program: Program, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
    """Whether a condition holds; one that cannot be evaluated does not."""
    try:
        return program.holds(evaluation, captures)
    except EvaluationError:
        return False
