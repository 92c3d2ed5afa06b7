"""What can be told of the use of policies: the parts that a report is made of."""

from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct

DAY_S = 86_400.0
Place = tuple[str | int, ...]
"""A part of a rule, as fields and positions lead to it: `()` is all of it, `("to", 0, "methods", 1)` one method."""


class Unused(Struct, frozen=True):
    """A rule or a part of one that nobody has used for so long as was asked."""

    rule: str
    location: str
    effect: str
    place: Place
    grants: str
    """What it is, in words."""
    since: float
    """Since when nobody has: the last use, or from when on it was looked."""
    ever: bool
    """Whether `since` is the last use."""
    timed: bool = False
    """The rule exists at certain times alone."""
    audit: bool = False
    """The rule is in audit: it never decided."""


class Wide(Struct, frozen=True):
    """A grant for more than can be listed, and what was used of it."""

    rule: str
    location: str
    place: Place
    grants: str
    used: tuple[str, ...]


class Called(Struct, frozen=True):
    """What one caller has used of a rule with a wide grant."""

    rule: str
    caller: str
    operations: tuple[str, ...]
    decisions: int
    last: float


class Young(Struct, frozen=True):
    """A rule of which nobody can tell yet."""

    rule: str
    location: str
    since: float | None
    """Since when it was looked; None where no server has counted it as it is now."""


class Unknown(Struct, frozen=True):
    """A rule whose uses are not all known."""

    rule: str
    location: str
    decisions: int
    why: str
    """`items`: by which items; `uses`: by whom, or for what."""


OfRule = TypeVar("OfRule", Unused, Wide, Called)


class Findings(Struct, frozen=True):
    """What can be told; times in seconds since the epoch."""

    began: float
    now: float
    """Up to when it was looked."""
    cutoff: float
    """What was not used since then counts as unused."""
    decisions: int
    rules: int
    unused: list[Unused]
    wide: list[Wide]
    called: list[Called]
    young: list[Young]
    unknown: list[Unknown]

    @property
    def unused_grants(self) -> list[Unused]:
        """Those that allow something: what never denied is no reason to do without it."""
        return [each for each in self.unused if each.effect == "allow"]


def by_rule(found: Iterable[OfRule]) -> dict[str, list[OfRule]]:
    """What is told of each rule, in its order."""
    groups: dict[str, list[OfRule]] = {}
    for each in found:
        groups.setdefault(each.rule, []).append(each)
    return groups
