"""JSON objects that have one reading: what comes from outside is read by this alone."""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)

_TOO_DEEP = f"nested deeper than {MAX_DEPTH}"
_SURROGATE_OR_NUL = re.compile("[\0\ud800-\udfff]")


def read_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object (RFC 8259) in UTF-8.

    Raises ValueError, in words without the input, also on duplicate names, a byte order mark, integers beyond
    64 bits, numbers that no float holds, nesting over 32, and texts with NUL or lone surrogates, which other
    software would cut or could not encode.
    """
    try:
        # As text, so that `json.loads` neither guesses UTF-16 nor skips a byte order mark.
        value = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError("not JSON") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    _check_values(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return members


def _integer(text: str) -> int:
    # Anything longer is out of range, and not worth converting.
    if len(text) <= len(str(MIN_INTEGER)) and MIN_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        return number
    raise ValueError("an integer is beyond 64 bits")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError("NaN or Infinity is not JSON")


def _check_values(value: object) -> None:
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            if _SURROGATE_OR_NUL.search(value):
                raise ValueError("a text has a NUL or a lone surrogate")
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise ValueError(_TOO_DEEP)
            waiting.extend([(element, depth + 1) for element in value])
            if isinstance(value, dict):
                waiting.extend([(element, depth + 1) for element in value.values()])
