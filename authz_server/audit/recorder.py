"""Puts the record of each decision into the ring of a worker."""

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingProducer
from authz_server.model import Decision


class Recorder:
    """What a worker calls with each decision before the answer leaves; from any thread."""

    def __init__(self, ring: RingProducer, worker: int, redaction: Redaction) -> None:
        self._ring = ring
        self._worker = worker
        self._redaction = redaction

    def __call__(self, decision: Decision, latency_us: int) -> None:
        """Record a decision. One that finds the ring full is counted there, and the audit shows the gap."""
        self._ring.append(encode(decision, worker=self._worker, latency_us=latency_us, redaction=self._redaction))
