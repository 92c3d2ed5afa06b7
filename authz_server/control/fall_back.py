"""Lets a roll-out fall back when the candidate denies too much of what the policies in force would have allowed."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import msgspec
import structlog
from msgspec import Struct

from authz_server.control.checked_file import NothingKept, NothingThere, read_checked, write_checked
from authz_server.control.settings import Settings
from authz_server.control.settings.candidate import FallBackSettings
from authz_server.documents.instants import instant
from authz_server.documents.quantities import format_duration
from authz_server.telemetry.candidate_counts import CandidateCounts

LOOK_S = 0.5
"""Between two looks at what has come of a roll-out."""
NEVER = 100
"""The percentage of denials that nothing exceeds: such a roll-out is not watched."""
FILE = "candidate.fallen-back"
"""In the run directory."""
_FORMAT = b"authz-server fallen back roll-out, format 1\n"
_MAX_BYTES = 4096


class FallenBack(Struct, frozen=True):
    """A roll-out that fell back, and why."""

    revision: str
    """The candidate's."""
    at: float
    """Seconds since the epoch."""
    decisions: int
    closed: int
    """Of these decisions, within `window_s`: denials that the policies in force would not have made."""
    window_s: float
    unseen: bool = False
    """For so long nobody could tell what came of it."""

    @property
    def why(self) -> str:
        """In words."""
        window = format_duration(self.window_s)
        if self.unseen:
            what = f"for {window} nobody could see what came of it"
        else:
            denied = f"of {self.decisions} decisions within {window}, {self.closed} were denials"
            what = f"{denied} that the policies in force would not have made"
        return f"{what} ({instant(self.at)}, candidate {self.revision})"

    @property
    def to_do(self) -> str:
        """What lets it go on."""
        before = "see the log of the server, and then" if self.unseen else "mend the candidate, or"
        return f"{before} say `authz candidate resume`"


class FallenBackFile:
    """Keeps it from one run to the next. The methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> FallenBack:
        """What is kept. Raises NothingKept."""
        try:
            return msgspec.json.decode(read_checked(self.path, _FORMAT, _MAX_BYTES), type=FallenBack)
        except msgspec.MsgspecError as error:
            raise NothingKept(f"it cannot be read: {error}") from None

    def write(self, fallen: FallenBack) -> None:
        """Replace what is kept. Raises OSError."""
        write_checked(self.path, _FORMAT, msgspec.json.encode(fallen))

    def remove(self) -> bool:
        """Let the roll-out go on; whether there was anything. Raises OSError."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True


def fallen_back_file(settings: Settings) -> FallenBackFile:
    """Where a server with these settings keeps it."""
    return FallenBackFile(settings.run_directory / FILE)


def fallen_back(settings: Settings) -> FallenBack | None:
    """The roll-out that fell back, if one did. Blocks. Raises NothingKept where nobody can tell which."""
    try:
        return fallen_back_file(settings).read()
    except NothingThere:
        return None


class Window:
    """What has come of a roll-out within the last time."""

    def __init__(self, settings: FallBackSettings, begun: CandidateCounts | None) -> None:
        """`begun` is what was counted before it; None: whatever the first look finds."""
        self._settings = settings
        self._last = begun
        self._looks: deque[tuple[float, int, int]] = deque()

    def look(self, counts: CandidateCounts, now: float) -> tuple[int, int] | None:
        """Take over what is counted at a moment of the monotonic clock.

        Returns decisions and denials within the window, where these are too many. What both policies deny is none of
        them: who sends much of that must not hide what becomes of others.
        """
        if self._last is None:
            self._last = counts
        new = (counts.told - self._last.told, counts.closed - self._last.closed)
        self._last = counts
        if any(new):
            self._looks.append((now, *new))
        while self._looks and self._looks[0][0] <= now - self._settings.window:
            self._looks.popleft()
        decisions = sum(look[1] for look in self._looks)
        closed = sum(look[2] for look in self._looks)
        allowed = self._settings.denials * max(decisions, self._settings.decisions)
        return (decisions, closed) if 100 * closed > allowed else None


