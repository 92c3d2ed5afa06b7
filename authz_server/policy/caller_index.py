"""Finds the candidates whose `from` may fit a caller, without asking each one.

Every candidate is filed under the most selective thing that its `from` names, so that a rule for one workload
costs nothing to the callers of all others. What is found here may fit; `CallerMatch.fits` has the last word.
"""

from threading import Lock
from typing import Generic, NamedTuple, TypeVar
from weakref import ref

from authz_server.bounds import KIB, MIB, Bound, Room
from authz_server.identity.spiffe import SpiffePattern
from authz_server.model import SpiffeId
from authz_server.policy.callers import ANONYMOUS, ANY_USER, Caller, CallerMatch, Key, UserMatch
from authz_server.policy.segment_tree import Ending, SegmentTree

Candidate = TypeVar("Candidate")

WORKLOADS = Bound(
    "workloads",
    "worker",
    entries=20_000,
    bytes=16 * MIB,
    holds="Which rules have a pattern that fits a workload.",
    full="All are forgotten, and found again.",
    kept_in=("Fitting._filled", "CallerIndex._by_workload"),
)
_ENTRY_BYTES = KIB // 2
_POINTER_BYTES = 8

Found = dict[str, list[Candidate]]
"""Candidates by the SPIFFE ID of the workload."""


class Fitting(Generic[Candidate]):
    """Keeps what indexes remember of workloads within one bound, however many indexes there are, and holds none.

    What was remembered by those that have left counts until the bound is reached. Any thread may use it.
    """

    def __init__(self) -> None:
        self._filled: list[ref[CallerIndex[Candidate]]] = []
        self._room = Room(WORKLOADS)
        self._lock = Lock()

    def keep(self, index: "CallerIndex[Candidate]", workload: str, found: list[Candidate]) -> None:
        """Let an index remember the candidates of a workload; where there is no room, all forget theirs before."""
        # An index that remembers something and is not among the filled ones would grow for ever.
        with self._lock:
            if self._room.is_full_for(_ENTRY_BYTES + len(workload) + _POINTER_BYTES * len(found)):
                filled, self._filled = self._filled, []
                for one in filled:
                    if (there := one()) is not None:
                        there.forget()
            if index.remember(workload, found):
                self._filled.append(ref(index))


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

    def __init__(self, fitting: Fitting[Candidate]) -> None:
        """`fitting` is shared by all indexes that may be there at the same time."""
        self._fitting = fitting
        self._keyed: dict[Key, list[Candidate]] = {}
        self._patterns: SegmentTree[list[Candidate]] = SegmentTree(list)
        self._has_patterns = False
        self._by_workload: Found[Candidate] = {}
        self._anyone: list[Candidate] = []

    def remember(self, workload: str, found: list[Candidate]) -> bool:
        """Find these at once for a workload from now on; whether it is the first one that is remembered."""
        is_first = not self._by_workload
        self._by_workload[workload] = found
        return is_first

    def forget(self) -> None:
        """Remember no workload any more."""
        self._by_workload.clear()

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
            found = found + (self._found_for(spiffe_id) if fitting is None else fitting)
        return found

    def _found_for(self, spiffe_id: SpiffeId) -> list[Candidate]:
        """The candidates whose patterns fit; looked up once for the workloads that call again and again."""
        leaves = self._patterns.find((spiffe_id.trust_domain, *spiffe_id.segments))
        found = [candidate for candidates in leaves for candidate in candidates]
        self._fitting.keep(self, spiffe_id.text, found)
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
