"""Conditions of which some variables are not known: they hold, or do not, where no value of those could change that.

A variable that is not on record is left out, which makes an error of what uses it; and an error beside what is false in
`&&`, or true in `||`, does not count. So a condition that still has a value has it whatever the variable is.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from authz_server.model import User, Workload
from authz_server.policy.conditions import ConditionRuntime, Evaluation, EvaluationError, Program
from authz_server.policy.conditions.evaluation import Needs
from authz_server.policy.conditions.values import Unusable
from authz_server.replay.recorded import Facts, NotRecorded
from authz_server.replay.unknowns import RecordedMembers, RecordedOperation
from authz_server.request.operation import Operation


class RecordedEvaluation(Evaluation):
    """One recorded request, for any number of expressions."""

    unusable = (Unusable, NotRecorded)

    def __init__(
        self, facts: Facts, operation: RecordedOperation, workload: Workload | None, user: User | None, now: float
    ) -> None:
        super().__init__(cast("Operation", operation), workload, user, now)
        self._facts = facts
        self._reads: tuple[str, ...] = ()

    def data(self, needs: Needs, captures: Mapping[str, str]) -> dict[str, object]:
        """The variables that are needed, and on record."""
        self._reads = needs.reads
        return super().data(needs, captures)

    def check_known(self, needs: Needs, captures: Mapping[str, str]) -> None:
        """Raises NotRecorded where a variable is not on record."""
        self._reads = needs.reads
        for _, binding in needs.items:
            try:
                binding(self, captures)
            except Unusable:
                continue

    def query(self) -> Any:  # noqa: ANN401 - a mapping that raises
        """The parameters of the query, as far as they are on record."""
        return RecordedMembers(self._facts, "request.query")

    @property
    def has_body(self) -> bool:
        """Whether the client sent a body."""
        return bool(self._facts.present("has_body"))

    def body(self) -> Any:  # noqa: ANN401 - any value of JSON
        """A body that has what the expression reads of it. Raises NotRecorded where that is not on record."""
        return _body_with(self._facts, [read for read in self._reads if read.startswith("body")])

    def metadata(self, namespace: str) -> dict[str, Any] | None:
        """Of metadata there is not enough on record."""
        raise NotRecorded(f"metadata[{namespace}]")

    def namespaces(self) -> tuple[str, ...]:
        """Of metadata there is not enough on record."""
        raise NotRecorded("metadata[*]")


class RecordedProgram(Program):
    """An expression that is asked about recorded requests. Raises NotRecorded where its value is not known."""

    def holds(self, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
        """Whether the condition holds, whatever is not on record."""
        self._check_macros(evaluation, captures)
        try:
            return super().holds(evaluation, captures)
        except EvaluationError:
            _recorded(evaluation).check_known(self._needs, captures)
            raise

    def text(self, evaluation: Evaluation, captures: Mapping[str, str]) -> str:
        """The text that an expression computes."""
        self._check_macros(evaluation, captures)
        try:
            return super().text(evaluation, captures)
        except EvaluationError:
            _recorded(evaluation).check_known(self._needs, captures)
            raise

    def _check_macros(self, evaluation: Evaluation, captures: Mapping[str, str]) -> None:
        # A macro fails where any variable is too long, whether it is used or not.
        if self._needs.iterates:
            _recorded(evaluation).check_known(self._needs, captures)


class RecordedRuntime(ConditionRuntime):
    """Loads expressions for recorded requests."""

    program = RecordedProgram


def _recorded(evaluation: Evaluation) -> RecordedEvaluation:
    assert isinstance(evaluation, RecordedEvaluation)  # noqa: S101 - a recorded program gets nothing else
    return evaluation


def _body_with(facts: Facts, reads: Iterable[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    given: list[str] = []
    for read in sorted(reads):
        if not read.startswith("body."):
            raise NotRecorded(read)
        value = facts.present(read)
        if any(read.startswith(f"{outer}.") for outer in given):
            continue
        given.append(read)
        *outer_keys, key = read.split(".")[1:]
        inner = body
        for outer_key in outer_keys:
            inner = inner.setdefault(outer_key, {})
        inner[key] = value
    return body
