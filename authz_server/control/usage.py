"""Counts what is used of the policies, as long as the server runs, and keeps it on disk from one run to the next."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import structlog

from authz_server.bounds import MIB
from authz_server.control.checked_file import NothingKept, read_checked, write_checked
from authz_server.control.settings import Settings
from authz_server.policy.plan import Plan
from authz_server.usage.counting import Counting
from authz_server.usage.state import Gap, State, decode, encode

FILE = "usage"
"""In the run directory."""
_RUNNING = b"authz-server usage, format 1, a server runs\n"
_ENDED = b"authz-server usage, format 1, the server has ended\n"
_MAX_BYTES = 256 * MIB
_EVERY_S = 30.0
"""Between two times that what is new is written."""
_SHARE = 20
"""A disk that is slow is left alone for so many times what it has taken."""
_DAY_S = 86_400.0
_MAX_ACTIVATED = 16
"""Policies that came into force since it was looked last; of more the latest matter."""


class UsageFile:
    """What is counted, on disk; of one server. The methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[State, bool]:
        """What is counted, and whether its server has written all of it. Raises NothingKept."""
        try:
            return self._read(_ENDED), True
        except NothingKept:
            return self._read(_RUNNING), False

    def write(self, content: bytes, *, ended: bool) -> None:
        """Replace what is there, which nobody adds to where the server has `ended`. Raises OSError."""
        write_checked(self.path, _ENDED if ended else _RUNNING, content)

    def _read(self, format: bytes) -> State:
        try:
            return decode(bytes(read_checked(self.path, format, _MAX_BYTES)))
        except ValueError as error:
            raise NothingKept(f"it cannot be read: {error}") from None


class UsageCounter:
    """Counts in the thread that delivers records, and writes in another one."""

    def __init__(
        self, file: UsageFile, keep_s: float, clock: Callable[[], float] = time.time, every_s: float = _EVERY_S
    ) -> None:
        """`keep_s` is how long what was used is remembered. Blocks."""
        self._file = file
        self._keep_s = keep_s
        self._clock = clock
        self._every_s = every_s
        self._lock = Lock()
        self._counting = Counting(self._known())
        # Handed over without the lock: whoever activates policies waits for nothing.
        self._activated: deque[tuple[Plan, Plan | None, float]] = deque(maxlen=_MAX_ACTIVATED)
        self._changed = True
        self._forgot_at = clock()
        self.problem: str | None = None
        """Why what was counted is not on disk."""

    def take_up(self, plan: Plan, candidate: Plan | None = None) -> None:
        """Count for these policies, which come into force, and for their candidate."""
        self._activated.append((plan, candidate, self._clock()))

    def observe(self, lines: Sequence[bytes]) -> None:
        """Count lines of the audit."""
        with self._lock:
            self._catch_up()
            self._counting.add(lines)
            self._changed = True

    async def run(self) -> None:
        """Write what is new, again and again, until cancelled."""
        while True:
            begun = time.monotonic()
            await asyncio.to_thread(self.save)
            await asyncio.sleep(max(self._every_s, _SHARE * (time.monotonic() - begun)))

    def save(self, *, ended: bool = False) -> None:
        """Bring to disk what is new, or everything at the end; what keeps it from that is logged, and a `problem`."""
        with self._lock:
            self._catch_up()
            self._forget()
            if not (self._changed or ended):
                return
            content = encode(self._counting.state)
            self._changed = False
        try:
            self._file.write(content, ended=ended)
        except OSError as error:
            self._changed = True
            self._tell(error.strerror or str(error))
        else:
            self.problem = None

    def _catch_up(self) -> None:
        while self._activated:
            plan, candidate, time = self._activated.popleft()
            self._counting.take_up(plan, time)
            self._counting.take_up_candidate(candidate)
            self._changed = True

    def _forget(self) -> None:
        now = self._clock()
        if now - self._forgot_at >= _DAY_S:
            self._forgot_at = now
            self._counting.forget(now - self._keep_s)
            self._changed = True

    def _known(self) -> State:
        """What an earlier run has counted; a file that cannot be used is put aside."""
        now = self._clock()
        try:
            state, whole = self._file.read()
        except NothingKept as error:
            if self._file.path.exists():
                structlog.get_logger().error("usage_not_read", file=str(self._file.path), problem=str(error))
                self._file.path.replace(self._file.path.with_name(f"{FILE}.unusable"))
            return State(began=now)
        if not whole:
            state.add_gap(Gap(state.last or state.began, now, None, "ended"))
        state.forget(now - self._keep_s)
        return state

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            structlog.get_logger().error("usage_not_written", file=str(self._file.path), problem=problem)
        self.problem = problem


def usage_file(settings: Settings) -> UsageFile:
    """Where a server with these settings keeps what it counts."""
    return UsageFile(settings.run_directory / FILE)
