"""What is found of a candidate while the server runs, and how it gets to disk."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from authz_server.control import candidate_flips
from authz_server.control.candidate_flips import CandidateFlips
from authz_server.control.checked_file import NothingKept
from authz_server.control.findings import Counted, Findings, FindingsFile
from authz_server.control.publisher import CandidateContent, Content
from authz_server.policy.plan import Plan
from tests.compared import CANDIDATE, candidate_of, compared, in_force, line

OTHER = "d" * 32


class Scene:
    """A server's store, and its file."""

    def __init__(self, tmp_path: Path) -> None:
        self.plan: Plan = in_force(tmp_path / "policies")
        self.file = FindingsFile(tmp_path / "candidate.findings")
        self.counted = Counted({}, 0.0)
        self.now = 1000.0
        self.flips = self.start()

    def start(self) -> CandidateFlips:
        """A server that has just started."""
        return CandidateFlips(self.file, lambda: self.counted, lambda: self.now)

    def observe(self, *lines: bytes) -> None:
        """The audit file has taken these."""
        self.flips.observe(lines)

    def saved(self) -> Findings:
        """What is on disk after a save."""
        self.flips.save()
        return self.file.read()

    def records(self) -> list[int]:
        """Of each flip on disk."""
        return [flip.records for flip in self.saved().flips]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_flips_are_kept_on_disk(scene: Scene) -> None:
    """With both revisions, and since when they are compared."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(line(revision=scene.plan.revision), compared(scene.plan.revision), b'no record, "compared":{')
    found = scene.saved()
    assert (found.revision, found.candidate, found.since) == (scene.plan.revision, CANDIDATE, 1000.0)
    assert [flip.example for flip in found.flips] == [compared(scene.plan.revision)]
    assert scene.file.path.stat().st_mode & 0o777 == 0o600


def test_a_restart_goes_on_where_it_was(scene: Scene) -> None:
    """With the same revisions; what workers count begins again at zero."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    scene.counted = Counted({"same": 8, "closed": 1}, 0.5)
    assert scene.records() == [1]
    scene.counted, scene.now = Counted({}, 0.0), 2000.0
    scene.flips = scene.start()
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    scene.counted = Counted({"same": 1, "closed": 1}, 0.25)
    found = scene.saved()
    assert [flip.records for flip in found.flips] == [2]
    assert found.since == 1000.0
    assert found.counted == Counted({"same": 9, "closed": 2}, 0.75)


@pytest.mark.parametrize("which", ["candidate", "in_force"])
def test_another_revision_begins_at_nothing(scene: Scene, tmp_path: Path, which: str) -> None:
    """Of either; its checks are those from then on, and late records of before do not count."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    scene.counted, scene.now = Counted({"closed": 1}, 0.5), 2000.0
    if which == "candidate":
        scene.flips.judge(scene.plan, candidate_of(scene.plan, OTHER))
    else:
        edited = in_force(tmp_path / "edited", "# more\n")
        scene.flips.judge(edited, candidate_of(edited))
    scene.observe(compared(scene.plan.revision))
    found = scene.saved()
    assert (found.flips, found.since, found.counted.checks) == ((), 2000.0, {})
    scene.counted = Counted({"closed": 3}, 0.75)
    assert scene.saved().counted == Counted({"closed": 2}, 0.25)


def test_the_same_revisions_again_change_nothing(scene: Scene) -> None:
    """Keys are published with the policies, and change more often."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    assert scene.records() == [2]


def test_without_a_candidate_nothing_is_kept(scene: Scene) -> None:
    """What was there would be taken for what is."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.flips.save()
    scene.flips.judge(scene.plan, None)
    scene.observe(compared(scene.plan.revision))
    with pytest.raises(NothingKept, match="none yet"):
        scene.saved()


def test_nothing_is_written_where_nothing_has_changed(scene: Scene) -> None:
    """It is looked at every second."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.flips.save()
    before = scene.file.path.stat().st_ino
    scene.flips.save()
    assert scene.file.path.stat().st_ino == before
    scene.counted = Counted({"same": 1}, 0.1)
    scene.flips.save()
    assert scene.file.path.stat().st_ino != before


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_told_and_begun_again(scene: Scene, content: bytes | None) -> None:
    """It is never a reason not to serve."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))
    scene.flips.save()
    whole = scene.file.path.read_bytes()
    scene.file.path.write_bytes(whole[:-1] + b"?" if content is None else content)
    with capture_logs() as logs:
        scene.flips = scene.start()
    assert [entry["event"] for entry in logs] == ["candidate_findings_refused"]
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    assert scene.records() == []


def test_a_disk_that_takes_nothing_is_told_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is written when it can be."""
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    scene.observe(compared(scene.plan.revision))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(FindingsFile, "write", full)
        scene.flips.save()
        scene.flips.save()
    assert [entry["event"] for entry in logs] == ["candidate_findings_not_kept"]
    assert scene.flips.problem == "No space left on device"
    assert scene.records() == [1]
    assert scene.flips.problem is None


def test_it_is_saved_again_and_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is slow gets a longer pause, so that it has time for the audit."""
    pauses: list[float] = []
    times = iter([0.0, 0.01, 1.0, 6.0])

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(candidate_flips, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(candidate_flips, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))
    scene.flips.judge(scene.plan, candidate_of(scene.plan))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scene.flips.run())
    assert pauses == [1.0, 100.0]
    assert scene.file.read().candidate == CANDIDATE


def test_a_failure_inside_stops_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the server, whose tasks end together, nor new policies."""

    def fail() -> Counted:
        raise RuntimeError("a file of counters is damaged")

    async def sleep(_pause_s: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(candidate_flips, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))
    scene.flips = CandidateFlips(scene.file, fail)
    with capture_logs() as logs:
        scene.flips.follow(Content(scene.plan, {}, {}))
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(scene.flips.run())
    assert [entry["event"] for entry in logs] == ["candidate_findings_not_kept"]
    assert scene.flips.problem == "a failure inside (RuntimeError)"


def test_the_workers_switch_to_a_candidate(scene: Scene, tmp_path: Path) -> None:
    """And away from it."""
    candidate = CandidateContent(in_force(tmp_path / "candidate", "# more\n"), 100)
    scene.flips.follow(Content(scene.plan, {}, {}, candidate=candidate))
    scene.observe(compared(scene.plan.revision, candidate.plan.revision))
    assert scene.records() == [1]
    scene.flips.follow(Content(scene.plan, {}, {}))
    scene.flips.save()
    assert not scene.file.path.exists()
