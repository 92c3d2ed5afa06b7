"""Expressions checked when policies are loaded: size, syntax, types, what they read."""

import re
from collections.abc import Iterable

from cel_expr_python import cel

from authz_server.policy.conditions.checked import Parsed
from authz_server.policy.conditions.environment import checking_environment, evaluating_environment
from authz_server.policy.conditions.literals import LiteralRules
from authz_server.policy.conditions.reads import ExpressionCheck
from authz_server.policy.conditions.rejection import ConditionError, rejection
from authz_server.policy.conditions.translation import translate, type_name
from authz_server.policy.plan import Expression

MAX_BYTES = 4096

# Controls, surrogates, and what makes a text look like another one: bidirectional and zero-width characters.
_UNREADABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

# Names alone, short enough to be repeated in a hint.
_SIMPLE = re.compile(r"[\w.]{1,60}", re.ASCII)


class ConditionCompiler:
    """Checks expressions. One instance serves any number of them."""

    def __init__(self) -> None:
        self._environment = checking_environment()
        self._evaluating = evaluating_environment()
        self._literals = LiteralRules()

    def condition(self, source: str, captures: frozenset[str]) -> Expression:
        """Check an expression of type bool; `captures` are those of the rule's paths. Raises ConditionError."""
        return self._checked(source, captures, cel.Type.BOOL)

    def text(self, source: str, captures: frozenset[str]) -> Expression:
        """Check an expression of type string. Raises ConditionError."""
        return self._checked(source, captures, cel.Type.STRING)

    def all_of(self, conditions: Iterable[str], captures: frozenset[str]) -> Expression:
        """One expression that holds when all hold. Check each by itself first: errors here have no useful place.

        Raises ConditionError, also where they are together larger than one may be.
        """
        # A line of its own for each, because it may end in a comment.
        return self.condition(" && ".join(f"({condition}\n)" for condition in conditions), captures)

    def _checked(self, source: str, captures: frozenset[str], expected: cel.Type) -> Expression:
        _check_text(source)
        try:
            compiled = self._environment.compile(source)
        except RuntimeError as error:
            raise translate(source, str(error)) from error
        actual = compiled.return_type()
        if actual != expected:
            message = f"the expression must be of type {_name(expected)}, and is of type {_name(actual)}"
            start = len(source) - len(source.lstrip())
            raise rejection(source, start, len(source), message, _conversion(source.strip(), actual, expected))
        try:
            parsed = Parsed(compiled.serialize())
            check = ExpressionCheck(source, parsed, captures, self._literals)
            ast = parsed.serialized()
            self._evaluating.deserialize(ast)
        except (ValueError, RuntimeError) as error:
            raise translate(source, "recursion") from error
        return Expression(source, ast, tuple(sorted(check.reads)), check.iterates)


def _conversion(source: str, actual: cel.Type, expected: cel.Type) -> str:
    """What to write for an expression of another type than the one that is needed."""
    simple = _SIMPLE.fullmatch(source) is not None
    kind = _name(actual)
    if expected == cel.Type.BOOL:
        it = source if simple else "…"
        if kind == "string":
            return f'compare it with a text: `{it} == "…"`'
        if kind.startswith(("list", "map")):
            return f'ask what is in it: `"…" in {it}`'
        return f"compare it with a value, for example `{it} == {'1' if kind in ('int', 'uint', 'double') else 'true'}`"
    if kind == "list(string)":
        return f'join its texts: `{source if simple else "(…)"}.join(",")`'
    if kind.startswith(("list", "map")):
        return "name one of its elements"
    return f"convert it with `string({source if simple else '…'})`"


def _check_text(source: str) -> None:
    if not source.strip():
        raise ConditionError("the expression is empty")
    if match := _UNREADABLE.search(source):
        message = f"the character U+{ord(match[0]):04X} is not allowed in expressions"
        raise rejection(source, match.start(), 1, message, f"in a quoted text, write `\\u{ord(match[0]):04x}`")
    if len(source.encode()) > MAX_BYTES:
        message = f"the expression is longer than {MAX_BYTES} bytes"
        raise rejection(source, 0, len(source), message, "split it into several rules")


def _name(kind: cel.Type) -> str:
    return type_name(kind.name() if kind.is_message() else kind.name().lower())
