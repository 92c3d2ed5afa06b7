"""Puts the record of each decision into the ring of a worker."""

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingProducer
from authz_server.errors import Reason, Refused
from authz_server.model import Decision


class Recorder:
    """What a worker calls with each decision before the answer leaves; from any thread."""

    def __init__(self, ring: RingProducer, worker: int, redaction: Redaction) -> None:
        self._ring = ring
        self._worker = worker
        self._redaction = redaction

    def __call__(self, decision: Decision, latency_us: int) -> None:
        """Record a decision. One that finds no room is counted, and the audit shows the gap.

        Raises Refused (`audit_unavailable`) instead where the request must not go through without its record.
        """
        line = encode(decision, worker=self._worker, latency_us=latency_us, redaction=self._redaction)
        never_lose = decision.never_lose
        if self._ring.append(line, best_effort=not never_lose):
            return
        if never_lose and decision.allowed:
            self._ring.count_refused()
            raise Refused(Reason.AUDIT_UNAVAILABLE, "there is no room for the record of this decision")
        self._ring.count_dropped()
