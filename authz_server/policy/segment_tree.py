"""A tree over segments: finds what was filed under every pattern that a sequence of segments fits.

Both path templates and SPIFFE patterns are sequences of segments with holes, so both are looked up here. The
cost of a look-up grows with the number of segments and of different holes on the way, not with what is filed.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

Leaf = TypeVar("Leaf")
Ending = Literal["exact", "slash", "rest"]
"""`exact` ends with the last segment, `slash` with a final slash, `rest` has one or more further segments."""


class Hole(Protocol):
    """A segment of a pattern that is not a literal; equal holes share a branch."""

    def fits(self, segment: str, /) -> bool:
        """Whether a segment can stand here."""
        ...


class _Node(Generic[Leaf]):
    __slots__ = ("endings", "holes", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Leaf]] = {}
        self.holes: dict[Hole, _Node[Leaf]] = {}
        self.endings: dict[Ending, Leaf] = {}


class SegmentTree(Generic[Leaf]):
    """Leaves filed under patterns. Built once, then only read."""

    def __init__(self, new_leaf: Callable[[], Leaf]) -> None:
        self._new_leaf = new_leaf
        self._root: _Node[Leaf] = _Node()

    def leaf(self, steps: Sequence[str | Hole], ending: Ending) -> Leaf:
        """The leaf of one pattern, made when it is asked for first."""
        node = self._root
        for step in steps:
            if isinstance(step, str):
                node = node.literals.setdefault(step, _Node())
            else:
                node = node.holes.setdefault(step, _Node())
        if ending not in node.endings:
            node.endings[ending] = self._new_leaf()
        return node.endings[ending]

    def find(self, segments: Sequence[str], trailing_slash: bool = False) -> list[Leaf]:
        """The leaves of all patterns that the segments fit."""
        found: list[Leaf] = []
        nodes = [self._root]
        for segment in segments:
            following: list[_Node[Leaf]] = []
            for node in nodes:
                if (rest := node.endings.get("rest")) is not None:
                    found.append(rest)
                if (literal := node.literals.get(segment)) is not None:
                    following.append(literal)
                if node.holes:
                    following += [branch for hole, branch in node.holes.items() if hole.fits(segment)]
            if not following:
                return found
            nodes = following
        ending: Ending = "slash" if trailing_slash else "exact"
        found += [leaf for node in nodes if (leaf := node.endings.get(ending)) is not None]
        return found
