"""A server that follows one which was killed begins when nobody decides by older policies any more."""

from pathlib import Path

import pytest

from authz_server.audit.ring import RingConsumer, RingProducer, create_ring
from authz_server.control.takeover import PredecessorsLeft, take_over
from tests.unit.control.fleet import PATIENCE_S


class EndingWorker(RingConsumer):
    """The ring of a worker that ends when it has been looked at some times."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._worker = RingProducer(path)
        self.looks = 3

    def has_producer(self) -> bool:
        """Look at it once more."""
        self.looks -= 1
        if self.looks == 0:
            self._worker.close()
        return super().has_producer()


def test_workers_of_before_are_waited_for(tmp_path: Path) -> None:
    """Also where they hold no address that is wanted: they may still answer those who have asked them."""
    create_ring(tmp_path / "ring", 1 << 16)
    ring = EndingWorker(tmp_path / "ring")
    take_over([], [ring], PATIENCE_S)
    assert ring.looks <= 0


def test_a_worker_of_before_that_does_not_end_is_told_of(tmp_path: Path) -> None:
    """Nothing is served beside it."""
    create_ring(tmp_path / "ring", 1 << 16)
    worker = RingProducer(tmp_path / "ring")
    with pytest.raises(PredecessorsLeft, match="workers of an earlier server still decide"):
        take_over([], [RingConsumer(tmp_path / "ring")], 0.0)
    worker.close()
    take_over([], [RingConsumer(tmp_path / "ring")], 0.0)
