"""What a worker counts of a candidate, and says when one cannot be asked."""

import traceback

import structlog

from authz_server.model import Comparison
from authz_server.telemetry.candidate_counts import CandidateCounters


class CandidateWatch:
    """Counts what comes of one candidate; from any thread."""

    def __init__(self, revision: str, counters: CandidateCounters) -> None:
        self._revision = revision
        self._counters = counters
        self._told = False
        counters.begin()

    def compared(
        self, outcome: Comparison, seconds: float, *, by_candidate: bool, denied_by_both: bool = False
    ) -> None:
        """Count a request about which both policies were asked, or should have been."""
        self._counters.add(outcome, seconds, by_candidate=by_candidate, denied_by_both=denied_by_both)

    def failed(self, error: Exception) -> None:
        """Count a defect of ours, and tell of the first one."""
        self._counters.add("failed", 0.0, by_candidate=False)
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
