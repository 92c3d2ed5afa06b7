"""What an expression reads, and the rules that the engine's type check does not know."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from authz_server.documents.suggest import did_you_mean
from authz_server.policy.conditions.checked import Expr, Parsed, literal_text
from authz_server.policy.conditions.constants import COMPARISONS, never
from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS
from authz_server.policy.conditions.evaluation import MAX_ELEMENTS
from authz_server.policy.conditions.literals import LiteralRules, literal_length
from authz_server.policy.conditions.rejection import ConditionError, rejection

HEADER_MAPS = frozenset({"request.headers", "request.header_values"})

_VARIABLES = frozenset((*MESSAGES, *MAPS, *DYNAMIC, *SCALARS))
_ROOTS = frozenset(name.partition(".")[0] for name in _VARIABLES)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)


class ExpressionCheck:
    """One walk over a checked expression. Raises ConditionError for what is not allowed."""

    def __init__(self, source: str, parsed: Parsed, captures: frozenset[str], literals: LiteralRules) -> None:
        self.reads: set[str] = set()
        self.iterates = False
        """Whether it has a macro or a function of sets, whose cost grows with the product of what they go through."""
        self._source = source
        self._parsed = parsed
        self._captures = captures
        self._literals = literals
        self._splits: list[Expr] = []
        self._visit(parsed.expr, in_macro=False)
        if self.iterates:
            for split in self._splits:
                self._check_split(split)

    def _visit(self, expr: Expr, *, in_macro: bool) -> None:
        found = chain(expr)
        if found is not None:
            self._access(expr, *found)
            return
        kind = expr.WhichOneof("expr_kind")
        if kind == "select_expr":
            self._visit(expr.select_expr.operand, in_macro=in_macro)
        elif kind == "call_expr":
            self._call(expr, in_macro=in_macro)
        elif kind == "list_expr":
            for element in expr.list_expr.elements:
                self._visit(element, in_macro=in_macro)
        elif kind == "struct_expr":
            self._struct(expr, in_macro=in_macro)
        elif kind == "comprehension_expr":
            self._comprehension(expr, in_macro=in_macro)

    def _call(self, expr: Expr, *, in_macro: bool) -> None:
        call = expr.call_expr
        if call.function == "within":
            self._within(expr)
            return
        if call.args:
            self._literals.check_call(self._source, call, self._parsed.start(call.args[-1]))
        if call.function.startswith("sets."):
            self.iterates = True
        if call.function == "split":
            self._splits.append(expr)
        self._check_constants(call)
        if call.function == "@in" and (key := literal_text(call.args[0])) is not None:
            container = chain(call.args[1])
            if container is not None and container[0] in (*MAPS, *DYNAMIC) and not container[1]:
                self._access(call.args[0], container[0], (key,))
                return
        if call.HasField("target"):
            self._visit(call.target, in_macro=in_macro)
        for argument in call.args:
            self._visit(argument, in_macro=in_macro)

    def _check_constants(self, call: Expr.Call) -> None:
        """Refuse a comparison that can never hold, whatever the request."""
        for attribute, constants in _compared(call):
            for constant in constants:
                text = literal_text(constant)
                if text is not None and (fault := never(attribute, text)) is not None:
                    start = self._parsed.offset(constant)
                    length = literal_length(self._source, start)
                    raise rejection(self._source, start, length, fault.message, fault.hint)

    def _within(self, expr: Expr) -> None:
        call = expr.call_expr
        subject = chain(call.target)
        if subject not in (("workload", ()), ("client", ())):
            hint = "write workload.within(…) or client.within(…)"
            raise self._error(expr, 1, "`within` is about `workload` or `client`", hint)
        argument = self._literals.within_argument(self._source, call, self._parsed.start(call.args[0]))
        variable = f"{subject[0]}.within"
        self.reads.add(f"{variable}[{argument}]")
        self._parsed.replace_by_lookup(expr, variable)

    def _struct(self, expr: Expr, *, in_macro: bool) -> None:
        if expr.struct_expr.message_name:
            raise self._error(expr, 1, "a condition cannot build messages", "write a map: {'name': value}")
        for entry in expr.struct_expr.entries:
            self._visit(entry.map_key, in_macro=in_macro)
            self._visit(entry.value, in_macro=in_macro)

    def _comprehension(self, expr: Expr, *, in_macro: bool) -> None:
        loop = expr.comprehension_expr
        offset = self._parsed.offset(expr)
        if in_macro:
            macro = re.search(r"\w*\s*\Z", self._source[:offset])
            start = offset if macro is None else macro.start()
            name = self._source[start:offset].strip()
            hint = "macros go one level deep; write two conditions, or use `in`"
            raise rejection(self._source, start, len(name), f"`{name}` inside another macro", hint)
        if loop.iter_var in _ROOTS:
            start = self._source.find(loop.iter_var, offset)
            message = f"`{loop.iter_var}` has a meaning already and cannot name an element"
            raise rejection(self._source, start, len(loop.iter_var), message, "choose another name")
        self.iterates = True
        self._visit(loop.iter_range, in_macro=False)
        for part in (loop.accu_init, loop.loop_condition, loop.loop_step, loop.result):
            self._visit(part, in_macro=True)

    def _access(self, expr: Expr, variable: str, keys: tuple[str, ...]) -> None:
        if variable in SCALARS:
            self.reads.add(variable)
        elif variable in MESSAGES:
            self._field(expr, variable, keys)
        elif not keys:
            self.reads.add(f"{variable}[*]")
        elif variable in HEADER_MAPS:
            self._check_header(expr, keys[0])
            self.reads.add(f"{variable}[{keys[0]}]")
        elif variable == "path":
            self._check_capture(expr, keys[0])
            self.reads.add(f"path.{keys[0]}")
        elif variable == "request.query":
            self.reads.add(f"{variable}[{keys[0]}]")
        elif variable == "metadata":
            self.reads.add(f"metadata[{keys[0]}]{dotted(keys[1:])}")
        else:
            self.reads.add(member_read(variable, keys))

    def _field(self, expr: Expr, variable: str, keys: tuple[str, ...]) -> None:
        if not keys:
            hint = f"name one of its fields, such as `{variable}.{MESSAGES[variable].DESCRIPTOR.fields[0].name}`"
            raise self._error(expr, len(variable), f"`{variable}` is no value by itself", hint)
        if expr.select_expr.test_only:
            hint = f"ask `has_{variable}`" if f"has_{variable}" in SCALARS else "leave out has()"
            raise self._error(expr, 1, f"`{variable}.{keys[0]}` is always there when `{variable}` is", hint)
        self.reads.add(f"{variable}.{keys[0]}")

    def _check_header(self, expr: Expr, name: str) -> None:
        if _HEADER_NAME.fullmatch(name):
            return
        lower = name.lower()
        usable = _HEADER_NAME.fullmatch(lower)
        message = f"header names are in lower case: `{name}`" if usable else f"no header has the name `{name}`"
        raise self._key_error(expr, name, message, f"did you mean `{lower}`?" if usable else "")

    def _check_capture(self, expr: Expr, name: str) -> None:
        if name in self._captures:
            return
        hint = did_you_mean(name, self._captures, "captures are the `{name}` of the rule's `paths`")
        raise self._key_error(expr, name, f"no path of this rule has a capture `{name}`", hint)

    def _check_split(self, expr: Expr) -> None:
        limit = expr.call_expr.args[1] if len(expr.call_expr.args) == 2 else None
        if limit is None or not 0 < limit.const_expr.int64_value <= MAX_ELEMENTS:
            message = f"beside a macro, `split` needs a limit of at most {MAX_ELEMENTS}"
            raise self._error(expr, 1, message, "write for example split(',', 100)")

    def _key_error(self, expr: Expr, key: str, message: str, hint: str) -> ConditionError:
        offset = max(self._source.find(key, self._parsed.offset(expr)), 0)
        return rejection(self._source, offset, len(key), message, hint)

    def _error(self, expr: Expr, length: int, message: str, hint: str) -> ConditionError:
        return rejection(self._source, self._parsed.offset(expr), length, message, hint)


def _compared(call: Expr.Call) -> Iterator[tuple[str, Sequence[Expr]]]:
    """The attributes that a call compares, each with what it is compared to."""
    if call.function in COMPARISONS:
        for attribute, other in (call.args, reversed(call.args)):
            if (name := _attribute(attribute)) is not None:
                yield name, [other]
    elif call.function == "@in" and (name := _attribute(call.args[0])) is not None:
        yield name, call.args[1].list_expr.elements


def _attribute(expr: Expr) -> str | None:
    found = chain(expr)
    return f"{found[0]}.{found[1][0]}" if found is not None and len(found[1]) == 1 else None


def member_read(variable: str, keys: tuple[str, ...]) -> str:
    """The name under which a member is read; a name that is no identifier stands in brackets and ends it."""
    if not _IDENTIFIER.fullmatch(keys[0]):
        return f"{variable}[{keys[0]}]"
    return f"{variable}{dotted(keys)}"


def dotted(keys: Sequence[str]) -> str:
    """The keys behind dots, up to the first that is no identifier."""
    return "".join(f".{key}" for key in takewhile(_IDENTIFIER.fullmatch, keys))


def chain(expr: Expr) -> tuple[str, tuple[str, ...]] | None:
    """Variable and literal keys of `variable.key["key"]`; None for anything else."""
    kind = expr.WhichOneof("expr_kind")
    if kind == "ident_expr":
        name = expr.ident_expr.name.removeprefix(".")
        return (name, ()) if name in _VARIABLES else None
    if kind == "select_expr":
        inner, key = chain(expr.select_expr.operand), expr.select_expr.field
    elif kind == "call_expr" and expr.call_expr.function == "_[_]":
        literal = literal_text(expr.call_expr.args[1])
        if literal is None:
            return None
        inner, key = chain(expr.call_expr.args[0]), literal
    else:
        return None
    return None if inner is None else (inner[0], (*inner[1], key))
