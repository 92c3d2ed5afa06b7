"""The engine's complaints about an expression, in words for those who wrote it."""

import re

from authz_server.documents.suggest import did_you_mean
from authz_server.policy.conditions import habits
from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS
from authz_server.policy.conditions.rejection import ConditionError, rejection

# fmt: off
FUNCTIONS = (
    "all", "base64.decode", "base64.encode", "bool", "bytes", "charAt",
    "contains", "double", "duration", "dyn", "endsWith", "exists",
    "exists_one", "filter", "format", "getDate", "getDayOfMonth", "getDayOfWeek",
    "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth",
    "getSeconds", "has", "indexOf", "int", "join", "lastIndexOf",
    "lowerAscii", "map", "matches", "quote", "replace", "reverse",
    "sets.contains", "sets.equivalent", "sets.intersects", "size", "split", "startsWith",
    "string", "substring", "timestamp", "trim", "type", "uint",
    "upperAscii", "within",
)
# fmt: on
"""What conditions may call, macros included."""

_METHODS = frozenset({"contains", "endsWith", "matches", "startsWith", "within"})
"""Those that other languages write between two values."""
_COMPLAINT = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_UNDEFINED_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '([^']*)'")
_NO_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_NOT_SELECTABLE = re.compile(r"expression of type '([^']*)' cannot be the operand of a select operation")
_UNEXPECTED = re.compile(
    r"Syntax error: (?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting.*)?"
)
_UNRECOGNIZED = re.compile(r"Syntax error: token recognition error at: '(.*)")
_MISSING = re.compile(r"Syntax error: missing ('.*?') at '(.*)'")
_OPERATOR = re.compile(r"@?_?([^\w@]+|in)_?(?::_)?")

_CONVERSIONS = {
    "timestamp": "write a time as timestamp('2026-01-31T00:00:00Z')",
    "duration": "write a duration as duration('15m')",
    "int": "convert one of them, for example with string(…)",
    "double": "convert one of them, for example with string(…)",
    "bool": "write bools without quotes",
}
_OTHER_LANGUAGES = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "=": "==",
    "&": "&&",
    "|": "||",
    "AND": "&&",
    "OR": "||",
    "is": "==",
}


def translate(source: str, engine_message: str) -> ConditionError:
    """The first complaint of the engine as an error of ours."""
    if "recursion" in engine_message:
        return rejection(
            source, 0, len(source), "the expression is nested too deeply", "split it into several conditions"
        )
    complaints = [(int(line), int(column), text) for line, column, text in _COMPLAINT.findall(engine_message)]
    if not complaints:
        return rejection(source, 0, len(source), engine_message.partition("\n")[0])
    # What has a part that is wrong itself says nothing that helps.
    complaints = [complaint for complaint in complaints if "*error*" not in complaint[2]] or complaints
    line, column, text = min(complaints, key=lambda complaint: complaint[:2])
    offset = sum(len(before) + 1 for before in source.split("\n")[: line - 1]) + column - 1
    if (keyed := habits.keyed_name(source, offset)) is not None:
        start, name, hint = keyed
        return rejection(source, start, len(name), f"the name `{name}` cannot stand behind a dot", hint)
    return _translated(source, offset, text.removesuffix(" [INVALID_ARGUMENT]"))


def _translated(source: str, offset: int, text: str) -> ConditionError:
    if match := _UNDECLARED.match(text):
        return _undeclared(source, offset, match[1])
    if match := _UNDEFINED_FIELD.match(text):
        return _undefined_field(source, offset, match[1], match[2])
    if match := _NO_OVERLOAD.match(text):
        return _no_overload(source, offset, match[1], match[2])
    if match := _NOT_SELECTABLE.match(text):
        kind = type_name(match[1])
        hint = habits.field_of(source, offset, kind)
        return rejection(source, offset, 1, f"a value of type {kind} has no fields", hint)
    if match := _MISSING.match(text):
        return rejection(source, offset, 1, f"`{match[1][1:-1]}` is missing")
    if match := _UNRECOGNIZED.match(text):
        return _unrecognized(source, offset, match[1])
    if match := _UNEXPECTED.match(text):
        return _unexpected(source, offset, match[1])
    hint = "write has(user.claims.name), or 'name' in request.headers" if text.startswith("has()") else ""
    return rejection(source, offset, 1, text.removeprefix("Syntax error: "), hint)


