"""Loaded expressions, evaluated for requests."""

import re
from collections.abc import Mapping
from weakref import WeakValueDictionary

from cel_expr_python import cel

from authz_server.errors import Reason, Refused
from authz_server.policy.conditions.bindings import bindings
from authz_server.policy.conditions.checked import Parsed
from authz_server.policy.conditions.direct import ForTheEngine, direct
from authz_server.policy.conditions.environment import evaluating_environment
from authz_server.policy.conditions.evaluation import Evaluation, EvaluationError, Needs
from authz_server.policy.plan import Expression

_UNBOUND = re.compile(r'No value with name "([^"]+)"')
_NO_KEY = re.compile(r'Key not found in map : "(.*)"', re.DOTALL)


class Program:
    """One expression, ready to be evaluated any number of times."""

    def __init__(self, expression: Expression, needs: Needs) -> None:
        self.reads = expression.reads
        self._needs = needs
        self._compiled = needs.environment.deserialize(expression.ast)
        self._direct = None if expression.iterates else direct(Parsed(expression.ast).expr)

    def holds(self, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
        """Whether a condition holds. Raises EvaluationError where that cannot be known."""
        value = self._directly(evaluation, captures)
        if value is True or value is False:
            return value
        value = self._evaluate(evaluation, captures).value()
        # The value of an error is a text, and so is true.
        if value is True or value is False:
            return value
        raise self._failure(evaluation, captures, str(value))

    def text(self, evaluation: Evaluation, captures: Mapping[str, str]) -> str:
        """The text that an expression computes. Raises EvaluationError where it cannot."""
        value = self._directly(evaluation, captures)
        if isinstance(value, str):
            return value
        result = self._evaluate(evaluation, captures)
        value = result.value()
        # The value of an error is a text as well.
        if result.type() == cel.Type.STRING and isinstance(value, str):
            return value
        raise self._failure(evaluation, captures, str(value))

    def _directly(self, evaluation: Evaluation, captures: Mapping[str, str]) -> object:
        """The value where the engine is not needed for it; None where it is."""
        if self._direct is None:
            return None
        try:
            return self._direct(evaluation.data(self._needs, captures))
        except (LookupError, ForTheEngine):
            return None

    def _evaluate(self, evaluation: Evaluation, captures: Mapping[str, str]) -> cel.Value:
        known = None if self._needs.reads_path else evaluation.known
        if known is None:
            return self._computed(evaluation, captures)
        if self not in known:
            try:
                known[self] = self._computed(evaluation, captures)
            except EvaluationError as error:
                known[self] = error
        value = known[self]
        if isinstance(value, EvaluationError):
            raise value
        return value

    def _computed(self, evaluation: Evaluation, captures: Mapping[str, str]) -> cel.Value:
        if evaluation.is_late():
            # Not an error of the expression, of which an allow rule would make nothing.
            raise Refused(Reason.DEADLINE, "the conditions take longer than there is time")
        activation = evaluation.activation(self._needs, captures)
        try:
            return self._compiled.eval(activation)
        except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            # Most failures are values; the limit of 9,999 iterations is one that is raised.
            raise EvaluationError("the engine gave up: too many elements to go through") from error

    def _failure(self, evaluation: Evaluation, captures: Mapping[str, str], engine_message: str) -> EvaluationError:
        """What went wrong, without a value: the engine's own message may quote the request."""
        if match := _UNBOUND.search(engine_message):
            return evaluation.why_unbound(self._needs, match[1], captures)
        if match := _NO_KEY.search(engine_message):
            missing = [read for read in self.reads if read.endswith((f".{match[1]}", f"[{match[1]}]"))]
            return EvaluationError(f"`{missing[0]}` is missing" if missing else "a key is missing")
        if "overload" in engine_message:
            return EvaluationError("a value is of another type than the expression needs")
        return EvaluationError("a value is outside what the expression can work with")


class ConditionRuntime:
    """Loads expressions for policies; as long as some of these hold an expression, it is loaded once for all.

    So policies that are asked about the same request share what their conditions read of it.
    """

    program: type[Program] = Program
    """What expressions become."""

    def __init__(self) -> None:
        self._environment = evaluating_environment()
        self._needs: WeakValueDictionary[tuple[tuple[str, ...], bool], Needs] = WeakValueDictionary()
        self._programs: WeakValueDictionary[tuple[str, bytes], Program] = WeakValueDictionary()

    def load(self, expression: Expression) -> Program:
        """Make a checked expression ready. Raises RuntimeError where another version's compiler made it."""
        # The text alone does not say what it means to another version's compiler.
        key = (expression.source, expression.ast)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self.program(expression, self._needs_of(expression))
        return program

    def _needs_of(self, expression: Expression) -> Needs:
        key = (expression.reads, expression.iterates)
        needs = self._needs.get(key)
        if needs is None:
            variables = bindings(expression.reads)
            reads_path = any(read.startswith(("request.path", "path.", "path[")) for read in expression.reads)
            needs = self._needs[key] = Needs(
                self._environment, variables, expression.reads, iterates=expression.iterates, reads_path=reads_path
            )
        return needs
