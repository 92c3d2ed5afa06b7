"""What may be handed to the engine, which misreads some values instead of refusing them."""

from collections.abc import Iterable, Mapping, Sequence

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


def largest(value: object) -> tuple[int, int]:
    """The elements of the longest list or map in the value of a variable, and the characters of its longest text."""
    if isinstance(value, str):
        return 0, len(value)
    if isinstance(value, Message):
        return _largest(0, (content for _, content in value.ListFields()))
    if isinstance(value, Mapping):
        return _largest(len(value), (*value, *value.values()))
    if isinstance(value, Sequence):
        return _largest(len(value), value)
    return 0, 0


def _largest(own: int, items: Iterable[object]) -> tuple[int, int]:
    sizes = [largest(item) for item in items]
    return max([own, *(elements for elements, _ in sizes)]), max((text for _, text in sizes), default=0)
