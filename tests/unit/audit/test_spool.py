"""The spool gives back what was put, in order, over restarts and damage, and never takes more room than it has."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.audit.spool import MIN_SIZE, Spool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool is to be."""
    return tmp_path / "audit" / "decisions.spool"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """An empty one."""
    spool = Spool(path, MIN_SIZE)
    yield spool
    spool.close()


def contents(spool: Spool) -> list[bytes]:
    """Everything, taken out."""
    found: list[bytes] = []
    while (waiting := spool.oldest(100)) is not None:
        found += waiting.lines
        spool.release(waiting)
    return found


def test_lines_come_out_in_the_order_in_which_they_went_in(spool: Spool) -> None:
    """Over any number of rounds of the file; until they are released they stay."""
    for number in range(300):
        lines = [bytes([48 + number % 10]) * (number * 7 % 300) for _ in range(3)]
        assert spool.put(lines, 2)
        first = spool.oldest()
        assert first is not None
        assert (first.lines, first.records, spool.records) == (lines, 2, 2)
        assert spool.put([b"later"], 1)
        assert spool.oldest(1) == first
        spool.release(first)
        assert contents(spool) == [b"later"]
    assert (spool.used, spool.records, spool.oldest()) == (0, 0, None)


def test_it_goes_round_while_it_is_never_empty(spool: Spool) -> None:
    """The room of what was released is used again, across the end of the file."""
    assert spool.put([b"0" * 100], 1)
    for number in range(1, 200):
        assert spool.put([str(number).encode() * 30], 1)
        waiting = spool.oldest(1)
        assert waiting is not None
        spool.release(waiting)
    assert contents(spool) == [b"199" * 30]


def test_a_full_spool_takes_no_more(spool: Spool, path: Path) -> None:
    """It says so, its file does not grow, and what is in it stays."""
    size = path.stat().st_size
    kept = sum(spool.put([b"x" * 100], 1) for _ in range(100))
    assert kept == MIN_SIZE // 120
    assert path.stat().st_size == size
    assert contents(spool) == [b"x" * 100] * kept
    assert spool.put([b"again"], 1)


def test_its_room_is_taken_from_the_start(path: Path) -> None:
    """A disk that fills up later has given it already; one that is full now is told of, and nothing is left there."""
    Spool(path, 1 << 20).close()
    assert path.stat().st_blocks * 512 >= 1 << 20
    other = path.with_name("other.spool")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            Spool(other, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(other)
    assert os.listdir(path.parent) == [path.name]


def test_only_the_owner_may_read_it(spool: Spool, path: Path) -> None:
    """Records name people."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_process_has_it(spool: Spool, path: Path) -> None:
    """A second server would take out what it did not put."""
    with pytest.raises(BlockingIOError, match="another process uses this spool"):
        Spool(path, MIN_SIZE)


def test_what_an_earlier_process_left_is_there(spool: Spool, path: Path) -> None:
    """Also where it was killed, and where the spool had gone round and had been empty before."""
    for number in range(60):
        spool.put([b"old" * 10], 1)
        if number % 7 == 0:
            contents(spool)
    contents(spool)
    spool.put([b"released"], 1)
    waiting = spool.oldest()
    assert waiting is not None
    spool.put([b"one", b"two"], 2)
    spool.put([b"gap"], 0)
    spool.release(waiting)
    killed = path.with_name("killed.spool")
    killed.write_bytes(path.read_bytes())
    later = Spool(killed, MIN_SIZE)
    assert (later.records, later.newest) == (2, [b"gap"])
    assert later.used == spool.used
    later.put([b"three"], 1)
    assert contents(later) == [b"one", b"two", b"gap", b"three"]
    later.close()


@pytest.mark.parametrize("missing", range(1, 40, 3))
def test_lines_whose_writing_was_cut_short_are_not_there(spool: Spool, path: Path, missing: int) -> None:
    """They were not taken from their ring either; what comes next stands in their place."""
    spool.put([b"whole"], 1)
    used = spool.used
    spool.put([b"cut short" * 3], 1)
    content = bytearray(path.read_bytes())
    end = 4096 + spool.used
    content[end - missing - spool.used % 8 : end] = bytes(missing + spool.used % 8)
    killed = path.with_name("killed.spool")
    killed.write_bytes(content)
    later = Spool(killed, MIN_SIZE)
    # The last few bytes are padding.
    if later.used == used:
        later.put([b"next"], 1)
        assert contents(later) == [b"whole", b"next"]
    else:
        assert missing <= 5
        assert contents(later) == [b"whole", b"cut short" * 3]
    later.close()


@pytest.mark.parametrize("restart", [False, True])
def test_damage_is_found_and_told_of(spool: Spool, path: Path, restart: bool) -> None:
    """Lines whose checksum is wrong are given up with what follows them, and never taken for good ones."""
    for line in (b"first", b"second", b"third"):
        spool.put([line], 1)
    spool.sync()
    content = bytearray(path.read_bytes())
    content[content.index(b"second")] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    if restart:
        spool.close()
        spool.__init__(path, MIN_SIZE)  # type: ignore[misc]  # so that the fixture closes it
    waiting = spool.oldest()
    assert waiting is not None
    assert (waiting.lines, waiting.damaged) == ([b"first"], False)
    spool.release(waiting)
    waiting = spool.oldest()
    assert waiting is not None
    assert (waiting.lines, waiting.damaged) == ([], True)
    spool.release(waiting)
    spool.put([b"fourth"], 1)
    assert (contents(spool), spool.records) == ([b"fourth"], 0)


def test_another_size_is_taken_when_it_is_empty(path: Path) -> None:
    """What is in it is worth more than the setting."""
    spool = Spool(path, MIN_SIZE)
    spool.put([b"x"], 1)
    spool.close()
    spool = Spool(path, 2 * MIN_SIZE)
    assert (spool.size, contents(spool)) == (MIN_SIZE, [b"x"])
    spool.close()
    spool = Spool(path, 2 * MIN_SIZE)
    assert spool.size == 2 * MIN_SIZE
    spool.close()


@pytest.mark.parametrize("content", [b"", b"x" * 9000, b"azspool\x01" + bytes(8184)], ids=["empty", "other", "header"])
def test_a_file_that_is_no_spool_is_left_alone(path: Path, content: bytes) -> None:
    """Somebody may need it."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="is no spool of this version"):
        Spool(path, MIN_SIZE)
    assert path.read_bytes() == content


def test_what_comes_after_a_state_that_could_not_be_written_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place and the seed of later lines are those that the file tells of."""
    spool = Spool(path, MIN_SIZE)
    spool.put([b"before"], 1)
    waiting = spool.oldest()
    assert waiting is not None

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "a bad page")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(OSError, match="a bad page"):
            spool.release(waiting)
    spool.put([b"after"], 1)
    spool.close()
    again = Spool(path, MIN_SIZE)
    assert contents(again) == [b"before", b"after"]
    again.close()
