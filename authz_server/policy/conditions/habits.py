"""What people write who know other languages, and how it is said in CEL."""

import re

_KEYED = re.compile(
    r"(?P<map>request\.(?:headers|header_values|query)|user\.claims)\.(?P<name>[A-Za-z_]\w*(?:-[A-Za-z_]\w*)+)",
    re.ASCII,
)
_LITERAL = r"\"[^\"\\\n]*\"|'[^'\\\n]*'"
_BEFORE = re.compile(rf"({_LITERAL}|(?<![\w.)\]])[A-Za-z_][\w.]*)\s*\Z", re.ASCII)
_BEHIND = re.compile(rf"\s*({_LITERAL}|[\w.]+(?![\w.(\[]))", re.ASCII)
_TIME_PARTS = {
    "year": "getFullYear",
    "month": "getMonth",
    "day": "getDate",
    "date": "getDate",
    "weekday": "getDayOfWeek",
    "hour": "getHours",
    "minute": "getMinutes",
    "second": "getSeconds",
}
_SMART_QUOTES = frozenset("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb")

WORDS = {
    "True": "write `true`",
    "TRUE": "write `true`",
    "False": "write `false`",
    "FALSE": "write `false`",
    "None": "ask whether it is there, such as `has(user.claims.name)`",
    "nil": "ask whether it is there, such as `has(user.claims.name)`",
}
"""Words that are no variables, with what is written instead."""

FUNCTIONS = {
    "len": "write `size(…)`",
    "length": "write `size(…)`",
    "count": "write `size(…)`",
    "includes": 'write `"…" in` and the list, or `.contains(…)` of a text',
    "any": "write `.exists(item, …)`",
    "some": "write `.exists(item, …)`",
    "every": "write `.all(item, …)`",
}
"""Functions of other languages, with what is written instead."""


def keyed_name(source: str, offset: int) -> tuple[int, str, str] | None:
    """Of `request.headers.x-team` around the offset: where the name begins, the name, and how it is written."""
    for found in _KEYED.finditer(source):
        if found.start() <= offset < found.end():
            return found.start("name"), found["name"], f'write `{found["map"]}["{found["name"]}"]`'
    return None


def membership(source: str, offset: int, symbol: str) -> str:
    """How to ask whether a text is in a list, for a comparison of the two whose operator is at the offset."""
    before, behind = _BEFORE.search(source[:offset]), _BEHIND.match(source, offset + len(symbol))
    if before is None or behind is None:
        return 'write `"…" in` and the list'
    sides = [before[1], behind[1]]
    if sides[0][0] in "\"'":
        sides.reverse()
    asked = f"{sides[1]} in {sides[0]}"
    return f"write `!({asked})`" if symbol == "!=" else f"write `{asked}`"


def element(source: str, offset: int) -> str:
    """What to write where a text is asked whether it is in another one; the offset is that of `in`."""
    before, behind = _BEFORE.search(source[:offset]), _BEHIND.match(source, offset + len("in"))
    if before is not None and behind is not None and before[1] == "client.ip" and behind[1][0] in "\"'":
        return f"write `client.within({behind[1]})`"
    return "write a list, such as `[…]`; a part of a text is found with `.contains(…)`"


def contained(source: str, dot_to_bracket: int) -> str:
    """The same for `user.groups.contains("x")`; the offset is that of the opening bracket."""
    before = re.search(r"([\w.]+)\.contains\s*\Z", source[:dot_to_bracket], re.ASCII)
    behind = re.match(rf"\(\s*({_LITERAL}|[\w.]+)\s*\)", source[dot_to_bracket:], re.ASCII)
    return f"write `{behind[1]} in {before[1]}`" if before and behind else 'write `"…" in` and the list'


def field_of(source: str, dot: int, kind: str) -> str:
    """What to write instead of a field of a value that has none; the offset is that of the dot."""
    subject = re.search(r"[\w.]+\Z", source[:dot], re.ASCII)
    field = re.match(r"\.\s*(\w+)", source[dot:], re.ASCII)
    if subject is None or field is None:
        return ""
    if kind == "timestamp":
        part = field[1].lower().replace("_", "")
        function = _TIME_PARTS.get(part) or _TIME_PARTS.get(part.removesuffix("s"))
        return f'write `{subject[0]}.{function}("Europe/Zurich")`' if function else ""
    if field[1].lower() in ("length", "len", "size", "count"):
        return f"write `size({subject[0]})`"
    return ""


def stray_character(character: str) -> tuple[str, str] | None:
    """Message and hint for a character that has a meaning elsewhere."""
    if character in _SMART_QUOTES:
        return f"`{character}` does not quote a text", "use straight quotes"
    if character == "#":
        return "`#` begins no comment here", "write `//`"
    if character == "\u00a0":
        return "there is a no-break space", "write a plain space"
    return None


def unexpected_word(source: str, offset: int, word: str) -> str:
    """A hint for a word or sign that the engine did not expect."""
    if word == "}" and (name := re.search(r"\{\s*(\w+)\s*\Z", source[:offset], re.ASCII)):
        return f"captures are read as `path.{name[1]}`"
    if word == "," and "(" in source[:offset]:
        return "a list stands in `[ ]`"
    if word == ">" and source[:offset].endswith("<"):
        return "write `!=`"
    return ""
