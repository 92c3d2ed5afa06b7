"""Why a rule did not apply: the first of its demands that the request does not meet.

Nothing here knows when a demand is met. A rule is taken apart into rules that demand one thing more each, the last of
them the rule itself, and the engine is asked about each; so what is said cannot disagree with what is decided.
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from authz_server.errors import Reason
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.demands import Demand, ways, without_demands
from authz_server.policy.index import PolicyIndex
from authz_server.policy.plan import EMPTY_ANSWER, Effect, Plan, Rule, Service
from authz_server.request.operation import Operation

FITS = "fits"
_APPLIES = (Reason.ALLOWED, Reason.DENIED_BY_RULE)
_ABOUT_OPERATION = frozenset({"upgrade", "paths", "grpc", "methods", "hosts", "ports"})
_ELSEWHERE = frozenset({"upgrade", "paths", "grpc"})
_KNOWN_BY = {"paths": ("path.", "path["), "users": ("user.",), "workloads": ("workload.", "certificate.")}
"""What conditions read that nobody can tell where a demand is not met, such as captures of a path."""


class RuleOutcome(Struct, frozen=True):
    """What came of one rule: `fits`, or what did not; also of a rule in audit, which changes nothing."""

    rule: str
    effect: Effect
    outcome: str


class Lack(Struct, frozen=True):
    """One thing that a rule demands and a request does not meet."""

    demand: str
    """The key of the policy language: `scopes`."""
    found: str
    """What came, and what is wanted."""
    known: bool = True
    """Else nobody can tell whether it is met."""


class NearRule(Struct, frozen=True):
    """An allow rule, and everything that it lacks in the way that lacks least."""

    rule: str
    location: str
    """`file:line:column`."""
    lacks: tuple[Lack, ...]
    condition: str | None = None
    """Where that is false or cannot be evaluated: what `when` says."""


class ReadingOutcome(Struct, frozen=True):
    """What is decided about one reading of a path; `how` is what a backend has done to it."""

    path: str
    how: str
    reason: Reason
    rule: str | None


class Explained(Struct, frozen=True):
    """What came of the rules in the reading that decided, and of all readings, where there are several."""

    rules: list[RuleOutcome] = []
    readings: list[ReadingOutcome] = []
    nearest: list[NearRule] = []
    """Allow rules that lack least, and do not fit."""


class _Misfit(NamedTuple):
    reached: int
    """How many demands came before it."""
    lack: Lack


class Explanation:
    """One request, to be held against the rules of the service that it was decided by."""

    def __init__(
        self,
        service: Service,
        runtime: ConditionRuntime,
        identity_headers: Iterable[str],
        operation: Operation,
        caller: Caller,
        evaluation: Evaluation,
    ) -> None:
        self._service = service
        self._runtime = runtime
        self._identity_headers = tuple(identity_headers)
        self._operation = operation
        self._caller = caller
        self._evaluation = evaluation

    def outcomes(self) -> list[RuleOutcome]:
        """Every rule of the service, in order, with what came of it."""
        return [RuleOutcome(rule.id, rule.effect, self.outcome(rule)) for rule in self._service.rules]

    def outcome(self, rule: Rule) -> str:
        """`fits`, or the first thing that does not; of several ways to fit, that of the way that came furthest."""
        furthest: _Misfit | None = None
        for way in ways(rule, self._operation, self._caller):
            first = next(self._misfits(rule, way), None)
            if first is None:
                return FITS
            if furthest is None or first.reached > furthest.reached:
                furthest = first
        return FITS if furthest is None else furthest.lack.found

    def nearest(self, number: int) -> list[NearRule]:
        """The allow rules that lack least, and do not fit; those for other paths only where there are no others."""
        found = []
        for rule in self._service.rules if number else ():
            lacks = self._lacks(rule) if rule.effect == "allow" and not rule.audit else ()
            if lacks:
                on_condition = any(lack.demand == "when" for lack in lacks) and rule.condition is not None
                condition = rule.condition.source if on_condition and rule.condition is not None else None
                elsewhere, *distance = _distance(lacks)
                place = (elsewhere, -_shared(rule, self._operation) if elsewhere else 0, *distance)
                found.append((place, NearRule(rule.id, rule.location, lacks, condition)))
        # Sorted by distance alone, so that rules keep their order.
        found.sort(key=lambda pair: pair[0])
        here = [near for place, near in found if not place[0]]
        return (here or [near for _, near in found])[:number]

    def _lacks(self, rule: Rule) -> tuple[Lack, ...]:
        """Everything that the way lacks which lacks least; nothing where the rule fits."""
        each_way = [
            tuple(misfit.lack for misfit in self._misfits(rule, way))
            for way in ways(rule, self._operation, self._caller)
        ]
        return min(each_way, key=_distance, default=())

    def _misfits(self, rule: Rule, way: Iterable[Demand]) -> Iterator[_Misfit]:
        """What is not met, as if it were not demanded for what comes after it."""
        so_far, unknown = without_demands(rule), list[str]()
        for reached, demand in enumerate(way):
            wanted = demand.add(so_far)
            if not demand.stated or any(read.startswith(tuple(unknown)) for read in _reads(wanted)):
                continue
            found = self._misfit(wanted, demand)
            if found is None:
                so_far = wanted
                continue
            yield _Misfit(reached, found)
            if demand.name == "upgrade":
                # No rule fits an upgrade that it does not name, so nothing can be told of the rest.
                return
            if demand.name != "workloads" or self._caller.workload is None:
                unknown += _KNOWN_BY.get(demand.name, ())

    def _misfit(self, rule: Rule, demand: Demand) -> Lack | None:
        """What to say of the last demand of a rule; None where it is met."""
        verdict = self._verdict(rule)
        if verdict.reason in _APPLIES:
            return None
        said = demand.misfit() if verdict.detail is None else _not_evaluated(rule, verdict.detail)
        return Lack(demand.name, said)

    def _verdict(self, rule: Rule) -> Verdict:
        """What the engine would decide if this were the only rule."""
        alone = replace(self._service, rules=(rule,))
        index = PolicyIndex(Plan("", (alone,)), self._runtime, self._identity_headers)
        service = index.service(self._operation, alone.name)
        assert service is not None  # noqa: S101 - it was just put there
        return decide(service, self._operation, self._caller, self._evaluation, credential_came=True)


def _distance(lacks: tuple[Lack, ...]) -> tuple[bool, int, int]:
    """Another path is further away than anything else about the operation, and that than what is about the caller."""
    about_operation = sum(lack.demand in _ABOUT_OPERATION for lack in lacks)
    return any(lack.demand in _ELSEWHERE for lack in lacks), about_operation, len(lacks) - about_operation


def _shared(rule: Rule, operation: Operation) -> int:
    """How many segments of the path a rule for another path has at its beginning."""
    templates = [path for item in rule.operations or () for path in item.paths]
    templates += [f"/{item.grpc.service}" for item in rule.operations or () if item.grpc is not None]
    return max((_leading(template, operation.path.segments) for template in templates), default=0)


def _leading(template: str, segments: tuple[str, ...]) -> int:
    pairs = zip(template.split("/")[1:], segments, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1] or pair[0].startswith(("{", "*")), pairs))


def _reads(rule: Rule) -> Iterator[str]:
    for expression in rule.expressions():
        yield from expression.reads


def _not_evaluated(rule: Rule, detail: str) -> str:
    what = "condition" if rule.answer == EMPTY_ANSWER else "answer"
    return f"the {what} could not be evaluated: {detail.removeprefix(f'{rule.id}: ')}"
