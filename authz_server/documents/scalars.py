"""What a plain (unquoted) YAML scalar means, where all readers of YAML agree.

YAML 1.1 and 1.2 read `no`, `010`, `1_000`, `12:30` and `2026-03-02` differently, and `1.10` loses its zero in both.
Such a scalar is refused: its author writes quotes, or the value that was meant.
"""

import re

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.suggest import quoted

Value = str | int | float | bool | None

_SIMPLE: dict[str, Value] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
# YAML 1.1 (https://yaml.org/type/bool.html): true or false; YAML 1.2: text.
_BOOLEAN_ONCE = re.compile(r"(?:y|n|yes|no|on|off)", re.IGNORECASE)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_LIKE_A_NUMBER = re.compile(
    r"""[-+]?(?:
        [0-9][0-9_]*                            # 010, 1_000
      | 0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
      | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
      | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?   # 12:30 in base 60
      | \.(?:inf|Inf|INF)
    )|\.(?:nan|NaN|NAN)""",
    re.ASCII | re.VERBOSE,
)
_LIKE_A_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?", re.ASCII)
SMART_QUOTES = frozenset("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb")
"""What word processors make of quotes."""
_MAX_INTEGER = 2**63 - 1


def plain_value(text: str) -> Value:
    """The value of a plain scalar. Raises InvalidValue where readers of YAML disagree about it."""
    if text in _SIMPLE:
        return _SIMPLE[text]
    if "\u00a0" in (text[0], text[-1]):
        raise InvalidValue("there is a no-break space", hint="write a plain space")
    first = text[0]
    if first.isdecimal() or first in "-+.":
        return _numeric(text)
    if len(text) <= 3 and _BOOLEAN_ONCE.fullmatch(text):
        message = f"`{text}` is a text to some readers of YAML, and true or false to others"
        meant = "true" if text.lower() in ("y", "yes", "on") else "false"
        raise InvalidValue(message, hint=f"{_quotes(text)} if it is a text, or {meant} where true or false is wanted")
    if first in SMART_QUOTES:
        message = f"`{first}` does not quote a text in YAML, but is a part of it"
        raise InvalidValue(message, hint="use straight quotes")
    if text == "=":
        raise InvalidValue("`=` has a meaning of its own in YAML", hint=_quotes(text))
    return text


def _numeric(text: str) -> Value:
    if _INTEGER.fullmatch(text) and text != "-0":
        if len(text) > 20 or abs(int(text)) > _MAX_INTEGER:
            raise InvalidValue("the number has more than 64 bits", hint="put it in quotes if it is a text")
        return int(text)
    if _FRACTION.fullmatch(text) and len(text) < 25 and repr(float(text)) == text:
        return float(text)
    if _LIKE_A_DATE.fullmatch(text):
        raise InvalidValue(
            f"{quoted(text)} is a date to some readers of YAML, and a text to others", hint=_quotes(text)
        )
    if _LIKE_A_NUMBER.fullmatch(text):
        hint = f"{_quotes(text)} if it is a text, else a plain decimal number such as 8 or 1.5"
        raise InvalidValue(f"{quoted(text)} is read as a number, and not as it is written", hint=hint)
    return text


def _quotes(text: str) -> str:
    return f'write "{text}" in quotes' if len(text) < 30 else "put it in quotes"
