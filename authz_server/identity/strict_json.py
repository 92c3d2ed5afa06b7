"""JSON that has one reading: what comes from outside is read by this alone."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)

_decode = msgspec.json.Decoder().decode
_TOO_DEEP = f"nested deeper than {MAX_DEPTH}"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_NUL = b"\\u0000"


def read_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object (RFC 8259) in UTF-8. Raises ValueError as `read_value` does."""
    value = _read(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    _check(value, data, folded=False)
    return value


def read_value(data: bytes) -> Any:  # noqa: ANN401 - any value of JSON
    """Read any JSON value (RFC 8259) in UTF-8, for which others may take names that differ by case for the same.

    Raises ValueError, in words without the input, also on duplicate names, a byte order mark, integers beyond
    64 bits, numbers that no float holds, nesting over 32, and texts with NUL or lone surrogates, which other
    software would cut or could not encode.
    """
    value = _read(data)
    _check(value, data, folded=True)
    return value


def _read(data: bytes) -> Any:  # noqa: ANN401 - any value of JSON
    try:
        return _decode(data)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except msgspec.ValidationError as error:
        raise ValueError("a number is out of range") from error
    except msgspec.DecodeError as error:
        raise ValueError("not JSON") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def _check(value: object, data: bytes, *, folded: bool) -> None:
    """What the decoder lets pass; a step of the interpreter for each list and object, and for each value only
    where the text gives cause."""
    members = 0
    level: list[object] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for each in level:
            if isinstance(each, dict):
                members += len(each)
                if folded and len(each) > 1:
                    _check_names(each)
            below += [item for item in _items(each) if type(item) is dict or type(item) is list]
        level = below
    if level:
        raise ValueError(_TOO_DEEP)
    # The decoder keeps the last of two members of one name: then there are more colons than members.
    if data.count(b":") != members and _STRING.sub(b"", data).count(b":") != members:
        raise ValueError("a name stands twice in one object")
    if _LONG_NUMBER.search(data) and any(_is_beyond(item) for item in _all(value)):
        raise ValueError("an integer is beyond 64 bits")
    if _NUL in data and any(isinstance(item, str) and "\0" in item for item in _all(value)):
        raise ValueError("a text has a NUL")


def _check_names(members: dict[str, Any]) -> None:
    if len({name.casefold() for name in members}) != len(members):
        raise ValueError("two names in one object differ by case alone")


def _is_beyond(item: object) -> bool:
    return isinstance(item, int) and not MIN_INTEGER <= item <= MAX_INTEGER


def _items(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _all(value: object) -> Iterator[object]:
    """The value, and every name and value in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, dict):
            yield from item
        waiting += _items(item)
