"""The proofs that were used: one bounded table in a memory-mapped file, for all workers on the machine.

The file is a header and buckets; numbers are native-endian, unsigned, 64 bits, and each is stored with one aligned
8-byte write. Times are microseconds since the epoch:

    offset  0   magic and version
    offset  8   number of buckets
    offset 16   window: from a proof's `iat` until it is too old
    offset 24   boot: which start of the machine this file is of
    offset 32   floor
    offset 40   retired: not 0 when another table has taken its place
    offset 4096 buckets of 1,024 bytes: floor; 63 times until when a proof could be used; 63 tags; nothing

A proof has one bucket, by its digest, and any free place there: one whose time is over. Of a proof that is too old
from a floor on, or earlier, nobody knows any more whether it was used. The bucket's floor is the highest time of all
places that were given to another proof, the file's is that of the last proof that could be used before the file was
made. So neither a clock that is set back nor a file that was lost makes a proof good that was used.

A bucket is locked by a record lock (fcntl), which the kernel takes from a process that ends. A proof is written floor,
tag, time: killed in between, its worker has answered nothing, and the place is free as before.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from struct import Struct as Layout
from threading import Lock

import structlog

from authz_server.identity.dpop import Claimed
from authz_server.identity.settings import Dpop
from authz_server.reserved import reserved_file
from authz_server.telemetry.worker_metrics import WorkerMetrics

_MAGIC = int.from_bytes(b"azproof\x01", "little")
_HEADER = Layout("=QQQQQQ")
_DATA = 4096
_BUCKET_BYTES = 1024
_BUCKET_WORDS = _BUCKET_BYTES // 8
_PLACES = 63
_RETIRED_WORD = 5
_DIGEST = Layout("=QQ")
_US = 1_000_000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TELL_S = 1.0
"""That there is no room is logged this often at most."""
TRIES = 50
"""How often a bucket is tried to be locked: its turn comes after some microseconds, or its holder is stopped."""


class ReplayTableError(Exception):
    """A file is not a table that can be used; says which file and why."""


def prepare_replays(
    path: Path, entries: int, settings: Dpop, clock: Callable[[], float] = time.time, boot: str | None = None
) -> None:
    """Leave the table of this size for these settings at `path`, or make an empty one there, mode 0600.

    `boot` is the id of the machine's start: what a crash of the machine leaves may lack the latest proofs. Raises
    OSError.
    """
    window_us = round((settings.max_age_s + settings.skew_s) * _US)
    boot_id = BOOT_ID.read_text() if boot is None else boot
    wanted = (-(-entries // _PLACES), window_us, int.from_bytes(sha256(boot_id.encode()).digest()[:8], "little"))
    try:
        table = ReplayTable(path)
    except (ReplayTableError, FileNotFoundError):
        _create(path, wanted, settings, clock)
        return
    if table.made_for != wanted:
        # Workers of an earlier run, still finishing their calls, must not go on with what nobody else sees.
        table.retire()
        _create(path, wanted, settings, clock)
    table.close()


def _create(path: Path, wanted: tuple[int, int, int], settings: Dpop, clock: Callable[[], float]) -> None:
    buckets, window_us, _ = wanted
    with reserved_file(path, _DATA + buckets * _BUCKET_BYTES) as descriptor:
        # A proof that was used before this moment may have been dated as much later as the tolerance is.
        floor = round((clock() + settings.skew_s) * _US) + window_us
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, *wanted, floor, 0), 0)


class CountedReplayTable:
    """The table of a worker, which counts what came of each proof."""

    def __init__(self, replays: "ReplayTable", metrics: WorkerMetrics) -> None:
        self._replays = replays
        self._metrics = metrics
        self._told = -TELL_S

    def claim(self, digest: bytes, until: float, now: float) -> Claimed:
        """As the table does."""
        claimed = self._replays.claim(digest, until, now)
        self._metrics.proof_claimed(claimed)
        if claimed == "full" and time.monotonic() - self._told >= TELL_S:
            self._told = time.monotonic()
            structlog.get_logger().error("proofs_full", problem="raise dpop.replay_entries")
        return claimed


class ReplayTable:
    """The table as one process sees it; from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the table at `path`. Raises ReplayTableError where it is none, and OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(self._descriptor).st_size
            header = os.pread(self._descriptor, _HEADER.size, 0)
            if len(header) < _HEADER.size:
                raise ReplayTableError(f"{path}: not a table of proofs: {size} bytes")
            magic, self._buckets, window_us, boot, self._floor, retired = _HEADER.unpack(header)
            self.made_for = (self._buckets, window_us, boot)
            if magic != _MAGIC or not self._buckets or size != _DATA + self._buckets * _BUCKET_BYTES or retired:
                raise ReplayTableError(f"{path}: not a table of proofs of this version")
            self._mapping = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._words = memoryview(self._mapping).cast("Q")
        # Record locks keep processes apart, not threads.
        self._lock = Lock()

    def claim(self, digest: bytes, until: float, now: float) -> Claimed:
        """Use a proof, known by its digest of 16 bytes, that is too old from `until` on; seconds since the epoch."""
        place, tag = _DIGEST.unpack(digest)
        bucket = place % self._buckets
        with self._lock:
            if not self._locked(bucket):
                return "busy"
            try:
                return self._claim((_DATA + bucket * _BUCKET_BYTES) // 8, tag, int(until * _US), int(now * _US))
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, bucket)

    def _locked(self, bucket: int) -> bool:
        for _ in range(TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, bucket)
            except BlockingIOError:
                os.sched_yield()
            else:
                return True
        return False

    def _claim(self, start: int, tag: int, until: int, now: int) -> Claimed:
        words = self._words
        floor, *bucket = words[start : start + _BUCKET_WORDS].tolist()
        if until <= floor or until <= self._floor or words[_RETIRED_WORD]:
            return "forgotten"
        times, tags = bucket[:_PLACES], bucket[_PLACES : 2 * _PLACES]
        if tag in tags and any(seen == tag and time > now for seen, time in zip(tags, times, strict=True)):
            return "again"
        oldest = min(times)
        if oldest > now:
            return "full"
        free = times.index(oldest)
        if oldest > floor:
            words[start] = oldest
        words[start + 1 + _PLACES + free] = tag
        words[start + 1 + free] = until
        return "first"

    def retire(self) -> None:
        """Let nobody use this table any more."""
        self._words[_RETIRED_WORD] = 1

    def close(self) -> None:
        """Close the file; what is in the table stays there."""
        with self._lock:
            self._words.release()
            self._mapping.close()
            os.close(self._descriptor)
