"""Everything that is counted of policies, as it is kept from one run to the next."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct, field

from authz_server.bounds import MIB, Bound
from authz_server.usage.counted import Counted, Seen

USES = Bound(
    "kinds of uses",
    "server",
    entries=50_000,
    bytes=64 * MIB,
    holds="Who used which rule by which items, methods and paths, for `authz usage`.",
    full="What is more is counted for its rule and its items alone, and `authz usage` says so.",
)
GAPS = Bound(
    "gaps in what is counted",
    "server",
    entries=200,
    bytes=MIB // 16,
    holds="When records were lost that would have been counted, and how many.",
    full="The latest takes in what follows.",
)
REVISIONS = Bound(
    "revisions that were counted",
    "server",
    entries=64,
    bytes=MIB // 64,
    holds="The hashes of policies whose decisions are counted.",
    full="The oldest goes; of decisions that come from it later is counted how many they are.",
)
MAX_BEFORE = 10_000
"""Rules that are no longer there as they were, and may come back."""
_GAPS_APART_S = 3600.0


class Gap(Struct):
    """Decisions of which nothing was counted."""

    first: float
    last: float
    records: int | None
    """How many, where that is known."""
    why: str
    """`lost` before they came to the audit file, or `ended`: the server ended without writing what it had counted."""


class State(Struct):
    """What is counted since `began`; times in seconds since the epoch."""

    began: float
    decisions: int = 0
    last: float = 0.0
    """The time of the last decision."""
    index: int = 0
    """Counts the revisions that came into force."""
    revisions: dict[str, int] = {}
    rules: dict[str, Counted] = {}
    """Those in force, by full id."""
    before: dict[tuple[str, bytes], Counted] = {}
    """Those that were, by id and content, as long as something of them is remembered."""
    gaps: list[Gap] = []
    candidate: Seen = field(default_factory=Seen)
    """Decisions of a candidate that are not those of a rule in force."""
    unplaced: Seen = field(default_factory=Seen)
    """Decisions of policies that are not known here."""

    @property
    def uses(self) -> int:
        """How many kinds of uses are told apart."""
        return sum(len(rule.uses) for rule in self._all())

    def add_gap(self, gap: Gap) -> None:
        """Remember lost records; gaps of one hour are one."""
        last = self.gaps[-1] if self.gaps else None
        near = last is not None and last.why == gap.why and gap.first - last.last < _GAPS_APART_S
        if last is None or not (near or len(self.gaps) >= GAPS.entries):
            self.gaps.append(gap)
            return
        last.first, last.last = min(last.first, gap.first), max(last.last, gap.last)
        last.records = None if None in (last.records, gap.records) else (last.records or 0) + (gap.records or 0)

    def forget(self, before: float) -> None:
        """Forget what was not used since then, and gaps that ended earlier."""
        for rule in self._all():
            rule.forget(before)
        self.before = {key: rule for key, rule in self.before.items() if rule.seen.last >= before}
        self.gaps = [gap for gap in self.gaps if gap.last >= before]

    def keep_before(self, rules: Mapping[tuple[str, bytes], Counted]) -> None:
        """Remember rules that are no longer there as they were, if they were used."""
        self.before |= {key: rule for key, rule in rules.items() if rule.seen.count}
        if len(self.before) > MAX_BEFORE:
            latest = sorted(self.before.items(), key=lambda each: each[1].seen.last, reverse=True)
            self.before = dict(latest[:MAX_BEFORE])

    def _all(self) -> Iterator[Counted]:
        yield from self.rules.values()
        yield from self.before.values()


def encode(state: State) -> bytes:
    """The state in bytes."""
    return msgspec.msgpack.encode(state)


def decode(content: bytes) -> State:
    """What `encode` has made. Raises ValueError."""
    return msgspec.msgpack.decode(content, type=State)
