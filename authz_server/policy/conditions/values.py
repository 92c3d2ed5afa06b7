"""What may be handed to the engine, which misreads some values instead of refusing them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from google.protobuf.message import Message

MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)


class Unusable(Exception):
    """A variable that cannot be bound for a request: whatever uses it cannot be evaluated.

    The message names attributes and holds nothing of their values.
    """


def checked_text(text: str) -> str:
    """The text itself. Raises Unusable: the engine would cut it at NUL, and cannot take a lone surrogate."""
    if "\0" in text:
        raise Unusable("a text holds NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unusable("a text holds a lone surrogate") from error
    return text


def checked(value: object) -> object:
    """A value of JSON itself. Raises Unusable where the engine would misread it."""
    if isinstance(value, str):
        checked_text(value)
    elif isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise Unusable("an integer has more than 64 bits")
    elif isinstance(value, dict):
        for key, item in value.items():
            checked_text(key)
            checked(item)
    elif isinstance(value, list):
        for item in value:
            checked(item)
    return value


def excess(value: object, max_elements: int, max_text: int) -> Literal["elements", "text"] | None:
    """What the value of a variable has too much of: a list or map too many elements, or a text too many characters.

    Ends at the first, so that what is refused costs little.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        # Types before abstract classes, a question to which takes ten times as long: a body has thousands of values.
        if isinstance(one, str):
            if len(one) > max_text:
                return "text"
        elif one is None or isinstance(one, int | float):
            continue
        elif isinstance(one, dict | Mapping):
            if len(one) > max_elements:
                return "elements"
            waiting += [*one, *one.values()]
        elif isinstance(one, Message):
            waiting += [content for _, content in one.ListFields()]
        elif isinstance(one, list | Sequence):
            if len(one) > max_elements:
                return "elements"
            waiting += one
    return None
