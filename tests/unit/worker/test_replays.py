"""The table of proofs never takes one for unused that was used, whoever dies, and never makes anybody wait."""

import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.identity.settings import Dpop
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.replays import CountedReplayTable, ReplayTable, ReplayTableError, prepare_replays
from tests.unit.worker.replay_processes import NOW, UNTIL, digest_of

PROCESSES = "tests.unit.worker.replay_processes"
SETTINGS = Dpop(max_age_s=60, skew_s=5)
EARLIER = NOW - 1000


def prepare(path: Path, entries: int = 63, settings: Dpop = SETTINGS, *, at: float = EARLIER, boot: str = "b") -> None:
    """Prepare a table as a control process that starts at that time."""
    prepare_replays(path, entries, settings, lambda: at, boot)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of one bucket."""
    prepare(tmp_path / "proofs.table")
    return tmp_path / "proofs.table"


@pytest.fixture
def table(path: Path) -> Iterator[ReplayTable]:
    """The same, open."""
    table = ReplayTable(path)
    yield table
    table.close()


def test_a_proof_is_used_once(table: ReplayTable) -> None:
    """Until it is too old, and however many others come."""
    proofs = [digest_of(str(number)) for number in range(10)]
    for expected in ("first", "again", "again"):
        assert {table.claim(proof, UNTIL, NOW) for proof in proofs} == {expected}
    assert table.claim(proofs[0], UNTIL, UNTIL - 1e-3) == "again"


def test_a_full_table_takes_no_more_and_forgets_nothing(table: ReplayTable) -> None:
    """There is room again when a proof is too old."""
    for number in range(63):
        assert table.claim(digest_of(str(number)), UNTIL + number, NOW) == "first"
    assert table.claim(digest_of("more"), UNTIL + 100, NOW) == "full"
    assert all(table.claim(digest_of(str(number)), UNTIL + number, NOW) == "again" for number in range(63))
    assert table.claim(digest_of("more"), UNTIL + 100, UNTIL) == "first"
    assert table.claim(digest_of("much more"), UNTIL + 100, UNTIL) == "full"
    assert table.claim(digest_of("62"), UNTIL + 62, UNTIL) == "again"


def test_a_clock_that_is_set_back_makes_no_used_proof_good(table: ReplayTable) -> None:
    """What was given to others is not known any more, and what is as old as that is denied; fresh proofs are good."""
    for number in range(63):
        table.claim(digest_of(str(number)), UNTIL + number, NOW)
    for number in range(10):
        assert table.claim(digest_of(f"later {number}"), UNTIL + 200, UNTIL + 62) == "first"
    again = [table.claim(digest_of(str(number)), UNTIL + number, NOW) for number in range(63)]
    assert again == ["forgotten"] * 10 + ["again"] * 53
    assert table.claim(digest_of("as old"), UNTIL + 9, NOW) == "forgotten"


def test_a_large_table_takes_most_of_what_it_has_room_for(tmp_path: Path) -> None:
    """Half of it always, whatever place each proof has."""
    prepare(tmp_path / "large", 20_000)
    table = ReplayTable(tmp_path / "large")
    assert {table.claim(digest_of(str(number)), UNTIL, NOW) for number in range(10_000)} == {"first"}
    assert {table.claim(digest_of(str(number)), UNTIL, NOW) for number in range(10_000)} == {"again"}
    table.close()


def test_a_restart_forgets_nothing(path: Path, table: ReplayTable) -> None:
    """The next server goes on with the table, and a worker of the one before sees the same."""
    assert table.claim(digest_of("a"), UNTIL, NOW) == "first"
    prepare(path, at=NOW)
    successor = ReplayTable(path)
    assert successor.claim(digest_of("a"), UNTIL, NOW) == "again"
    assert successor.claim(digest_of("b"), UNTIL, NOW) == "first"
    assert table.claim(digest_of("b"), UNTIL, NOW) == "again"
    successor.close()


@pytest.mark.parametrize(
    ("entries", "settings", "boot"),
    [
        (64, SETTINGS, "b"),
        (63, Dpop(max_age_s=300, skew_s=5), "b"),
        (63, SETTINGS, "after a crash"),
        (None, SETTINGS, "b"),
    ],
)
def test_a_table_that_is_made_anew_takes_no_proof_of_before(
    path: Path, table: ReplayTable, entries: int | None, settings: Dpop, boot: str
) -> None:
    """Other settings, another start of the machine, a damaged file; and a worker of before uses the old one no more."""
    until = NOW + settings.max_age_s + settings.skew_s
    assert table.claim(digest_of("a"), UNTIL, NOW) == "first"
    if entries is None:
        path.write_bytes(b"damaged")
    prepare(path, entries or 63, settings, at=NOW, boot=boot)
    successor = ReplayTable(path)
    # Dated as late as the tolerance allowed before the start.
    assert successor.claim(digest_of("a"), until + settings.skew_s, NOW) == "forgotten"
    assert successor.claim(digest_of("b"), until + settings.skew_s + 0.001, NOW) == "first"
    if entries is not None:
        assert table.claim(digest_of("c"), UNTIL, NOW) == "forgotten"
    successor.close()


def test_a_table_belongs_to_its_owner_and_leaves_no_draft(path: Path) -> None:
    """Mode 0600; and a draft that a killed process left is in nobody's way."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(b"half")
    path.unlink()
    prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not draft.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 4096, bytes(6000)])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    """By a worker; the control process makes another one."""
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ReplayTableError, match="not a table of proofs"):
        ReplayTable(tmp_path / "t")
    with pytest.raises(FileNotFoundError):
        ReplayTable(tmp_path / "none")


