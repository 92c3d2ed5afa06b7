"""The rules of a service, asked about a request of which not all is known.

A rule of which nobody can say whether it fits is kept in its place. When its turn comes, because no rule before it has
decided, the request is undecidable, unless the rule's time or conditions say that it would not apply in any case.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from msgspec.structs import replace

from authz_server.model import User, Workload
from authz_server.policy.callers import ANY_USER, Caller, Key
from authz_server.policy.conditions import Evaluation, EvaluationError, Program
from authz_server.policy.index import Candidate, ServiceIndex
from authz_server.policy.operation_index import OperationIndex
from authz_server.policy.plan import CallerItem, Plan
from authz_server.policy.times import Times
from authz_server.replay.recorded import NotRecorded
from authz_server.request.operation import Operation

Names = Mapping[str, frozenset[str]]
"""What policies name of users: `group`, `role` and `scope` -> names."""
_FIELDS = {"group": "groups", "role": "roles", "scope": "scopes"}


class RecordedCaller(Caller):
    """A caller of whom groups, roles and scopes may not be known: rules for any of them may fit, and are asked."""

    def __init__(self, workload: Workload | None, user: User | None, ip: Any, names: Names) -> None:  # noqa: ANN401
        super().__init__(workload, user, ip)
        self._names = names

    def keys(self) -> list[Key]:
        """Everything that the caller has or may have."""
        if self._keys is None and self.user is not None:
            keys: list[Key] = [] if self.workload is None else [("workload", self.workload.id.text)]
            keys += [ANY_USER, ("subject", self.user.subject)]
            for kind, field in _FIELDS.items():
                try:
                    names = getattr(self.user, field)
                except NotRecorded:
                    names = self._names[kind]
                keys += [(kind, name) for name in names]
            self._keys = keys
        return super().keys()


def names_of(plan: Plan) -> Names:
    """The groups, roles and scopes that policies name."""
    found: dict[str, set[str]] = {kind: set() for kind in _FIELDS}

    def collect(items: Iterable[CallerItem]) -> None:
        for item in items:
            for kind, field in _FIELDS.items():
                found[kind].update(() if item.users is None else getattr(item.users, field))
            collect(item.any_of)

    for service in plan.services:
        for rule in service.rules:
            collect(rule.callers or ())
    return {kind: frozenset(names) for kind, names in found.items()}


class RecordedService(ServiceIndex, frozen=True):
    """A service that is asked about recorded requests."""

    @classmethod
    def of(cls, service: ServiceIndex) -> "RecordedService":
        """The same service."""
        return cls(**{name: getattr(service, name) for name in service.__struct_fields__})

    def fitting(self, index: OperationIndex[Candidate], operation: Operation, caller: Caller) -> Iterator[Candidate]:
        """The candidates that fit, and in their places those that may; those raise NotRecorded if they matter."""
        found: list[tuple[Candidate, NotRecorded | None]] = []
        for callers in index.find(operation):
            for candidate in callers.find(caller):
                try:
                    if _fits(candidate, caller, operation):
                        found.append((candidate, None))
                except NotRecorded as error:
                    found.append((candidate, error))
        # Of two ways in which one allow rule fits, that which is known is enough. A deny rule may fail in one of them.
        allows = index is not self.deny and (self.rehearsal is None or index is not self.rehearsal.deny)
        found.sort(key=lambda each: (each[0].rule.order, allows and each[1] is not None))
        for candidate, unknown in found:
            if unknown is None:
                yield candidate
            elif index is self.allow_with_user:
                yield _doubtful(candidate, times=_DoubtfulTimes(candidate.rule.times, unknown))
            else:
                yield _doubtful(candidate, condition=_DoubtfulCondition(candidate.rule.condition, unknown))


def _fits(candidate: Candidate, caller: Caller, operation: Operation) -> bool:
    """Whether both fit; that one of them does not is enough."""
    try:
        if not candidate.operation.fits(operation):
            return False
    except NotRecorded:
        if candidate.callers is not None and not candidate.callers.fits(caller):
            return False
        raise
    return candidate.callers is None or candidate.callers.fits(caller)


def _doubtful(candidate: Candidate, **fields: object) -> Candidate:
    return candidate._replace(rule=replace(candidate.rule, **fields))


class _DoubtfulCondition:
    """The condition of a rule that may fit: false where it is, and otherwise the request is undecidable."""

    def __init__(self, condition: Program | None, unknown: NotRecorded) -> None:
        self._condition = condition
        self._unknown = unknown

    def holds(self, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
        try:
            holds = self._condition is None or self._condition.holds(evaluation, captures)
        except EvaluationError:
            holds = True
        if holds:
            raise self._unknown
        return cast("bool", holds)


class _DoubtfulTimes:
    """The times of a rule that may fit: not there where it is not, and otherwise the request is undecidable."""

    def __init__(self, times: Times | None, unknown: NotRecorded) -> None:
        self._times = times
        self._unknown = unknown

    def include(self, now: float) -> bool:
        if self._times is None or self._times.include(now):
            raise self._unknown
        return False
