"""What a worker counts, in files of its slot: a restarted worker goes on counting where the last one ended."""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from msgspec import Struct

from authz_server.bounds import KIB, MIB, Bound, Room
from authz_server.errors import Reason
from authz_server.model import Decision
from authz_server.telemetry import names
from authz_server.telemetry.candidate_counts import CandidateCounters
from authz_server.telemetry.names import Metric
from authz_server.telemetry.values import ValueFile

COUNTERS_OF_DECISIONS = Bound(
    "counters of decisions",
    "worker",
    entries=20_000,
    bytes=16 * MIB,
    holds="Which counters a decision moves, by reason, service and rule.",
    full="All are forgotten, and found again; the numbers stay.",
    kept_in=("WorkerMetrics._cells",),
)
_ENTRY_BYTES = KIB // 2
_BOUNDS_US = tuple(round(bound * 1e6) for bound in names.CHECK_BUCKETS_S)


class CacheState(Struct, frozen=True):
    """How many entries a cache has, and how often it was asked in vain or not since the process began."""

    entries: int = 0
    hits: int = 0
    misses: int = 0


class WorkerMetrics:
    """The metrics of one worker; from any thread."""

    def __init__(self, directory: Path, slot: int) -> None:
        """Open the files of this slot in the directory that the control process owns. Raises OSError."""
        self._lock = Lock()
        self._counters = ValueFile(directory / f"counter_{slot}.db")
        self._gauges = ValueFile(directory / f"gauge_sum_{slot}.db")
        self._histograms = ValueFile(directory / f"histogram_{slot}.db")
        self.candidate = CandidateCounters(directory, slot)
        self._cells: dict[tuple[Reason, bool, str | None, str | None], tuple[int, ...]] = {}
        self._room = Room(COUNTERS_OF_DECISIONS)
        self._buckets, self._sum = self._histogram(names.CHECK_SECONDS, names.CHECK_BUCKETS_S)
        self._asked_buckets, self._asked_sum = self._histogram(
            names.INTROSPECTION_SECONDS, names.INTROSPECTION_BUCKETS_S
        )
        self._tokens = self._certificates = CacheState()
        self._count(names.INTERNAL_ERRORS, 0)
        self.caches_seen(CacheState(), CacheState())
        self.introspections_waiting(0)
        self._count(names.GIVEN_UP_CALLS, 0)
        for reason in (Reason.OVERLOADED, Reason.DEADLINE):
            self._count(names.SHED_CALLS, 0, reason)

    def decided(self, decision: Decision, latency_us: int) -> None:
        """Count a decision under its reason, service and rule, and the time that it took in microseconds.

        One about calls that were shed counts as many, and took no time.
        """
        key = (decision.reason, decision.allowed, decision.service, decision.rule)
        with self._lock:
            cells = self._cells.get(key) or self._cells_of(key)
            values = self._counters.values
            if decision.shed:
                for cell in cells:
                    values[cell] += decision.shed
                self._count(names.SHED_CALLS, decision.shed, decision.reason)
                return
            for cell in cells:
                values[cell] += 1.0
            values = self._histograms.values
            values[self._buckets[bisect_left(_BOUNDS_US, latency_us)]] += 1.0
            values[self._sum] += latency_us * 1e-6

    def given_up(self) -> None:
        """Count a call that its caller has given up before its turn came."""
        with self._lock:
            self._count(names.GIVEN_UP_CALLS, 1)

    def unknown_key(self, issuer: str) -> None:
        """Count a token of this issuer, by its configured name, that named a key we do not have."""
        with self._lock:
            self._count(names.UNKNOWN_KEYS, 1, issuer)

    def introspected(self, issuer: str, result: str, seconds: float) -> None:
        """Count a question about a token to this issuer, by its configured name, and the time that it took."""
        with self._lock:
            self._count(names.INTROSPECTIONS, 1, issuer, result)
            values = self._histograms.values
            values[self._asked_buckets[bisect_left(names.INTROSPECTION_BUCKETS_S, seconds)]] += 1.0
            values[self._asked_sum] += seconds

    def introspections_waiting(self, number: int) -> None:
        """So many requests wait for the answer to such a question."""
        with self._lock:
            self._set(names.INTROSPECTIONS_WAITING, number)

    def proof_claimed(self, result: str) -> None:
        """Count a good DPoP proof by what is known of its use."""
        with self._lock:
            self._count(names.DPOP_PROOFS, 1, result)

    def caches_seen(self, tokens: CacheState, certificates: CacheState) -> None:
        """Take over the state of the caches; to be called now and then."""
        with self._lock:
            self._cache_seen(names.TOKEN_CACHE, self._tokens, tokens)
            self._cache_seen(names.CERTIFICATE_CACHE, self._certificates, certificates)
            self._tokens, self._certificates = tokens, certificates

    def close(self) -> None:
        """Close the files; the numbers stay."""
        with self._lock:
            for file in (self._counters, self._gauges, self._histograms, self.candidate):
                file.close()

    def _cells_of(self, key: tuple[Reason, bool, str | None, str | None]) -> tuple[int, ...]:
        """The counters that a decision moves, remembered for the next one like it."""
        reason, allowed, service, rule = key
        cells = [self._counter(names.DECISIONS, "allow" if allowed else "deny", reason, service or "")]
        if rule is not None:
            cells.append(self._counter(names.RULE_DECISIONS, rule))
        if reason is Reason.INTERNAL_ERROR:
            cells.append(self._counter(names.INTERNAL_ERRORS))
        if self._room.is_full_for(_ENTRY_BYTES + len(service or "") + len(rule or "")):
            self._cells.clear()
        self._cells[key] = tuple(cell for cell in cells if cell is not None)
        return self._cells[key]

    def _count(self, metric: Metric, amount: float, *labels: str) -> None:
        cell = self._counter(metric, *labels)
        if cell is not None:
            self._counters.values[cell] += amount

    def _counter(self, metric: Metric, *labels: str) -> int | None:
        """The cell of a counter, or of the one that stands for all that find no room; None with a full disk."""
        family = metric.name.removesuffix("_total")
        values = dict(zip(metric.labels, labels, strict=True))
        cell = self._counters.cell(family, metric.name, values, metric.help)
        if cell is None and metric.labels:
            values[metric.labels[-1]] = names.OTHER
            cell = self._counters.cell(family, metric.name, values, metric.help, spare=True)
        return cell

    def _histogram(self, metric: Metric, bounds: Sequence[float]) -> tuple[list[int], int]:
        """The cells of its buckets, and that of its sum."""
        limits = (*map(str, bounds), "+Inf")
        buckets = [self._histogram_cell(metric, "_bucket", {"le": limit}) for limit in limits]
        return buckets, self._histogram_cell(metric, "_sum", {})

    def _histogram_cell(self, metric: Metric, suffix: str, labels: dict[str, str]) -> int:
        cell = self._histograms.cell(metric.name, metric.name + suffix, labels, metric.help)
        assert cell is not None, "a histogram has room in a new file"  # noqa: S101
        return cell

    def _set(self, gauge: Metric, value: float) -> None:
        cell = self._gauges.cell(gauge.name, gauge.name, {}, gauge.help)
        if cell is not None:
            self._gauges.values[cell] = float(value)

    def _cache_seen(self, metrics: names.CacheMetrics, before: CacheState, now: CacheState) -> None:
        entries, hits, misses = metrics
        self._set(entries, now.entries)
        self._count(hits, now.hits - before.hits)
        self._count(misses, now.misses - before.misses)
