"""The spool against a plain list, over any sequence of puts, releases, kills and orderly restarts."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, lists

from authz_server.audit.spool import MIN_SIZE, Spool


class SpoolMachine(RuleBasedStateMachine):
    """A spool, and what should be in it: frames of lines."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "a.spool"
        self.spool = Spool(self.path, MIN_SIZE)
        self.expected: list[list[bytes]] = []
        self.number = 0

    @rule(lengths=lists(integers(0, 700), min_size=1, max_size=4))
    def put(self, lengths: list[int]) -> None:
        """It is refused exactly where there is no room."""
        self.number += 1
        lines = [f"{self.number}:".encode() + b"x" * length for length in lengths]
        fits = sum(map(frame_size, [*self.expected, lines])) <= MIN_SIZE
        assert self.spool.put(lines, len(lines)) == fits
        if fits:
            self.expected.append(lines)

    @rule(max_bytes=integers(1, 5000))
    def release(self, max_bytes: int) -> None:
        """Take out what is oldest."""
        waiting = self.spool.oldest(max_bytes)
        if waiting is None:
            assert not self.expected
            return
        taken: list[bytes] = []
        while len(taken) < len(waiting.lines):
            taken += self.expected.pop(0)
        assert waiting.lines == taken
        assert not waiting.damaged
        self.spool.release(waiting)

    @rule()
    def killed(self) -> None:
        """Another process goes on with what the file held at any moment."""
        copy = self.path.with_name(f"{self.number}.{self.path.name}"[-60:])
        copy.write_bytes(self.path.read_bytes())
        self.spool.close()
        self.path.unlink()
        copy.rename(self.path)
        self.spool = Spool(self.path, MIN_SIZE)

    @rule()
    def restarted(self) -> None:
        """In order."""
        self.spool.close()
        self.spool = Spool(self.path, MIN_SIZE)

    @invariant()
    def what_it_holds_is_known(self) -> None:
        """Bytes and records."""
        assert self.spool.used == sum(map(frame_size, self.expected))
        assert self.spool.records == sum(map(len, self.expected))

    def teardown(self) -> None:
        """Leave no file."""
        self.spool.close()
        self.directory.cleanup()


def frame_size(lines: list[bytes]) -> int:
    """Bytes that lines take: a header of 16, and all of them in multiples of 8."""
    return 16 + (sum(map(len, lines)) + len(lines) - 1 + 7) // 8 * 8


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
