"""What conditions ask about: attributes, the values that their constants set apart, and what is left unknown.

An expression that consists of comparisons of attributes with constants is `exact`: the values found here are one of
each kind that it tells apart. Of any other the values are only worth a try.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from authz_server.policy.conditions.bindings import split_read
from authz_server.policy.conditions.checked import Expr, Parsed
from authz_server.policy.conditions.environment import SCALARS, WITHIN
from authz_server.policy.conditions.reads import chain
from authz_server.policy.plan import Expression

_CONNECTIVES = frozenset({"_&&_", "_||_", "!_", "_?_:_"})
_ORDERS = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_OF_TEXT = frozenset({"startsWith", "endsWith", "contains"})
_COMPARISONS = frozenset({"_==_", "_!=_"})

Attribute = tuple[str, tuple[str, ...]]
"""Variable and keys: `("user.claims", ("level",))`."""


class Asked(Struct):
    """What one expression asks of requests."""

    reads: frozenset[str]
    values: dict[Attribute, list[Any]]
    """By attribute, the values that are set apart, beside one that is none of them and none at all."""
    exact: bool


def asked_by(expression: Expression) -> Asked:
    """Take an expression apart."""
    try:
        expr = Parsed(expression.ast).expr
    except ValueError:
        return Asked(frozenset(expression.reads), {}, exact=False)
    walk = _Walk()
    exact = walk.condition(expr)
    for read in expression.reads:
        variable, part = split_read(read)
        if variable not in SCALARS and variable not in WITHIN and part != "*":
            keys = tuple(read[len(variable) + 1 :].split(".")) if read.startswith(f"{variable}.") else (part,)
            walk.values.setdefault((variable, keys), [])
    if not exact:
        texts = list(dict.fromkeys(walk.constants))
        for values in walk.values.values():
            values += [text for text in texts if text not in values]
    return Asked(frozenset(expression.reads), walk.values, exact)


class _Walk:
    """One walk over an expression: collects constants by what they are compared with."""

    def __init__(self) -> None:
        self.values: dict[Attribute, list[Any]] = {}
        self.constants: list[Any] = []

    def condition(self, expr: Expr) -> bool:
        """Whether the part is a condition on attributes and constants alone."""
        kind = expr.WhichOneof("expr_kind")
        if kind == "call_expr" and expr.call_expr.function in _CONNECTIVES:
            # Each of them, because of what they name.
            parts = [self.condition(argument) for argument in expr.call_expr.args]
            return all(parts)
        if kind == "call_expr" and (found := self._comparison(expr.call_expr)) is not None:
            return found
        if kind == "const_expr":
            return isinstance(constant_of(expr), bool)
        if kind == "select_expr" and expr.select_expr.test_only:
            return self._attribute(expr, ())
        if self._attribute(expr, (True, False)):
            return True
        self.constants += list(_constants(expr))
        return False

    def _comparison(self, call: Expr.Call) -> bool | None:
        """Whether a comparison is one of an attribute with constants; None where the call is none at all."""
        function, arguments = call.function, list(call.args)
        if function in _COMPARISONS or function in _ORDERS:
            for subject, other in (arguments, reversed(arguments)):
                if (constant := constant_of(other)) is not None:
                    near = _near(constant) if function in _ORDERS else (constant,)
                    if self._attribute(subject, near):
                        return True
            return None
        if function == "@in" and arguments[1].HasField("list_expr"):
            elements = [constant_of(element) for element in arguments[1].list_expr.elements]
            return True if None not in elements and self._attribute(arguments[0], elements) else None
        if function == "@in" and (constant := constant_of(arguments[0])) is not None:
            container = chain(arguments[1])
            if container is not None and not container[1]:
                return self._add((container[0], (str(constant),)), ())
            return True if self._attribute(arguments[1], ([constant],)) else None
        if function in _OF_TEXT and len(arguments) == 1:
            constant = constant_of(arguments[0])
            if isinstance(constant, str) and self._attribute(call.target, (constant, f"{constant}x", f"x{constant}")):
                return False
        return None

    def _attribute(self, expr: Expr, values: Iterable[Any]) -> bool:
        if _is_within(expr):
            return True
        found = chain(expr)
        if found is None or (not found[1] and found[0] not in SCALARS):
            return False
        return self._add(found, values)

    def _add(self, attribute: Attribute, values: Iterable[Any]) -> bool:
        known = self.values.setdefault(attribute, [])
        known += [value for value in values if not any(_same(value, one) for one in known)]
        return attribute[0] != "now"


def another(known: Sequence[Any]) -> str:
    """A text that is none of the known values."""
    return next(text for text in ("x", "y", "z", "another value") if text not in known)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _is_within(expr: Expr) -> bool:
    call = expr.call_expr
    return call.function == "_[_]" and call.args[0].ident_expr.name in WITHIN


def _near(constant: Any) -> tuple[Any, ...]:  # noqa: ANN401  # any constant
    """Values on both sides of a bound, and the bound."""
    if isinstance(constant, str):
        return constant, f"{constant}x", constant[:-1]
    return constant - 1, constant, constant + 1


def constant_of(expr: Expr) -> Any:  # noqa: ANN401  # any constant
    """The value of a literal; None for anything else, and for the literal null."""
    if expr.WhichOneof("expr_kind") != "const_expr":
        return None
    kind = expr.const_expr.WhichOneof("constant_kind")
    if kind not in ("string_value", "bool_value", "int64_value", "double_value"):
        return None
    return getattr(expr.const_expr, kind)


def _constants(expr: Expr) -> Iterator[str | int]:
    """The texts and numbers anywhere in a part."""
    for part in parts_of(expr):
        constant = constant_of(part)
        if isinstance(constant, str | int):
            yield constant


def parts_of(expr: Expr) -> Iterator[Expr]:
    """A part and all that it is made of."""
    yield expr
    for inner in children(expr):
        yield from parts_of(inner)


def children(expr: Expr) -> list[Expr]:
    """What a part is made of directly."""
    match expr.WhichOneof("expr_kind"):
        case "select_expr":
            return [expr.select_expr.operand]
        case "call_expr":
            call = expr.call_expr
            return [*([call.target] if call.HasField("target") else []), *call.args]
        case "list_expr":
            return list(expr.list_expr.elements)
        case "struct_expr":
            return [part for entry in expr.struct_expr.entries for part in (entry.map_key, entry.value)]
        case "comprehension_expr":
            loop = expr.comprehension_expr
            return [loop.iter_range, loop.accu_init, loop.loop_condition, loop.loop_step, loop.result]
    return []
