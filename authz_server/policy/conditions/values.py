"""What may be handed to the engine, which misreads some values instead of refusing them."""

from collections.abc import Iterable

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


def longest(value: object) -> int:
    """The number of elements of the longest list or map in the value of a variable."""
    if isinstance(value, Message):
        fields = [content for field, content in value.ListFields() if field.is_repeated]
        return max((len(content) for content in fields), default=0)
    if isinstance(value, dict):
        return _longest(len(value), value.values())
    if isinstance(value, list):
        return _longest(len(value), value)
    return 0


def _longest(own: int, items: Iterable[object]) -> int:
    return max([own, *(longest(item) for item in items)])