class FallBack:
    """Watches the roll-out of one candidate after the other. The methods block, but for `stops` and `problems`."""

    def __init__(
        self,
        file: FallenBackFile,
        counts: Callable[[], CandidateCounts],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`counts` says what workers have counted since this server started."""
        self._file = file
        self._counts = counts
        self._clock = clock
        self._window: Window | None = None
        self._watched = ""
        self._settings: FallBackSettings | None = None
        self._lock = Lock()
        self._kept = False
        self._unkept: str | None = None
        """Why it is not on disk."""
        self._unreadable = False
        """There is a file, and nobody knows which candidate it is about."""
        self._unseen_since: float | None = None
        """When it could not be seen for the first time what comes of the roll-out; None while it can."""
        self.fallen: FallenBack | None = None
        self.reread()

    @property
    def watches(self) -> bool:
        """Whether there is a roll-out to look at."""
        return self._window is not None

    def stops(self, revision: str) -> bool:
        """Whether the roll-out of this candidate has fallen back, or may have."""
        return self._unreadable or (self.fallen is not None and self.fallen.revision == revision)

    def watch(self, revision: str | None, settings: FallBackSettings | None) -> None:
        """From now on this candidate is rolled out; None: none is."""
        with self._lock:
            if revision is None or settings is None or settings.denials == NEVER:
                self._window = self._unseen_since = None
            elif self._window is None or (revision, settings) != (self._watched, self._settings):
                # Its own time begins, whatever could not be seen of another one.
                self._unseen_since = None
                self._window = Window(settings, self._counted())
                self._watched, self._settings = revision, settings

    def look(self) -> bool:
        """Whether the roll-out has to fall back now, which is then on disk."""
        with self._lock:
            window, settings = self._window, self._settings
            if window is None or settings is None:
                return False
            now, counts = self._clock(), self._counted()
            log = structlog.get_logger().bind(revision=self._watched)
            if counts is not None:
                found = window.look(counts, now)
                if found is None:
                    return False
                decisions, closed = found
                log.error("rollout_fell_back", decisions=decisions, closed=closed)
            elif self._unseen_since is None or now - self._unseen_since < settings.window:
                return False
            else:
                # Whatever it denies meanwhile, nobody would know.
                decisions = closed = 0
                log.error("rollout_fell_back", problem="what comes of it cannot be seen")
            self._window = self._unseen_since = None
            self.fallen = FallenBack(self._watched, time.time(), decisions, closed, settings.window, counts is None)
            self._kept = False
            self._keep()
            return True

    def _counted(self) -> CandidateCounts | None:
        """What is counted now; None where that cannot be seen, which is told."""
        try:
            counts = self._counts()
        except Exception as error:  # noqa: BLE001  # the border: what cannot be watched is told, and the server goes on
            if self._unseen_since is None:
                structlog.get_logger().error("rollout_not_watched", error=type(error).__name__)
                self._unseen_since = self._clock()
            return None
        self._unseen_since = None
        return counts

    def reread(self) -> None:
        """Look whether somebody wants the roll-out to go on; keep what could not be kept before."""
        with self._lock:
            if self.fallen is not None and not self._kept:
                self._keep()
            else:
                self._read()

    def problems(self) -> list[str]:
        """Why what becomes of a roll-out cannot be seen or kept."""
        told = []
        if self._unseen_since is not None:
            told.append("what comes of the roll-out cannot be seen: it will fall back")
        if self._unkept is not None:
            told.append(f"what became of the roll-out is not kept: {self._unkept}")
        return told

    def _read(self) -> None:
        try:
            self.fallen = self._file.read()
        except NothingKept as error:
            # In doubt the roll-out does not go on.
            self._unreadable = self._file.path.exists()
            if self._unreadable:
                self._tell(f"{self._file.path}: {error}")
                return
            if self.fallen is not None:
                structlog.get_logger().info("rollout_resumed", revision=self.fallen.revision)
            self.fallen = self._unkept = None
        else:
            self._kept, self._unreadable, self._unkept = True, False, None

    def _keep(self) -> None:
        if self.fallen is None:
            return
        try:
            self._file.write(self.fallen)
        except OSError as error:
            self._tell(error.strerror or str(error))
        else:
            self._kept, self._unkept = True, None

    def _tell(self, problem: str) -> None:
        if problem != self._unkept:
            structlog.get_logger().error("fall_back_not_kept", file=str(self._file.path), problem=problem)
        self._unkept = problem
