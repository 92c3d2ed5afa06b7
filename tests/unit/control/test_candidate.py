"""The candidate in the control process: whatever is wrong with it, policies go their way."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz_server.control.candidate import Candidate
from authz_server.control.fall_back import FallBack, FallenBack, FallenBackFile
from authz_server.control.policies import PolicyDirectory
from authz_server.control.publisher import Content, NotActivated, Publisher
from authz_server.control.reloader import Reloader
from authz_server.control.revisions import Revisions
from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.policy.compiler import KnownNames
from authz_server.telemetry.candidate_counts import CandidateCounts
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.builders import write_policies
from tests.unit.control.server_process import POLICY

SHUT = POLICY.replace("GET", "PUT")
NAMES = KnownNames(frozenset(), frozenset())


class FakeWorkers(Publisher):
    """Workers that refuse some revisions."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.published: list[Content] = []
        self.attempts = 0

    async def publish(self, content: Content) -> int:
        """Take it, or not."""
        self.attempts += 1
        plans = [content.plan, *([] if content.candidate is None else [content.candidate.plan])]
        if self.refused & {plan.revision for plan in plans}:
            raise NotActivated("it ended while it prepared the snapshot")
        self.published.append(content)
        self._active = content
        return len(self.published)


class Scene:
    """A control process without workers."""

    def __init__(self, directory: Path, **candidate: Any) -> None:
        self.directory = directory
        metrics = ControlMetrics(directory / "metrics")
        self.settings = self.settings_of(**candidate)
        fallen = FallBack(FallenBackFile(directory / "fallen"), lambda: CandidateCounts({}, 0.0))
        self.kept = Revisions(directory / "kept", directory / "policies", 20, 1 << 20)
        self.candidate = Candidate(self.settings.candidate, NAMES, None, fallen, self.kept, metrics)
        self.workers = FakeWorkers()
        policies = PolicyDirectory(directory / "policies", NAMES, metrics)
        trust = Trust(self.settings, metrics, lambda: None)
        self.reloader = Reloader(policies, trust, self.workers, metrics, 5.0, candidate=self.candidate)
        self.edit(POLICY, "policies")

    def settings_of(self, **candidate: Any) -> Settings:
        """Settings with this section `candidate`."""
        sections = {"candidate": candidate, "run_directory": "run"}
        return Settings.model_validate(sections, context={"base": self.directory})

    @property
    def judged(self) -> list[tuple[str, str | None]]:
        """What was published: policies in force, and the candidate beside them."""
        published = self.workers.published
        return [
            (each.plan.revision, None if each.candidate is None else each.candidate.plan.revision) for each in published
        ]

    def edit(self, text: str, directory: str = "candidate") -> None:
        """Write the policies of a directory."""
        write_policies(self.directory / directory, {"orders.yaml": text})

    def step(self, *, asked: bool = False) -> Content:
        """Look once; what the workers have then."""
        if asked:
            self.reloader.reload()
        asyncio.run(self.reloader.step())
        assert self.workers.active is not None
        return self.workers.active

    def asked(self, *, tell: bool = False) -> str | None:
        """The candidate that the workers ask after a look."""
        candidate = self.step(asked=tell).candidate
        return None if candidate is None else candidate.plan.revision


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_candidate_is_published_with_the_policies_and_kept_by_its_hash(scene: Scene) -> None:
    """What is the same as the policies in force is not asked at all."""
    scene.edit(SHUT)
    first = scene.asked()
    assert first is not None
    assert scene.kept.read(first).size is None, "it has not decided"
    in_force = scene.step().plan.revision
    assert scene.judged == [(in_force, first)]
    scene.edit(POLICY)
    assert scene.asked() is None
    assert scene.judged[1:] == [(in_force, None)]
    scene.edit(SHUT, "policies")
    assert scene.asked() == in_force
    assert scene.judged[2:] == [(first, in_force)]


def test_without_a_directory_there_is_no_candidate(scene: Scene) -> None:
    """That it is not there yet, or is removed, is no problem, as that there are no files in it."""
    assert scene.asked() is None
    assert scene.candidate.problems() == []
    scene.edit(SHUT)
    assert scene.asked() is not None
    shutil.rmtree(scene.directory / "candidate")
    assert scene.asked() is None
    assert scene.candidate.problems() == []