def test_of_processes_that_use_the_same_proofs_one_wins_each(tmp_path: Path) -> None:
    """Four at once, ten thousand proofs: each is used exactly once."""
    path, proofs = tmp_path / "t", 10_000
    prepare(path, 30_000)
    command = [sys.executable, "-m", PROCESSES, "race", str(path), str(proofs)]
    racing = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=60)[0].split() for process in racing]
    for claims in zip(*outcomes, strict=True):
        assert Counter(claims)["first"] == 1, claims
        assert set(claims) <= {"first", "again", "busy"}
    # They did meet.
    assert sum("first" in claims for claims in outcomes) > 1


def test_a_process_that_stops_in_the_middle_holds_up_nobody(tmp_path: Path) -> None:
    """Proofs of its bucket are denied at once, all others go on; with its end its bucket is free."""
    path = tmp_path / "t"
    prepare(path, 2 * 63)
    table = ReplayTable(path)
    proofs = [digest_of(str(number)) for number in range(20)]
    with subprocess.Popen(
        [sys.executable, "-m", PROCESSES, "hold", str(path), "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        held = [table.claim(proof, UNTIL, NOW) for proof in proofs]
        assert set(held) == {"busy", "first"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    assert [table.claim(proof, UNTIL, NOW) for proof in proofs] == ["again" if x == "first" else "first" for x in held]
    table.close()


def test_a_process_killed_at_any_opcode_lets_no_proof_be_used_twice(tmp_path: Path) -> None:
    """Killed before each opcode of a claim in turn: of two others that then use the proof one wins at most."""
    prepare(tmp_path / "t", 63 * 40)
    found = subprocess.run(
        [sys.executable, "-m", PROCESSES, "kill", str(tmp_path / "t")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.splitlines()
    unused, used = "first again", "again again"
    commit = found.index(used)
    assert commit > 50
    assert found == [unused] * commit + [used] * (len(found) - commit)


def test_what_came_of_proofs_is_counted_and_no_room_is_told(
    tmp_path: Path, table: ReplayTable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a second at most."""
    control = ControlMetrics(tmp_path / "metrics")
    counted = CountedReplayTable(table, WorkerMetrics(tmp_path / "metrics", 0))
    for number in range(66):
        counted.claim(digest_of(str(number)), UNTIL, NOW)
    counted.claim(digest_of("0"), UNTIL, NOW)
    text = control.render().decode()
    for result, number in (("first", 63), ("full", 3), ("again", 1)):
        assert f'authz_dpop_proofs_total{{result="{result}"}} {number}.0' in text
    assert capsys.readouterr().out.count("proofs_full") == 1
