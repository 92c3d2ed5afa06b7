"""Many objects that are made at once, stay, and go at once, without a pause for the requests of meanwhile."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from msgspec import Struct

_CONTAINERS = (dict, list, tuple, set, frozenset, Struct)
_SETS = 512
_ALIGNMENT = 16
"""Addresses of objects are multiples of it."""
_PACKAGE = __name__.partition(".")[0] + "."


@contextmanager
def without_collection(*, freeze: bool = False) -> Iterator[None]:
    """Let no collection run within; what is dropped there and has no cycles is freed all the same.

    With `freeze`, what is there at the end is never looked at by a collection: the next one would look at all of it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if enabled:
            gc.enable()


def nothing() -> None:
    """Do nothing between steps."""


def free_in_steps(roots: list[object], step: Callable[[], None] = nothing, stays: Iterable[object] = ()) -> None:
    """Empty the list, and free what nothing else holds, an object at a time; `step` is called in between.

    Nothing of what `stays` is looked through: others hold it. The interpreter frees a structure as a whole once its
    root goes, and no other thread runs meanwhile.
    """
    held = roots
    # One set of them all would stop everybody each time it grows, and when it goes.
    seen: list[set[int]] = [set() for _ in range(_SETS)]
    for one in stays:
        seen[id(one) // _ALIGNMENT % _SETS].add(id(one))
    for parent in held:
        step()
        for child in gc.get_referents(parent):
            known = seen[id(child) // _ALIGNMENT % _SETS]
            if id(child) not in known and _may_be_part(child):
                known.add(id(child))
                held.append(child)
    one = parent = child = None
    while seen:
        seen.pop()
    # Parents first: each goes alone, because its children are held here.
    held.reverse()
    while held:
        step()
        held.pop()


def _may_be_part(one: object) -> bool:
    """Whether this could be a part of a structure: no class, function or module, which hold the whole program."""
    return isinstance(one, _CONTAINERS) or (type(one).__module__.startswith(_PACKAGE) and not isinstance(one, type))
