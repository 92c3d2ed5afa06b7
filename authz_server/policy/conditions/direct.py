"""The common forms of expressions, evaluated without the engine.

The engine takes few microseconds, but its code drives the rest of a check out of the processor's caches, which costs
several times as much (decision 19). So what most conditions consist of, comparisons of texts, is done here.

Nothing here has an opinion of its own. An expression that has any other part is the engine's, and so is each
evaluation in which a value is missing, or of another type than it is compared with: whatever is answered here is what
the engine would answer, and every error is the engine's.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from operator import eq, ge, gt, le, lt, ne
from typing import Any, NamedTuple

from cel_expr_python import cel
from google.protobuf.descriptor import FieldDescriptor

from authz_server.policy.conditions.checked import Expr
from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS, WITHIN

Data = Mapping[str, Any]
"""The variables of an expression by name, as the engine gets them."""
Read = Callable[[Data], Any]
MAX_INT64 = 2**63 - 1


class ForTheEngine(Exception):
    """What only the engine can answer."""


class Kind(Enum):
    """What is known of a value when the expression is loaded."""

    TEXT = auto()
    BOOL = auto()
    INT = auto()
    TEXTS = auto()
    """A list of texts."""
    ANY = auto()


class Part(NamedTuple):
    """A part of an expression. `read` raises LookupError where a value is missing, and ForTheEngine."""

    kind: Kind
    read: Read
    constant: object = None
    """Of a literal: its value."""


def direct(expr: Expr) -> Read | None:
    """What evaluates the expression; None where only the engine can."""
    try:
        return _part(expr).read
    except ForTheEngine:
        return None


def _part(expr: Expr) -> Part:
    kind = expr.WhichOneof("expr_kind")
    if kind == "const_expr":
        return _constant(expr.const_expr)
    if kind == "ident_expr":
        return _variable(expr.ident_expr.name.removeprefix("."))
    if kind == "select_expr":
        return _selected(expr.select_expr)
    if kind == "call_expr":
        return _called(expr.call_expr)
    raise ForTheEngine


def _constant(constant: Any) -> Part:  # noqa: ANN401  # the generated class has no name of its own
    match constant.WhichOneof("constant_kind"):
        case "string_value":
            kind, value = Kind.TEXT, constant.string_value
        case "bool_value":
            kind, value = Kind.BOOL, constant.bool_value
        case "int64_value":
            kind, value = Kind.INT, constant.int64_value
        case _:
            raise ForTheEngine
    return Part(kind, lambda _: value, value)


def _variable(name: str) -> Part:
    if name in SCALARS and SCALARS[name] == cel.Type.BOOL:
        return Part(Kind.BOOL, lambda data: data[name])
    if name in (*MAPS, *DYNAMIC, *WITHIN):
        return Part(Kind.ANY, lambda data: data[name])
    raise ForTheEngine


_MEMBERS = {
    "request.headers": Kind.TEXT,
    "request.header_values": Kind.TEXTS,
    "request.query": Kind.TEXTS,
    "path": Kind.TEXT,
    "workload.within": Kind.BOOL,
    "client.within": Kind.BOOL,
}
_SCALAR_FIELDS = {
    FieldDescriptor.TYPE_STRING: Kind.TEXT,
    FieldDescriptor.TYPE_BOOL: Kind.BOOL,
    FieldDescriptor.TYPE_INT64: Kind.INT,
}


def _selected(select: Expr.Select) -> Part:
    operand, name = select.operand, select.field
    variable = operand.ident_expr.name.removeprefix(".") if operand.HasField("ident_expr") else ""
    if variable in MESSAGES:
        return _field(variable, name)
    if select.test_only:
        owner = _part(operand).read
        return Part(Kind.BOOL, lambda data: name in _map(owner(data)))
    return _member(operand, name)


def _field(variable: str, name: str) -> Part:
    field = MESSAGES[variable].DESCRIPTOR.fields_by_name[name]
    kind = _SCALAR_FIELDS.get(field.type)
    if kind is None:
        raise ForTheEngine
    if field.is_repeated:
        kind = Kind.TEXTS
    return Part(kind, lambda data: getattr(data[variable], name))


def _member(operand: Expr, key: str) -> Part:
    """An entry of a map."""
    variable = operand.ident_expr.name.removeprefix(".") if operand.HasField("ident_expr") else ""
    if variable in _MEMBERS:
        return Part(_MEMBERS[variable], lambda data: data[variable][key])
    owner = _part(operand)
    if owner.kind is not Kind.ANY:
        raise ForTheEngine
    read = owner.read
    return Part(Kind.ANY, lambda data: _map(read(data))[key])


def _element(owner: Part, index: object) -> Part:
    """An element of a list of texts."""
    # To Python a negative index has a meaning, and a bool is one.
    if owner.kind is not Kind.TEXTS or type(index) is not int or index < 0:
        raise ForTheEngine
    read = owner.read
    return Part(Kind.TEXT, lambda data: read(data)[index])


def _called(call: Expr.Call) -> Part:
    function = call.function
    if function == "@in":
        return _contained(*call.args)
    if function == "_[_]":
        key = _part(call.args[1]).constant
        if isinstance(key, str):
            return _member(call.args[0], key)
        return _element(_part(call.args[0]), key)
    arguments = [*([call.target] if call.HasField("target") else []), *call.args]
    make = _FUNCTIONS.get((function, len(arguments)))
    if make is None:
        raise ForTheEngine
    return make(*map(_part, arguments))


def _and(left: Part, right: Part) -> Part:
    a, b = _as_bool(left), _as_bool(right)
    # An error beside what is false does not count, on either side; if it is on the left, the engine finds that out.
    return Part(Kind.BOOL, lambda data: a(data) and b(data))


def _or(left: Part, right: Part) -> Part:
    a, b = _as_bool(left), _as_bool(right)
    return Part(Kind.BOOL, lambda data: a(data) or b(data))


def _not(operand: Part) -> Part:
    a = _as_bool(operand)
    return Part(Kind.BOOL, lambda data: not a(data))


def _either(condition: Part, then: Part, otherwise: Part) -> Part:
    if then.kind is not otherwise.kind:
        raise ForTheEngine
    a, b, c = _as_bool(condition), then.read, otherwise.read
    return Part(then.kind, lambda data: b(data) if a(data) else c(data))


def _joined(left: Part, right: Part) -> Part:
    a, b = _as_text(left), _as_text(right)
    return Part(Kind.TEXT, lambda data: a(data) + b(data))


def _split(subject: Part, separator: Part) -> Part:
    a, by = _as_text(subject), separator.constant
    if not isinstance(by, str) or not by:
        raise ForTheEngine
    return Part(Kind.TEXTS, lambda data: a(data).split(by))


def _in_case(change: Callable[[str], str]) -> Callable[[Part], Part]:
    def make(operand: Part) -> Part:
        a = _as_text(operand)

        def read(data: Data) -> str:
            text = a(data)
            # The engine changes the letters of ASCII alone.
            if not text.isascii():
                raise ForTheEngine
            return change(text)

        return Part(Kind.TEXT, read)

    return make


def _size(operand: Part) -> Part:
    a = operand.read
    if operand.kind in (Kind.TEXT, Kind.TEXTS):
        return Part(Kind.INT, lambda data: len(a(data)))
    if operand.kind is not Kind.ANY:
        raise ForTheEngine
    return Part(Kind.INT, lambda data: len(_sized(a(data))))


def _equality(compare: Callable[[Any, Any], bool]) -> Callable[[Part, Part], Part]:
    def make(left: Part, right: Part) -> Part:
        known = {left.kind, right.kind} - {Kind.ANY}
        if len(known) > 1 or Kind.TEXTS in known:
            raise ForTheEngine
        reader = _READERS[known.pop()] if known else None
        if reader is None:
            return Part(Kind.BOOL, _compared_alike(left.read, right.read, compare))
        a, b = reader(left), reader(right)
        if right.constant is not None:
            value = right.constant
            return Part(Kind.BOOL, lambda data: compare(a(data), value))
        return Part(Kind.BOOL, lambda data: compare(a(data), b(data)))

    return make


def _compared_alike(a: Read, b: Read, compare: Callable[[Any, Any], bool]) -> Read:
    def read(data: Data) -> bool:
        one, other = a(data), b(data)
        # To Python `True == 1`, and the engine compares numbers in its own way.
        if type(one) is not type(other) or type(one) not in (str, bool):
            raise ForTheEngine
        return compare(one, other)

    return read


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Part, Part], Part]:
    def make(left: Part, right: Part) -> Part:
        known = {left.kind, right.kind} - {Kind.ANY}
        if len(known) != 1 or not known <= {Kind.TEXT, Kind.INT}:
            raise ForTheEngine
        reader = _READERS[known.pop()]
        a, b = reader(left), reader(right)
        return Part(Kind.BOOL, lambda data: compare(a(data), b(data)))

    return make


def _of_text(apply: Callable[[str, str], bool]) -> Callable[[Part, Part], Part]:
    def make(subject: Part, argument: Part) -> Part:
        a, b = _as_text(subject), _as_text(argument)
        return Part(Kind.BOOL, lambda data: apply(a(data), b(data)))

    return make


_FUNCTIONS: dict[tuple[str, int], Callable[..., Part]] = {
    ("_&&_", 2): _and,
    ("_||_", 2): _or,
    ("!_", 1): _not,
    ("_?_:_", 3): _either,
    ("_==_", 2): _equality(eq),
    ("_!=_", 2): _equality(ne),
    ("_<_", 2): _order(lt),
    ("_<=_", 2): _order(le),
    ("_>_", 2): _order(gt),
    ("_>=_", 2): _order(ge),
    ("_+_", 2): _joined,
    ("size", 1): _size,
    ("split", 2): _split,
    ("lowerAscii", 1): _in_case(str.lower),
    ("upperAscii", 1): _in_case(str.upper),
    ("startsWith", 2): _of_text(str.startswith),
    ("endsWith", 2): _of_text(str.endswith),
    ("contains", 2): _of_text(str.__contains__),
}
"""By name, and the number of operands or of target and arguments."""


def _contained(element: Expr, container: Expr) -> Part:
    subject = _part(element)
    if container.HasField("list_expr"):
        values = [_part(item).constant for item in container.list_expr.elements]
        kinds = {type(value) for value in values}
        if kinds == {str}:
            return _among(_as_text(subject), frozenset(values))
        if kinds == {int}:
            return _among(_as_int(subject), frozenset(values))
        raise ForTheEngine
    a, whole = _as_text(subject), _part(container)
    b = whole.read
    if whole.kind is Kind.TEXTS:
        return Part(Kind.BOOL, lambda data: a(data) in b(data))
    if whole.kind is not Kind.ANY:
        raise ForTheEngine
    return Part(Kind.BOOL, lambda data: a(data) in _texts(b(data)))


def _among(read: Read, values: frozenset[object]) -> Part:
    return Part(Kind.BOOL, lambda data: read(data) in values)


def _as_text(part: Part) -> Read:
    return part.read if part.kind is Kind.TEXT else _of_type(part, str)


def _as_bool(part: Part) -> Read:
    return part.read if part.kind is Kind.BOOL else _of_type(part, bool)


def _as_int(part: Part) -> Read:
    if part.kind is Kind.INT:
        return part.read
    a = _of_type(part, int)

    def read(data: Data) -> int:
        value: int = a(data)
        # What is larger is of another type to the engine.
        if value > MAX_INT64:
            raise ForTheEngine
        return value

    return read


_READERS = {Kind.TEXT: _as_text, Kind.BOOL: _as_bool, Kind.INT: _as_int}


def _of_type(part: Part, wanted: type) -> Read:
    if part.kind is not Kind.ANY:
        raise ForTheEngine
    read = part.read

    def checked(data: Data) -> Any:  # noqa: ANN401  # of the wanted type
        value = read(data)
        # Not `isinstance`: a bool is no number.
        if type(value) is not wanted:
            raise ForTheEngine
        return value

    return checked


def _map(value: object) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise ForTheEngine
    return value


def _sized(value: object) -> str | Sequence[object] | Mapping[str, object]:
    if type(value) not in (str, list, dict):
        raise ForTheEngine
    return value  # type: ignore[return-value]  # one of them


def _texts(value: object) -> list[str] | dict[str, object]:
    """A list of texts, or a map, whose keys are texts."""
    if type(value) is dict:
        return value
    if type(value) is not list or not all(type(item) is str for item in value):
        raise ForTheEngine
    return value
