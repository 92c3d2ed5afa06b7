"""What a worker counts of a candidate, and says when one cannot be asked."""

import traceback
from threading import Lock

import structlog

from authz_server.model import Comparison
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.messages import RolledOut


class CandidateWatch:
    """Counts what comes of one candidate; from any thread."""

    def __init__(self, revision: str, metrics: WorkerMetrics) -> None:
        self._revision = revision
        self._metrics = metrics
        self._lock = Lock()
        self._decisions = self._closed = 0
        self._told = False
        metrics.candidate_is_there()

    def compared(self, outcome: Comparison, seconds: float, *, by_candidate: bool) -> None:
        """Count a request about which both policies were asked, or should have been."""
        self._metrics.candidate_compared(outcome, seconds, by_candidate=by_candidate)
        if by_candidate:
            with self._lock:
                self._decisions += 1
                self._closed += outcome == "closed"

    def failed(self, error: Exception) -> None:
        """Count a defect of ours, and tell of the first one."""
        self._metrics.candidate_compared("failed", 0.0, by_candidate=False)
        if not self._told:
            self._told = True
            # Where it happened, never the error's text, which could hold what the request held.
            place = traceback.extract_tb(error.__traceback__)[-1]
            structlog.get_logger().error(
                "candidate_failed",
                revision=self._revision,
                error=type(error).__name__,
                where=f"{place.filename}:{place.lineno}",
            )

    def rolled_out(self) -> RolledOut:
        """What has come of the roll-out so far."""
        with self._lock:
            return RolledOut(self._revision, self._decisions, self._closed)
