"""What the control process counts, and the exposition of it together with what the workers count."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from authz_server.telemetry import names
from authz_server.telemetry.names import Metric

_OK, _FAILED = "ok", "failed"
FetchResult = Literal["fetched", "unchanged", "refused", "failed"]
"""What came of a look at the source of the policies."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ControlMetrics:
    """The metrics of a control process and its workers; safe in any thread."""

    def __init__(self, directory: Path) -> None:
        """Take over the directory of the workers' files: what an earlier control process left is deleted.

        Make it before the first worker is started. Raises OSError.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in directory.glob("*.db"):
            left.unlink()
        # Series for the time at which a counter was made; the workers' counters have none either.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, path=str(directory))  # type: ignore[no-untyped-call]
        self._reloads = self._counter(names.RELOADS)
        self._problems = self._gauge(names.POLICY_PROBLEMS)
        self._revision = Info(
            names.POLICY_REVISION.name.removesuffix("_info"), names.POLICY_REVISION.help, registry=self._registry
        )
        self._loaded = self._gauge(names.POLICY_LOADED)
        self._stale = self._gauge(names.POLICY_STALE)
        self._kept = self._gauge(names.POLICY_KEPT)
        self._candidate_problems = self._gauge(names.CANDIDATE_PROBLEMS)
        self._rollout = self._gauge(names.CANDIDATE_ROLLOUT)
        self._fall_backs = self._counter(names.CANDIDATE_FALL_BACKS)
        self._configuration_problems = self._gauge(names.CONFIGURATION_PROBLEMS)
        self._workers = self._gauge(names.WORKERS)
        self._failing = self._gauge(names.WORKERS_FAILING)
        self._restarts = self._counter(names.WORKER_RESTARTS)
        self._records = self._counter(names.AUDIT_RECORDS)
        self._dropped = self._counter(names.AUDIT_DROPPED)
        self._refused = self._counter(names.AUDIT_REFUSED)
        self._spool_bytes = self._gauge(names.AUDIT_SPOOL_BYTES)
        self._spool_records = self._gauge(names.AUDIT_SPOOL_RECORDS)
        self._write_errors = self._counter(names.AUDIT_WRITE_ERRORS)
        self._fetches = self._counter(names.KEYS_FETCHES)
        self._keys_age = self._gauge(names.KEYS_AGE)
        self._policy_fetches = self._counter(names.POLICY_FETCHES)
        self._policy_fetched: Gauge | None = None
        self._bundle_fetches = self._counter(names.BUNDLE_FETCHES)
        self._bundle_age = self._gauge(names.BUNDLE_AGE)
        self._trust_problems = self._gauge(names.TRUST_PROBLEMS)
        for result in (_OK, _FAILED):
            self._reloads.labels(result)

    def policies_activated(self, revision: str, now: float, problems: int = 0) -> None:
        """Every worker decides by this revision of the files since `now`, in seconds since the epoch.

        With problems, the files have changed meanwhile.
        """
        self._reloads.labels(_OK).inc()
        self._problems.set(problems)
        self._stale.set(0)
        self._decides(revision, now)

    def policies_stale(self, revision: str, now: float) -> None:
        """Every worker decides by this revision of an earlier run since `now`; the files have their problems."""
        self._stale.set(1)
        self._kept.set(1)
        self._decides(revision, now)

    def policies_refused(self, problems: int) -> None:
        """The files have this many problems, and the last good policies stay."""
        self._reloads.labels(_FAILED).inc()
        self._problems.set(problems)

    def policies_kept(self, *, kept: bool) -> None:
        """Whether the policies that decide are on disk."""
        self._kept.set(int(kept))

    def candidate_problems(self, problems: int) -> None:
        """The files of the candidate have this many problems."""
        self._candidate_problems.set(problems)

    def rolled_out(self, percent: int) -> None:
        """The candidate decides for this share of the callers."""
        self._rollout.set(percent)

    def rollout_fell_back(self) -> None:
        """A roll-out fell back, because the candidate denied too much."""
        self._fall_backs.inc()

    def workers(self, *, serving: int, starting: int, failing: int) -> None:
        """How many workers there are in each state, and how many of them end again and again."""
        self._failing.set(failing)
        self._workers.labels("serving").set(serving)
        self._workers.labels("starting").set(starting)
        # From zero on: the increase to a first sample that is one already would not be seen.
        for slot in range(serving + starting):
            self._dropped.labels(str(slot))

    def configuration_problems(self, problems: int) -> None:
        """The configuration had this many problems when it was read last."""
        self._configuration_problems.set(problems)

    def worker_restarted(self) -> None:
        """A worker had to be replaced."""
        self._restarts.inc()

    def audit_collected(self, dropped: Mapping[int, int], refused: int) -> None:
        """Records of workers, by slot, were lost for want of room, and requests were denied for it."""
        for slot, count in dropped.items():
            self._dropped.labels(str(slot)).inc(count)
        self._refused.inc(refused)

    def audit_written(self, records: int) -> None:
        """Records were written to the audit file."""
        self._records.inc(records)

    def audit_spool(self, *, bytes: Callable[[], float], records: Callable[[], float]) -> None:
        """Ask these functions for what waits in the spool whenever metrics are read."""
        self._spool_bytes.set_function(bytes)
        self._spool_records.set_function(records)

    def audit_write_failed(self) -> None:
        """The audit file could not be written."""
        self._write_errors.inc()

    def policies_have_source(self) -> None:
        """Policies are fetched: count from zero on, and show an age only where there is one."""
        self._policy_fetched = self._gauge(names.POLICY_FETCHED)
        for result in get_args(FetchResult):
            self._policy_fetches.labels(result)

    def policies_fetched(self, result: FetchResult, now: float) -> None:
        """This came of a look at their source, at `now` in seconds since the epoch."""
        self._policy_fetches.labels(result).inc()
        if self._policy_fetched is not None and result in ("fetched", "unchanged"):
            self._policy_fetched.set(now)

    def keys_fetched(self, issuer: str, *, ok: bool) -> None:
        """Keys of an issuer, by its configured name, were fetched or could not be."""
        self._fetches.labels(issuer, _OK if ok else _FAILED).inc()

    def keys_age(self, issuer: str, age_s: Callable[[], float]) -> None:
        """Ask this function for the age of an issuer's keys whenever metrics are read; NaN without keys."""
        self._keys_age.labels(issuer).set_function(age_s)
        # From zero on, as above.
        for result in (_OK, _FAILED):
            self._fetches.labels(issuer, result)

    def bundle_fetched(self, trust_domain: str, *, ok: bool) -> None:
        """A trust bundle was fetched or could not be."""
        self._bundle_fetches.labels(trust_domain, _OK if ok else _FAILED).inc()

    def bundle_age(self, trust_domain: str, age_s: Callable[[], float]) -> None:
        """Ask this function for the age of a bundle whenever metrics are read; NaN without one."""
        self._bundle_age.labels(trust_domain).set_function(age_s)
        for result in (_OK, _FAILED):
            self._bundle_fetches.labels(trust_domain, result)

    def trust_problems(self, count: Callable[[], float]) -> None:
        """Ask this function for the number of issuers and bundles with a problem whenever metrics are read."""
        self._trust_problems.set_function(count)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, those of the workers summed."""
        return generate_latest(self._registry)

    def _decides(self, revision: str, now: float) -> None:
        self._revision.info({names.REVISION: revision})
        self._loaded.set(now)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
