"""How far a command is, for terminals."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import typer

T = TypeVar("T")


def shown(items: Sequence[T], label: str, *, many: int) -> Iterator[T]:
    """The items, with a bar on a terminal that says how many are done, where they are many."""
    if len(items) < many or not sys.stderr.isatty():
        yield from items
        return
    with typer.progressbar(items, label=label, file=sys.stderr, show_pos=True) as bar:
        yield from bar
