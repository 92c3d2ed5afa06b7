"""When a roll-out falls back, what is kept of that, and when it goes on."""

from pathlib import Path
from threading import Thread

import pytest
from structlog.testing import capture_logs

from authz_server.control import fall_back as module
from authz_server.control.checked_file import NothingKept
from authz_server.control.fall_back import FallBack, FallenBackFile, Window
from authz_server.control.settings.candidate import FallBackSettings
from authz_server.telemetry.candidate_counts import CandidateCounts
from tests.unit.control.server_process import PATIENCE_S

NONE_YET = CandidateCounts({}, 0.0)


def settings(denials: int = 10, decisions: int = 20, window: str = "10s") -> FallBackSettings:
    """With these bounds."""
    return FallBackSettings.model_validate({"denials": denials, "decisions": decisions, "window": window})


def counts(decided: int, closed: int = 0, in_force: int = 0) -> CandidateCounts:
    """What workers may have counted: decisions of the candidate, those that close, and others that are compared."""
    checks = {
        ("candidate", "same"): decided - closed,
        ("candidate", "closed"): closed,
        ("in_force", "closed"): in_force,
    }
    return CandidateCounts(checks, 0.0)


@pytest.mark.parametrize(
    ("bounds", "looks", "found"),
    [
        pytest.param(settings(), [(0, counts(100, 10))], None, id="as many as may be"),
        pytest.param(settings(), [(0, counts(100, 11))], (100, 11), id="one more"),
        pytest.param(settings(), [(0, counts(3, 2))], None, id="few decisions count as twenty"),
        pytest.param(settings(), [(0, counts(3, 3))], (3, 3), id="also where there never are that many"),
        pytest.param(settings(), [(0, counts(0, 0, in_force=1000))], None, id="what it does not decide is no matter"),
        pytest.param(settings(denials=0), [(0, counts(1000, 1))], (1000, 1), id="none may be"),
        pytest.param(settings(denials=100), [(0, counts(1000, 1000))], None, id="never"),
        pytest.param(settings(), [(0, counts(2, 2)), (9, counts(4, 4))], (4, 4), id="within the window"),
        pytest.param(settings(), [(0, counts(2, 2)), (10, counts(4, 4))], None, id="at its end"),
        pytest.param(settings(), [(0, counts(900, 0)), (9, counts(950, 50))], None, id="of all within it"),
        pytest.param(settings(), [(0, counts(900, 0)), (11, counts(950, 50))], (50, 50), id="and of no more"),
    ],
)
def test_a_share_of_the_decisions_within_a_window_may_be_denials(
    bounds: FallBackSettings, looks: list[tuple[float, CandidateCounts]], found: tuple[int, int] | None
) -> None:
    """Such that the policies in force would not have made; the share is taken of some number of decisions at least."""
    window = Window(bounds, NONE_YET)
    assert [window.look(seen, now) for now, seen in looks][-1] == found


class Scene:
    """What falls back, and what workers have counted."""

    def __init__(self, directory: Path) -> None:
        self.file = FallenBackFile(directory / "candidate.fallen-back")
        self.counted = NONE_YET
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        """As another server."""
        self.fall_back = FallBack(self.file, lambda: self.counted, lambda: self.now)

    def bad(self, revision: str = "r1") -> None:
        """A roll-out that denies everything, from now on."""
        self.fall_back.watch(revision, settings())
        before = self.counted
        self.counted = counts(before.rolled_out + 50, before.closed + 50)


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_roll_out_falls_back_once_and_stays_so(scene: Scene) -> None:
    """Told with its numbers, kept for the next start, of this candidate alone."""
    scene.bad()
    with capture_logs() as logs:
        assert scene.fall_back.look()
        assert not scene.fall_back.look()
    assert logs == [
        {"event": "rollout_fell_back", "log_level": "error", "revision": "r1", "decisions": 50, "closed": 50}
    ]
    for _ in range(2):
        assert scene.fall_back.stops("r1")
        assert not scene.fall_back.stops("r2")
        scene.restart()
    assert scene.fall_back.fallen is not None
    assert scene.fall_back.fallen.why.startswith(
        "of 50 decisions within 10s, 50 were denials that the policies in force"
    )


def test_what_came_before_a_roll_out_does_not_count_against_it(scene: Scene) -> None:
    """Another candidate begins anew, and so do other bounds; the same goes on."""
    scene.counted = counts(50, 50)
    scene.fall_back.watch("r1", settings())
    assert not scene.fall_back.look()
    scene.bad()
    scene.fall_back.watch("r2", settings())
    assert not scene.fall_back.look()
    scene.bad("r2")
    scene.fall_back.watch("r2", settings())
    assert scene.fall_back.look()
    scene.fall_back.watch(None, settings())
    assert not scene.fall_back.watches


