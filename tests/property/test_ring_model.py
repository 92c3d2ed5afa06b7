"""The ring against a plain list, over any sequence of appends, reads and restarts of either side."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import binary, booleans, integers, one_of

from authz_server.audit.ring import MIN_SIZE, Batch, RingConsumer, RingProducer, create_ring


def frame_size(record: bytes) -> int:
    """Bytes that a record takes: a header of 8, and all of it in multiples of 8."""
    return 8 + (len(record) + 7) // 8 * 8


class RingMachine(RuleBasedStateMachine):
    """Both sides of one ring, and what should be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "0.ring"
        create_ring(self.path, MIN_SIZE)
        self.producer, self.consumer = RingProducer(self.path), RingConsumer(self.path)
        self.expected: list[bytes] = []
        self.dropped = 0

    @rule(
        record=one_of(binary(max_size=40), integers(0, 1100).map(lambda length: b"x" * length)), best_effort=booleans()
    )
    def append(self, record: bytes, best_effort: bool) -> None:
        """It is refused exactly where there is no room for its class, or where it is over a quarter."""
        fits = frame_size(record) <= MIN_SIZE // 4
        fits = fits and sum(map(frame_size, [*self.expected, record])) <= MIN_SIZE // (2 if best_effort else 1)
        assert self.producer.append(record, best_effort=best_effort) == fits
        if fits:
            self.expected.append(record)
        else:
            self.producer.count_dropped()
            self.dropped += 1

    @rule(max_bytes=integers(1, 6000))
    def consume(self, max_bytes: int) -> None:
        """Read and take out."""
        self.consumer.advance(self.read(max_bytes))

    @rule(max_bytes=integers(1, 6000))
    def consumer_dies_after_reading(self, max_bytes: int) -> None:
        """What was read and not taken out comes again."""
        self.read(max_bytes)
        self.consumer.close()
        self.consumer = RingConsumer(self.path)
        self.expected = self.unread + self.expected
        self.dropped = self.untold

    @rule()
    def producer_restarts(self) -> None:
        """Nothing changes."""
        self.producer.close()
        self.producer = RingProducer(self.path)

    @invariant()
    def emptiness_is_seen(self) -> None:
        """Empty means that neither records nor a gap are left to tell of."""
        assert self.consumer.is_empty() == (not self.expected and not self.dropped)

    def read(self, max_bytes: int) -> Batch:
        """Read, and compare with what should be there."""
        batch = self.consumer.read(max_bytes)
        self.unread, self.untold = batch.records, batch.dropped
        assert batch.records == self.expected[: len(batch.records)]
        assert batch.records or not self.expected
        assert (batch.dropped, batch.damaged) == (self.dropped, False)
        del self.expected[: len(batch.records)]
        self.dropped = 0
        return batch

    def teardown(self) -> None:
        """Leave no file."""
        self.producer.close()
        self.consumer.close()
        self.directory.cleanup()


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
