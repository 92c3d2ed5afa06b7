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

    @property
    def fits_all(self) -> bool:
        """Whether every segment but an empty one can stand here, so that none needs to be asked about."""
        ...

    def fits(self, segment: str, /) -> bool:
        """Whether a segment can stand here."""
        ...


class _Node(Generic[Leaf]):
    __slots__ = ("any", "exact", "holes", "literals", "rest", "slash")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Leaf]] = {}
        self.any: _Node[Leaf] | None = None
        """The branch of the hole that takes every segment but an empty one."""
        self.holes: dict[Hole, _Node[Leaf]] = {}
        self.exact: Leaf | None = None
        self.slash: Leaf | None = None
        self.rest: Leaf | None = None

    def branch(self, step: str | Hole) -> "_Node[Leaf]":
        """The node that a step leads to, made when it is asked for first."""
        if isinstance(step, str):
            below = self.literals.get(step)
            if below is None:
                below = self.literals[step] = _Node()
            return below
        if step.fits_all:
            self.any = self.any or _Node()
            return self.any
        return self.holes.setdefault(step, _Node())


class SegmentTree(Generic[Leaf]):
    """Leaves filed under patterns. Built once, then only read."""

    def __init__(self, new_leaf: Callable[[], Leaf]) -> None:
        self._new_leaf = new_leaf
        self._root: _Node[Leaf] = _Node()

    def leaf(self, steps: Sequence[str | Hole], ending: Ending) -> Leaf:
        """The leaf of one pattern, made when it is asked for first."""
        node = self._root
        for step in steps:
            node = node.branch(step)
        leaf: Leaf | None = getattr(node, ending)
        if leaf is None:
            leaf = self._new_leaf()
            setattr(node, ending, leaf)
        return leaf

    def find(self, segments: Sequence[str], trailing_slash: bool = False) -> list[Leaf]:
        """The leaves of all patterns that the segments fit."""
        found: list[Leaf] = []
        nodes = [self._root]
        for segment in segments:
            following: list[_Node[Leaf]] = []
            for node in nodes:
                if node.rest is not None:
                    found.append(node.rest)
                if segment in node.literals:
                    following.append(node.literals[segment])
                if node.any is not None and segment:
                    following.append(node.any)
                if node.holes:
                    following += [branch for hole, branch in node.holes.items() if hole.fits(segment)]
            if not following:
                return found
            nodes = following
        ends = [node.slash if trailing_slash else node.exact for node in nodes]
        return found + [leaf for leaf in ends if leaf is not None]