def test_a_bad_candidate_keeps_nothing_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its errors nor by what it does to us: policies that are edited meanwhile decide."""
    scene.edit(SHUT)
    good = scene.asked()
    scene.edit("kind: nothing")
    scene.edit(POLICY.replace("GET", "DELETE"), "policies")
    before = scene.workers.published[-1].plan
    assert scene.asked() == good, "the last good one of this run stays"
    assert scene.workers.published[-1].plan is not before
    [problem] = scene.candidate.problems()
    assert problem.endswith("in the files of the candidate; the last good one is asked")

    def broken(*_: object, **__: object) -> None:
        raise RecursionError

    with monkeypatch.context() as failing, capture_logs() as logs:
        failing.setattr("authz_server.control.candidate_directory.load_files", broken)
        scene.edit(SHUT + "# other")
        scene.edit(POLICY, "policies")
        before = scene.workers.published[-1].plan
        scene.step()
    assert scene.workers.published[-1].plan is not before
    assert "candidate_failed" in [line["event"] for line in logs]
    assert scene.reloader.activation_problem is None


def test_a_candidate_that_no_worker_can_prepare_keeps_nothing_out(scene: Scene) -> None:
    """Policies that come with it are activated without it; it is tried again after an edit, or when somebody asks."""
    scene.step()
    scene.edit(SHUT)
    scene.edit(POLICY.replace("GET", "DELETE"), "policies")
    bad = "0" * 32
    good_before = scene.workers.active
    scene.workers.refused = {bad}
    scene.candidate.reread()
    directory = scene.candidate._directory
    assert directory is not None
    assert directory.plan is not None
    scene.workers.refused = {directory.plan.revision}
    active = scene.step()
    assert active is not good_before
    assert active.candidate is None
    assert scene.reloader.activation_problem is None
    assert scene.candidate.problems() == [
        "the newest candidate could not be activated: it ended while it prepared the snapshot"
    ]
    attempts = scene.workers.attempts
    assert scene.asked() is None
    assert scene.workers.attempts == attempts, "it is not tried again and again"
    scene.workers.refused = set()
    assert scene.asked(tell=True) == directory.plan.revision
    assert scene.candidate.problems() == []


def rolled_out(scene: Scene) -> tuple[str, int] | None:
    """The candidate that decides for some after a look, and for how many."""
    candidate = scene.step().candidate
    return (
        None if candidate is None or candidate.rollout is None else (candidate.plan.revision, candidate.rollout.percent)
    )


def test_a_roll_out_ends_although_a_newer_candidate_was_refused(tmp_path: Path) -> None:
    """By the settings, or because it fell back: the last good one is asked, and decides nothing."""
    scene = Scene(tmp_path, rollout={"percent": 10, "by": "user"})
    scene.edit(SHUT)
    active = scene.asked()
    assert active is not None
    scene.edit(SHUT + "# newer")
    scene.candidate.reread()
    directory = scene.candidate._directory
    assert directory is not None
    assert directory.plan is not None
    scene.workers.refused = {directory.plan.revision}
    assert rolled_out(scene) == (active, 10)
    scene.candidate.follow(scene.settings_of(rollout={"percent": 20, "by": "user"}).candidate)
    assert rolled_out(scene) == (active, 20)
    FallenBackFile(tmp_path / "fallen").write(FallenBack(active, 1.0, 10, 10, 60.0))
    assert rolled_out(scene) is None
    assert scene.asked() == active
    FallenBackFile(tmp_path / "fallen").remove()
    assert rolled_out(scene) == (active, 20)
    scene.candidate.follow(scene.settings_of().candidate)
    assert rolled_out(scene) is None


def test_a_roll_out_ends_although_a_worker_ended_meanwhile(tmp_path: Path) -> None:
    """What the workers have already is not refused for good: its roll-out would go on."""
    scene = Scene(tmp_path, rollout={"percent": 10, "by": "user"})
    scene.edit(SHUT)
    active = scene.asked()
    assert active is not None
    FallenBackFile(tmp_path / "fallen").write(FallenBack(active, 1.0, 10, 10, 60.0))
    scene.workers.refused = {active}
    assert rolled_out(scene) == (active, 10), "no worker could be told"
    scene.workers.refused = set()
    assert rolled_out(scene) is None
    assert scene.asked() == active


def test_policies_that_no_worker_can_prepare_are_not_blamed_on_the_candidate(scene: Scene) -> None:
    """The candidate of before is in both, and stays."""
    scene.edit(SHUT)
    candidate = scene.asked()
    scene.edit(POLICY.replace("GET", "DELETE"), "policies")
    scene.reloader._policies.reread()
    assert scene.reloader._policies.plan is not None
    scene.workers.refused = {scene.reloader._policies.plan.revision}
    assert scene.asked() == candidate
    assert scene.reloader.activation_problem is not None
    assert scene.candidate.problems() == []


def test_settings_are_followed(tmp_path: Path) -> None:
    """A share, another one, none."""
    scene = Scene(tmp_path, rollout={"percent": 10, "by": "user"}, sample=50)
    scene.edit(SHUT)
    first = scene.step().candidate
    assert first is not None
    assert first.rollout is not None
    assert (first.sample, first.rollout.percent, first.rollout.by) == (50, 10, "user")
    scene.candidate.follow(scene.settings_of(rollout={"percent": 20, "by": "user"}).candidate)
    second = scene.step().candidate
    assert second is not None
    assert second.rollout is not None
    assert second.plan is first.plan
    assert second.rollout.percent == 20
    scene.candidate.follow(None)
    assert scene.asked() is None
