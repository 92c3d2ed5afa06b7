"""What a condition can come to, whatever the request: found by its checked expression alone.

Comparisons of one attribute with constants are tried together, with every value that they tell apart; any other part
may come to anything.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from authz_server.analysis.attributes import Attribute, another, asked_by, constant_of
from authz_server.policy.conditions.checked import Expr, Parsed
from authz_server.policy.conditions.environment import MESSAGES, SCALARS
from authz_server.policy.conditions.reads import chain
from authz_server.policy.plan import Expression

MAX_COMBINATIONS = 2_048
_MISSING = object()
_ANYTHING = frozenset({True, False, None})
Outcomes = frozenset[bool | None]
"""None: it cannot be evaluated."""


def outcomes(expression: Expression, given: Mapping[Attribute, Sequence[Any]], present: Collection[str]) -> Outcomes:
    """All that a condition can come to.

    `given` are the only values that some attributes have here, and `present` the messages that are always there.
    """
    asked = asked_by(expression)
    values = {attribute: _values(attribute, known, given, present) for attribute, known in asked.values.items()}
    number = 1
    for each in values.values():
        number *= len(each)
    if number > MAX_COMBINATIONS:
        return _ANYTHING
    expr = Parsed(expression.ast).expr
    found: set[bool | None] = set()
    for chosen in product(*values.values()):
        found |= _Evaluation(dict(zip(values, chosen, strict=True))).of(expr)
        if found == _ANYTHING:
            break
    return frozenset(found)


def _values(
    attribute: Attribute, known: Sequence[Any], given: Mapping[Attribute, Sequence[Any]], present: Collection[str]
) -> Sequence[Any]:
    if attribute in given:
        return given[attribute]
    variable = attribute[0]
    if variable in SCALARS:
        return [True, False] if variable != "now" else [_MISSING]
    # A field of a message is missing where the message is: there is no user, or no workload.
    return [*known, another(known), *([] if variable in present else [_MISSING])]


class _Evaluation:
    def __init__(self, chosen: Mapping[Attribute, Any]) -> None:
        self._chosen = chosen

    def of(self, expr: Expr) -> Outcomes:
        """What the part comes to."""
        kind = expr.WhichOneof("expr_kind")
        constant = constant_of(expr)
        if isinstance(constant, bool):
            return frozenset({constant})
        if kind == "call_expr":
            return self._call(expr.call_expr)
        if kind == "select_expr" and expr.select_expr.test_only:
            found = chain(expr)
            if found is not None and found in self._chosen:
                return frozenset({self._chosen[found] is not _MISSING})
            return _ANYTHING
        found = chain(expr)
        if found is not None and found in self._chosen:
            value = self._chosen[found]
            return frozenset({value if isinstance(value, bool) else None})
        return _ANYTHING

    def _call(self, call: Expr.Call) -> Outcomes:
        function = call.function
        if function == "!_":
            return frozenset(None if one is None else not one for one in self.of(call.args[0]))
        if function in ("_&&_", "_||_"):
            # What decides alone, whatever the other side comes to.
            decides = function == "_||_"
            pairs = product(self.of(call.args[0]), self.of(call.args[1]))
            return frozenset(decides if decides in pair else None if None in pair else not decides for pair in pairs)
        if function in ("_==_", "_!=_") and len(call.args) == 2:
            return self._equality(call, negated=function == "_!=_")
        if function == "@in":
            return self._membership(call)
        return _ANYTHING

    def _equality(self, call: Expr.Call, *, negated: bool) -> Outcomes:
        for subject, other in (call.args, reversed(call.args)):
            constant, found = constant_of(other), chain(subject)
            if constant is None:
                continue
            if (left := constant_of(subject)) is not None:
                return frozenset({(left == constant) is not negated})
            if found is not None and found in self._chosen:
                return self._compared(self._chosen[found], [constant], negated=negated)
        return _ANYTHING

    def _membership(self, call: Expr.Call) -> Outcomes:
        subject, container = call.args
        found, constant = chain(subject), constant_of(subject)
        if found is not None and found in self._chosen and container.HasField("list_expr"):
            elements = [constant_of(element) for element in container.list_expr.elements]
            if None not in elements:
                return self._compared(self._chosen[found], elements, negated=False)
        inside = chain(container)
        if inside is not None and not inside[1] and inside[0] not in MESSAGES and isinstance(constant, str):
            member = (inside[0], (constant,))
            return frozenset({self._chosen[member] is not _MISSING}) if member in self._chosen else _ANYTHING
        return _ANYTHING

    def _compared(self, value: Any, constants: Sequence[Any], *, negated: bool) -> Outcomes:  # noqa: ANN401
        if value is _MISSING:
            return frozenset({None})
        if isinstance(value, list):
            return _ANYTHING
        equal = any(isinstance(value, bool) == isinstance(each, bool) and value == each for each in constants)
        return frozenset({equal is not negated})
