"""Loaded expressions, evaluated for requests."""

import re
from collections.abc import Mapping

from cel_expr_python import cel

from authz_server.policy.conditions.environment import new_environment
from authz_server.policy.conditions.evaluation import Evaluation, EvaluationError
from authz_server.policy.conditions.needs import map_keys, split_read
from authz_server.policy.conditions.reads import MAX_ELEMENTS
from authz_server.policy.conditions.variables import longest
from authz_server.policy.plan import Expression

_UNBOUND = re.compile(r'No value with name "([^"]+)"')
_NO_KEY = re.compile(r'Key not found in map : "(.*)"', re.DOTALL)


class Program:
    """One expression, ready to be evaluated any number of times, by several threads."""

    def __init__(self, expression: Expression, environment: cel.Env) -> None:
        self.reads = expression.reads
        self._environment = environment
        self._compiled = environment.deserialize(expression.ast)
        self._keys = map_keys(expression.reads)
        self._reads_captures = any(variable == "path" for variable, _ in self._keys)
        self._builds_lists = expression.builds_lists

    def holds(self, evaluation: Evaluation, captures: Mapping[str, str]) -> bool:
        """Whether a condition holds. Raises EvaluationError where that cannot be known."""
        result = self._evaluate(evaluation, captures)
        value = result.value()
        # The value of an error is a text, and so is true.
        if value is True or value is False:
            return value
        raise EvaluationError(self._explain(evaluation, str(value)))

    def text(self, evaluation: Evaluation, captures: Mapping[str, str]) -> str:
        """The text that an expression computes. Raises EvaluationError where it cannot."""
        result = self._evaluate(evaluation, captures)
        value = result.value()
        # The value of an error is a text as well.
        if result.type() == cel.Type.STRING and isinstance(value, str):
            return value
        raise EvaluationError(self._explain(evaluation, str(value)))

    def _evaluate(self, evaluation: Evaluation, captures: Mapping[str, str]) -> cel.Value:
        if self._builds_lists:
            self._check_sizes(evaluation)
        activation = evaluation.activation(self._environment, captures if self._reads_captures else None, self._keys)
        try:
            return self._compiled.eval(activation)
        except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            # The limit of 9,999 iterations arrives here; nothing of the message is ours to show.
            raise EvaluationError("the expression goes through more elements than the engine allows") from error

    def _check_sizes(self, evaluation: Evaluation) -> None:
        data = evaluation.data()
        for variable in {split_read(read)[0] for read in self.reads}:
            if longest(data.get(variable)) > MAX_ELEMENTS:
                raise EvaluationError(f"`{variable}` has more than {MAX_ELEMENTS} elements, too many for map or filter")

    def _explain(self, evaluation: Evaluation, engine_message: str) -> str:
        """What went wrong, without a value: the engine's own message may quote the request."""
        if match := _UNBOUND.search(engine_message):
            return evaluation.why_unusable(match[1], self._keys) or f"there is no `{match[1]}`"
        if match := _NO_KEY.search(engine_message):
            for read in self.reads:
                if read.endswith((f".{match[1]}", f"[{match[1]}]")):
                    return f"`{read}` is missing"
            return "a key is missing"
        if "no such overload" in engine_message or "No matching overloads" in engine_message:
            return "a value is of another type than the expression needs"
        return "a value is out of the range of what the expression does with it"


class ConditionRuntime:
    """Loads the expressions of one snapshot; the same expression is loaded once."""

    def __init__(self) -> None:
        self._environment = new_environment()
        self._programs: dict[str, Program] = {}

    def load(self, expression: Expression) -> Program:
        """Make a checked expression ready. Raises RuntimeError where it is not one of this version's compiler."""
        program = self._programs.get(expression.source)
        if program is None:
            program = self._programs[expression.source] = Program(expression, self._environment)
        return program
