"""Conditions whose outcome is supposed, where no request was found that decides it."""

from collections.abc import Mapping

from authz_server.policy.conditions import ConditionRuntime, Evaluation, EvaluationError, Program
from authz_server.policy.plan import Expression

Question = tuple[str, tuple[tuple[str, str], ...]]
"""The text of a condition, and the captures for which it is asked."""
Suppositions = dict[Question, bool | None]
"""None: it cannot be evaluated."""


def question(source: str, captures: Mapping[str, str]) -> Question:
    """What is supposed: a condition may hold for one reading of a path, and not for another."""
    return source, tuple(sorted(captures.items()))


class SupposedProgram(Program):
    """A condition that holds where that is supposed, and is evaluated where nothing is."""

    def __init__(self, expression: Expression, program: Program, suppositions: Suppositions) -> None:
        self.reads = expression.reads
        self._source = expression.source
        self._program = program
        self._suppositions = suppositions

    def holds(self, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
        """What is supposed. Raises EvaluationError where that is supposed."""
        asked = question(self._source, captures)
        if asked not in self._suppositions:
            return self._program.holds(evaluation, captures)
        supposed = self._suppositions[asked]
        if supposed is None:
            raise EvaluationError("supposed to fail")
        return supposed

    def text(self, evaluation: Evaluation, captures: Mapping[str, str]) -> str:
        """What the expression computes."""
        return self._program.text(evaluation, captures)


class SupposingRuntime(ConditionRuntime):
    """Loads conditions that ask the suppositions first, which may change between evaluations."""

    def __init__(self, suppositions: Suppositions) -> None:
        super().__init__()
        self._suppositions = suppositions

    def load(self, expression: Expression) -> Program:
        """Make a checked expression ready."""
        return SupposedProgram(expression, super().load(expression), self._suppositions)
