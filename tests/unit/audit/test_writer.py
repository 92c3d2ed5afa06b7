"""The audit file holds whole lines only, grows to a bound, and says when it cannot be written."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authz_server.audit.writer import AuditWriter

RECORD = b'{"time":"2026-03-02T09:00:00.000000Z"}'


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writes that would make a file longer fail, after the part that fits, as on a disk that gets full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the audit goes; the directory is not there yet."""
    return tmp_path / "audit" / "decisions.jsonl"


def rotated(path: Path) -> list[Path]:
    """The files that were put aside."""
    return sorted(other for other in path.parent.iterdir() if other != path)


def test_lines_are_appended_each_with_a_line_feed(path: Path) -> None:
    """Batches follow each other, also those of an earlier writer."""
    for batch in ([b"{1}", b"{2}"], [b"{3}"]):
        writer = AuditWriter(path, 1000)
        writer.write(batch)
        writer.close()
    assert path.read_bytes() == b"{1}\n{2}\n{3}\n"


def test_only_owner_and_group_may_read_the_audit(path: Path) -> None:
    """Records name people: directory 0750, file 0640."""
    before = os.umask(0)
    try:
        AuditWriter(path, 1000).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_would_grow_over_its_size_is_put_aside(path: Path) -> None:
    """The next file begins with the batch that did not fit; a batch is never split."""
    writer = AuditWriter(path, 20)
    for number in range(3):
        writer.write([str(number).encode() * 5, b"second"])
    writer.close()
    first, second = rotated(path)
    assert first.read_bytes() == b"00000\nsecond\n"
    assert second.read_bytes() == b"11111\nsecond\n"
    assert path.read_bytes() == b"22222\nsecond\n"
    assert first.name.startswith("decisions-2")
    assert first.name.endswith("Z-1.jsonl")


def test_a_batch_over_the_size_has_a_file_of_its_own(path: Path) -> None:
    """A size smaller than a batch makes no empty files."""
    writer = AuditWriter(path, 10)
    for _ in range(2):
        writer.write([b"x" * 50])
    writer.close()
    assert len(rotated(path)) == 1


def test_the_oldest_files_go_when_there_are_too_many(path: Path) -> None:
    """Only files that were put aside count, and only the newest of them stay."""
    path.parent.mkdir()
    others = ["decisions-notes.jsonl", "decisions-20250101T000000Z-1.jsonl.gz"]
    old = ["decisions-20250101T000000Z-2.jsonl", "decisions-20250101T000000Z-10.jsonl"]
    for name in others + old:
        (path.parent / name).write_bytes(b"")
    writer = AuditWriter(path, 10, keep=2)
    for _ in range(2):
        writer.write([b"x" * 50])
    writer.close()
    kept = [p.name for p in rotated(path)]
    assert len(kept) == 4
    assert set(kept) > {*others, "decisions-20250101T000000Z-10.jsonl"}


def test_a_clock_that_was_set_back_makes_no_file_the_oldest(path: Path) -> None:
    """What was put aside last goes last, whatever the names of those before say."""
    path.parent.mkdir()
    for number in (9, 10):
        (path.parent / f"decisions-29990101T000000Z-{number}.jsonl").write_bytes(b"")
    writer = AuditWriter(path, 10, keep=1)
    writer.write([b"newest" * 2])
    writer.write([b"x" * 50])
    writer.close()
    [kept] = rotated(path)
    assert kept.name == "decisions-29990101T000000Z-11.jsonl"
    assert kept.read_bytes() == b"newestnewest\n"


def test_without_a_number_to_keep_all_files_stay(path: Path) -> None:
    """An audit is not deleted unless the operator says so."""
    writer = AuditWriter(path, 10)
    for _ in range(5):
        writer.write([b"x" * 50])
    writer.close()
    assert len(rotated(path)) == 4


def test_a_full_disk_is_reported_and_leaves_no_half_line(path: Path) -> None:
    """The batch that fails is not there at all, and goes through when there is room again."""
    writer = AuditWriter(path, 10_000)
    writer.write([b"a" * 99])
    with no_file_larger_than(150), pytest.raises(OSError, match="File too large"):
        writer.write([b"b" * 20, b"c" * 80])
    assert path.read_bytes() == b"a" * 99 + b"\n"
    writer.write([b"b" * 20, b"c" * 80])
    assert path.read_bytes() == b"a" * 99 + b"\n" + b"b" * 20 + b"\n" + b"c" * 80 + b"\n"
    writer.close()


@pytest.mark.parametrize(
    "tail", [RECORD[:4], RECORD, RECORD + b"x" * 200_000, bytes(100), RECORD[:5] + bytes(100)], ids=len
)
def test_a_half_line_at_the_end_is_cut_at_the_start(path: Path, tail: bytes) -> None:
    """A writer that was killed amid a write left its records in their ring, so they come again."""
    path.parent.mkdir()
    path.write_bytes(RECORD + b"\n" + tail)
    writer = AuditWriter(path, 10_000_000)
    writer.write([b"next"])
    writer.close()
    assert path.read_bytes() == RECORD + b"\nnext\n"


def test_a_file_that_is_no_audit_is_left_alone(path: Path) -> None:
    """A wrong path in the configuration destroys nothing."""
    path.parent.mkdir()
    path.write_bytes(b"somebody's secret")
    with pytest.raises(FileExistsError, match="does not end in an audit record"):
        AuditWriter(path, 1000)
    assert path.read_bytes() == b"somebody's secret"


def test_one_file_has_one_writer(path: Path) -> None:
    """A second server with the same audit file is refused instead of mixing lines."""
    writer = AuditWriter(path, 1000)
    with pytest.raises(BlockingIOError, match="another process writes this audit file"):
        AuditWriter(path, 1000)
    writer.close()
    AuditWriter(path, 1000).close()


@pytest.mark.parametrize("how", ["renamed", "deleted", "directory deleted"])
def test_a_file_that_others_take_away_is_made_again(path: Path, how: str) -> None:
    """logrotate and operators may move or delete the file while the server runs."""
    writer = AuditWriter(path, 1000)
    writer.write([b"one"])
    if how == "renamed":
        path.rename(path.with_name("old"))
    else:
        path.unlink()
    if how == "directory deleted":
        path.parent.rmdir()
    writer.write([b"two"])
    writer.close()
    assert path.read_bytes() == b"two\n"


def test_flushing_to_the_disk_happens_at_most_once_a_second(path: Path) -> None:
    """Nothing written, no flush; much written, one flush a second."""
    flushed: list[float] = []
    now = 100.0

    class Counting(AuditWriter):
        def _flush(self) -> None:
            flushed.append(now)
            super()._flush()

    writer = Counting(path, 1000, monotonic=lambda: now)
    writer.write([b"one"])
    writer.sync()
    assert flushed == []
    now = 101.0
    writer.sync()
    writer.sync()
    assert flushed == [101.0]
    writer.write([b"two"])
    now = 101.5
    writer.sync()
    assert flushed == [101.0]
    writer.close()
    assert flushed == [101.0, 101.5]


def test_a_write_that_fails_for_another_reason_is_reported(path: Path) -> None:
    """Whoever calls learns the error as it is."""
    writer = AuditWriter(path, 1000)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is checked below
        writer.write([b"one"])
    assert caught.value.errno == errno.EISDIR
    writer.close()