def _undeclared(source: str, offset: int, name: str) -> ConditionError:
    if source[offset : offset + 1] == "(":
        start = source.rfind(name, 0, offset)
        if name in FUNCTIONS:
            return rejection(source, start, len(name), f"`{name}` does not take these arguments")
        hint = habits.FUNCTIONS.get(name) or did_you_mean(name, [function.rpartition(".")[2] for function in FUNCTIONS])
        return rejection(source, start, len(name), f"unknown function `{name}`", hint)
    # Of `usr.subject` the engine points at the dot.
    root = name.removeprefix(".").partition(".")[0]
    start = source.rfind(root, 0, offset + len(root))
    if root in _OTHER_LANGUAGES:
        return _foreign(source, start, root)
    if root in habits.WORDS:
        return rejection(source, start, len(root), f"unknown variable `{root}`", habits.WORDS[root])
    if root.isupper():
        return rejection(source, start, len(root), f"unknown variable `{root}`", f'a text has quotes: "{root}"')
    known = {variable.partition(".")[0] for variable in (*MESSAGES, *MAPS, *DYNAMIC, *SCALARS)}
    return rejection(source, start, len(root), f"unknown variable `{root}`", did_you_mean(root, known, _list(known)))


def _undefined_field(source: str, offset: int, field: str, message: str) -> ConditionError:
    variable = next((name for name, kind in MESSAGES.items() if kind.DESCRIPTOR.full_name == message), message)
    start = source.find(field, offset)
    known = [name.partition(".")[2] for name in MAPS if name.startswith(f"{variable}.")]
    if variable in MESSAGES:
        known.extend(MESSAGES[variable].DESCRIPTOR.fields_by_name)
    hint = did_you_mean(field, known, _list(known))
    return rejection(source, start, len(field), f"`{variable}` has no field `{field}`", hint)


def _no_overload(source: str, offset: int, function: str, types: str) -> ConditionError:
    names = [type_name(text) for text in _split_types(types)]
    listed = " and ".join(names)
    if function == "_?_:_":
        return rejection(source, offset, 1, f"`? :` needs a bool and two values of one type, not {', '.join(names)}")
    if function == "_[_]":
        return rejection(source, offset, 1, f"a value of type {names[0]} has no elements of key type {names[-1]}")
    operator = _OPERATOR.fullmatch(function)
    if operator is None:
        start = source.rfind(function, 0, offset)
        hint = habits.contained(source, offset) if function == "contains" and names[0].startswith("list") else ""
        return rejection(source, start, len(function), f"`{function}` cannot be applied to {listed}", hint)
    symbol = operator[1].strip("_")
    hint = _operator_hint(source, offset, symbol, names)
    verb = "compare" if symbol in ("==", "!=", "<", "<=", ">", ">=") else "be applied to"
    return rejection(source, offset, len(symbol), f"`{symbol}` cannot {verb} {listed}", hint)


def _operator_hint(source: str, offset: int, symbol: str, names: list[str]) -> str:
    if symbol in ("==", "!=") and set(names) == {"list(string)", "string"}:
        return habits.membership(source, offset, symbol)
    if symbol == "in" and names == ["string", "string"]:
        return habits.element(source, offset)
    if symbol in ("<", "<=", ">", ">=") and set(names) == {"int", "string"}:
        return "make a number of the text with int(…)"
    return next((hint for kind, hint in _CONVERSIONS.items() if kind in names and "string" in names), "")


def _unrecognized(source: str, offset: int, text: str) -> ConditionError:
    character = source[offset : offset + 1]
    if character in ("'", '"'):
        hint = "the quotes must match, and `\\` begins an escape: write `\\\\` for a backslash"
        return rejection(source, offset, len(source), "the quoted text does not end", hint)
    if character in _OTHER_LANGUAGES:
        return _foreign(source, offset, character)
    if (stray := habits.stray_character(character)) is not None:
        return rejection(source, offset, 1, *stray)
    return rejection(source, offset, 1, f"unexpected character `{character or text}`")


def _unexpected(source: str, offset: int, word: str) -> ConditionError:
    if word == "<EOF>":
        return rejection(source, offset, 1, "the expression ends too early")
    if word in _OTHER_LANGUAGES:
        return _foreign(source, offset, word)
    before = source[:offset].split()
    if before and before[-1] in _OTHER_LANGUAGES:
        return _foreign(source, source.rfind(before[-1], 0, offset), before[-1])
    hint = f"write `.{word}(…)` behind the value" if word in _METHODS else habits.unexpected_word(source, offset, word)
    return rejection(source, offset, len(word), f"unexpected `{word}`", hint)


def _foreign(source: str, offset: int, word: str) -> ConditionError:
    return rejection(source, offset, len(word), f"`{word}` is no operator here", f"write `{_OTHER_LANGUAGES[word]}`")


def type_name(text: str) -> str:
    """A type as the policy reference calls it."""
    for variable, message in MESSAGES.items():
        text = text.replace(message.DESCRIPTOR.full_name, f"`{variable}`")
    text = text.replace("google.protobuf.Timestamp", "timestamp").replace("google.protobuf.Duration", "duration")
    return text.replace("<", "(").replace(">", ")")


def _split_types(text: str) -> list[str]:
    """The items of `string, map(string, dyn)`."""
    items, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items]


def _list(words: set[str] | list[str]) -> str:
    return f"there are {', '.join(f'`{word}`' for word in sorted(words))}"
