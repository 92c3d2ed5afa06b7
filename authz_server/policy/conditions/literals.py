"""Arguments that must be literals, because a request must not choose them: checked when policies are loaded."""

import re
from zoneinfo import available_timezones

from cel_expr_python import cel

from authz_server.documents.suggest import did_you_mean
from authz_server.policy.conditions import regex
from authz_server.policy.conditions.checked import Expr, literal_text
from authz_server.policy.conditions.rejection import rejection
from authz_server.policy.conditions.within import InvalidArgument, client_network, workload_pattern

ZONED = frozenset(
    {
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    }
)
"""Functions of a timestamp whose argument is a time zone."""

CONVERSIONS = {"timestamp": "2026-01-31T00:00:00Z", "duration": "1h30m"}
"""Functions that read a text, with an example. They may compute it, but what is written out must be right."""

_LITERAL = re.compile(r"""[rRbB]*(?P<quote>"{3}|'{3}|"|')(?:\\.|(?!(?P=quote)).)*(?P=quote)""", re.DOTALL)
_WORDS = re.compile(r"[\w.]+")


class LiteralRules:
    """Asks the engine itself what it accepts, so that nothing loads that fails at a request."""

    def __init__(self) -> None:
        self._environment = cel.NewEnv(variables={"text": cel.Type.STRING})
        self._matches = self._environment.compile("''.matches(text)")
        self._zone = self._environment.compile("timestamp(0).getHours(text)")
        self._conversions = {name: self._environment.compile(f"{name}(text)") for name in CONVERSIONS}

    def check_call(self, source: str, call: Expr.Call, argument_offset: int) -> None:
        """Check the arguments of a function that needs literals; of any other, nothing. Raises ConditionError."""
        function = call.function
        if function == "matches":
            text = _literal(source, call, argument_offset, "a regular expression")
            self._check_pattern(source, text, argument_offset)
        elif function in ZONED and call.args:
            text = _literal(source, call, argument_offset, "a time zone")
            self._check_zone(source, text, argument_offset)
        elif function in CONVERSIONS and (constant := literal_text(call.args[-1])) is not None:
            self._check_conversion(source, function, constant, argument_offset)

    def within_argument(self, source: str, call: Expr.Call, offset: int) -> str:
        """The argument of `within`. Raises ConditionError where it is no literal, or not what the subject needs."""
        text = _literal(source, call, offset, "the argument of `within`")
        _check_within(source, call, text, offset)
        return text

    def _check_pattern(self, source: str, pattern: str, offset: int) -> None:
        fault = regex.fault(pattern)
        if fault is None:
            result = self._evaluate(self._matches, pattern)
            if result.type() == cel.Type.BOOL:
                return
            fault = f"not a regular expression: {str(result.value()).rpartition('expression: ')[2]}"
        raise rejection(source, offset, literal_length(source, offset), fault, "regular expressions have RE2's syntax")

    def _check_zone(self, source: str, zone: str, offset: int) -> None:
        # The engine takes an empty text for UTC.
        if zone and self._evaluate(self._zone, zone).type() == cel.Type.INT:
            return
        known = available_timezones()
        hint = did_you_mean(zone, known, "write a name of the IANA database such as `Europe/Zurich`")
        if zone in known:
            hint = "it exists, but not on this system: install its time zone data (tzdata)"
        raise rejection(source, offset, literal_length(source, offset), f"unknown time zone `{zone}`", hint)

    def _check_conversion(self, source: str, function: str, text: str, offset: int) -> None:
        if self._evaluate(self._conversions[function], text).type() == cel.Type.ERROR:
            hint = f"write it as `{CONVERSIONS[function]}`"
            raise rejection(source, offset, literal_length(source, offset), f"not a {function}: `{text}`", hint)

    def _evaluate(self, expression: cel.Expression, text: str) -> cel.Value:
        return expression.eval(self._environment.Activation({"text": text}))


def _literal(source: str, call: Expr.Call, argument_offset: int, what: str) -> str:
    text = literal_text(call.args[-1])
    if text is None:
        written = _WORDS.match(source, argument_offset)
        length = len(written[0]) if written else 1
        raise rejection(source, argument_offset, length, f"{what} must be a quoted text", "no request may choose it")
    if "\0" in text:
        raise rejection(source, argument_offset, literal_length(source, argument_offset), f"{what} cannot hold NUL")
    return text


def _check_within(source: str, call: Expr.Call, text: str, offset: int) -> None:
    check = workload_pattern if call.target.ident_expr.name == "workload" else client_network
    try:
        check(text)
    except InvalidArgument as error:
        length = literal_length(source, offset)
        # Inside the quotes, unless escapes make counting impossible.
        inside = source[offset + 1 : offset + 1 + len(text)] == text
        start = offset + 1 + error.offset if inside else offset
        raise rejection(source, start, offset + length - start - inside, str(error), error.hint) from error


def literal_length(source: str, offset: int) -> int:
    """How many characters a quoted text takes that begins at the offset, quotes included."""
    match = _LITERAL.match(source, offset)
    return len(match[0]) if match else 1
