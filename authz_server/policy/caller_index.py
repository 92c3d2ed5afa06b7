"""Finds the candidates whose `from` may fit a caller, without asking each one.

Every candidate is filed under the most selective thing that its `from` names, so that a rule for one workload
costs nothing to the callers of all others. What is found here may fit; `CallerMatch.fits` has the last word.
"""

from typing import Generic, NamedTuple, TypeVar

from authz_server.identity.spiffe import SpiffePattern
from authz_server.model import SpiffeId
from authz_server.policy.callers import ANONYMOUS, ANY_USER, Caller, CallerMatch, Key, UserMatch
from authz_server.policy.segment_tree import Ending, SegmentTree

Candidate = TypeVar("Candidate")

MAX_REMEMBERED = 256
"""Workloads for which an index remembers whose patterns fit."""


class AnySegment(NamedTuple):
    """`*` in a SPIFFE pattern."""

    @property
    def fits_all(self) -> bool:
        """Every segment can stand here."""
        return True

    def fits(self, segment: str) -> bool:
        """Every segment can stand here."""
        return True


class CallerIndex(Generic[Candidate]):
    """Candidates by caller. Built once, then only read, but for what it remembers."""

    def __init__(self) -> None:
        self._keyed: dict[Key, list[Candidate]] = {}
        self._patterns: SegmentTree[list[Candidate]] = SegmentTree(list)
        self._has_patterns = False
        self._by_workload: dict[str, list[Candidate]] = {}
        self._anyone: list[Candidate] = []

    def add(self, callers: CallerMatch | None, candidate: Candidate) -> None:
        """File a candidate; no callers means anyone."""
        selectors = None if callers is None else _selectors(callers)
        if selectors is None:
            self._anyone.append(candidate)
            return
        for selector in selectors:
            if isinstance(selector, tuple):
                self._keyed.setdefault(selector, []).append(candidate)
            else:
                steps = [AnySegment() if segment == "*" else segment for segment in selector.segments]
                ending: Ending = "rest" if selector.rest else "exact"
                self._patterns.leaf([selector.trust_domain, *steps], ending).append(candidate)
                self._has_patterns = True

    def find(self, caller: Caller) -> list[Candidate]:
        """The candidates that may fit, some perhaps twice."""
        found = self._anyone
        if self._keyed:
            for key in caller.keys():  # noqa: SIM118  # not a mapping
                if key in self._keyed:
                    found = found + self._keyed[key]
        if self._has_patterns and caller.workload is not None:
            spiffe_id = caller.workload.id
            fitting = self._by_workload.get(spiffe_id.text)
            found = found + (self._fitting(spiffe_id) if fitting is None else fitting)
        return found

    def _fitting(self, spiffe_id: SpiffeId) -> list[Candidate]:
        """The candidates whose patterns fit; looked up once for the workloads that call again and again."""
        leaves = self._patterns.find((spiffe_id.trust_domain, *spiffe_id.segments))
        found = [candidate for candidates in leaves for candidate in candidates]
        if len(self._by_workload) >= MAX_REMEMBERED:
            self._by_workload.clear()
        self._by_workload[spiffe_id.text] = found
        return found


def _selectors(callers: CallerMatch) -> set[Key | SpiffePattern] | None:
    """The things of which a caller must have one in order to fit; None where it need not have any."""
    if callers.workloads:
        return {_workload_selector(pattern) for pattern in callers.workloads}
    if callers.users is not None:
        return set(_user_selectors(callers.users))
    if callers.any_of:
        nested = [_selectors(item) for item in callers.any_of]
        known = [selectors for selectors in nested if selectors is not None]
        return set().union(*known) if len(known) == len(nested) else None
    return {ANONYMOUS} if callers.anonymous else None


def _workload_selector(pattern: SpiffePattern) -> Key | SpiffePattern:
    is_exact = not pattern.rest and "*" not in pattern.segments
    return ("workload", pattern.text) if is_exact else pattern


def _user_selectors(users: UserMatch) -> list[Key]:
    if users.subjects:
        return [("subject", subject) for subject in users.subjects]
    if users.groups:
        return [("group", group) for group in users.groups]
    if users.roles:
        return [("role", role) for role in users.roles]
    if users.scopes:
        return [("scope", min(users.scopes))]
    return [ANY_USER]