def test_a_roll_out_is_watched_although_its_begin_could_not_be_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on for ever; what is counted before the first look that succeeds does not count."""

    def unreadable() -> CandidateCounts:
        raise OSError

    with monkeypatch.context() as failing, capture_logs() as logs:
        failing.setattr(scene.fall_back, "_counts", unreadable)
        scene.fall_back.watch("r1", settings())
        assert not scene.fall_back.look()
        assert scene.fall_back.problems() == ["what comes of the roll-out cannot be seen: it will fall back"]
    assert [line["event"] for line in logs] == ["rollout_not_watched"]
    scene.counted = counts(50, 50)
    assert not scene.fall_back.look()
    assert scene.fall_back.problems() == []
    scene.counted = counts(100, 100)
    assert scene.fall_back.look()


def test_a_roll_out_that_nobody_can_see_for_the_length_of_the_window_falls_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not sooner, for a look may fail; and it stays so."""

    def unreadable() -> CandidateCounts:
        raise OSError

    scene.fall_back.watch("r1", settings(window="10s"))
    with monkeypatch.context() as failing:
        failing.setattr(scene.fall_back, "_counts", unreadable)
        assert not scene.fall_back.look()
        scene.now = 9.9
        assert not scene.fall_back.look()
    assert not scene.fall_back.look()
    monkeypatch.setattr(scene.fall_back, "_counts", unreadable)
    for now, falls_back in ((10.0, False), (19.9, False), (20.0, True), (20.5, False)):
        scene.now = now
        assert scene.fall_back.look() is falls_back
    assert scene.fall_back.problems() == []
    for _ in range(2):
        assert scene.fall_back.stops("r1")
        assert scene.fall_back.fallen is not None
        assert scene.fall_back.fallen.why.startswith("for 10s nobody could see what came of it")
        scene.restart()


def test_another_candidate_has_the_whole_window_to_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it follows one that could not be seen, before that fell back."""

    def unreadable() -> CandidateCounts:
        raise OSError

    monkeypatch.setattr(scene.fall_back, "_counts", unreadable)
    scene.fall_back.watch("r1", settings(window="10s"))
    scene.now = 9.0
    scene.fall_back.watch("r2", settings(window="10s"))
    for now, falls_back in ((18.9, False), (19.0, True)):
        scene.now = now
        assert scene.fall_back.look() is falls_back
    assert scene.fall_back.stops("r2")
    assert not scene.fall_back.stops("r1")


def test_a_roll_out_that_never_falls_back_is_not_watched(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it fall back because nobody could watch it."""

    def unreadable() -> CandidateCounts:
        raise OSError

    monkeypatch.setattr(scene.fall_back, "_counts", unreadable)
    scene.fall_back.watch("r1", settings(denials=100))
    scene.now = 1e6
    assert not scene.fall_back.watches
    assert not scene.fall_back.look()
    assert scene.fall_back.problems() == []


def test_the_roll_out_goes_on_when_somebody_says_so(scene: Scene) -> None:
    """Nothing else resumes it: not another look at the file, nor a disk that could not be written."""
    scene.bad()
    assert scene.fall_back.look()
    scene.fall_back.reread()
    assert scene.fall_back.stops("r1")
    assert scene.file.remove()
    with capture_logs() as logs:
        scene.fall_back.reread()
    assert [line["event"] for line in logs] == ["rollout_resumed"]
    assert not scene.fall_back.stops("r1")
    assert not scene.file.remove()


def test_a_disk_that_takes_nothing_resumes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and tried again."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(module, "write_checked", full)
        scene.bad()
        assert scene.fall_back.look()
        scene.fall_back.reread()
        assert scene.fall_back.stops("r1")
        assert scene.fall_back.problems() == ["what became of the roll-out is not kept: No space left on device"]
    scene.fall_back.reread()
    assert scene.fall_back.problems() == []
    scene.restart()
    assert scene.fall_back.stops("r1")


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_in_doubt_nothing_is_rolled_out(scene: Scene, content: bytes) -> None:
    """A file that nobody can read may be about any candidate; to remove it resolves that."""
    scene.file.path.write_bytes(content)
    scene.restart()
    assert scene.fall_back.stops("r1")
    [problem] = scene.fall_back.problems()
    assert str(scene.file.path) in problem
    scene.file.remove()
    scene.fall_back.reread()
    assert not scene.fall_back.stops("r1")
    assert scene.fall_back.problems() == []


def test_counts_that_cannot_be_read_are_told_and_end_nothing(scene: Scene) -> None:
    """The roll-out goes on, and whoever watches the server knows that nobody watches it."""
    scene.bad()
    good = scene.counted

    def broken() -> CandidateCounts:
        raise ValueError

    scene.fall_back._counts = broken
    assert not scene.fall_back.look()
    assert scene.fall_back.problems() == ["what comes of the roll-out cannot be seen: it will fall back"]
    scene.fall_back._counts = lambda: good
    assert scene.fall_back.look()
    assert scene.fall_back.problems() == []


def test_a_roll_out_does_not_fall_back_in_the_middle_of_a_look_at_the_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before would be held against what is written meanwhile."""
    scene.bad()
    others: list[Thread] = []

    def slow(_: FallenBackFile) -> module.FallenBack:
        others.append(Thread(target=scene.fall_back.look))
        others[0].start()
        # It has begun, and would be done by now if nothing held it.
        others[0].join(0.2)
        raise NothingKept("there is none yet")

    with monkeypatch.context() as disk:
        disk.setattr(FallenBackFile, "read", slow)
        scene.fall_back.reread()
    others[0].join(PATIENCE_S)
    assert scene.fall_back.stops("r1")
    assert scene.fall_back.problems() == []
