"""Policies on their way to disk: the latest gets there, and nobody waits long for a slow disk."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from structlog.testing import capture_logs

from authz_server.control.keeping import Keeper
from authz_server.control.kept_policies import KeptPolicies, Size
from authz_server.control.revisions import Revisions
from authz_server.policy.files import PolicyFile, policy_file, revision
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.control.fleet import PATIENCE_S


class Disk(KeptPolicies):
    """One that can be full, or stand still."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "kept", directory)
        self.full = False
        self.moves = Event()
        self.moves.set()
        self.written: list[bytes] = []

    def write(self, files: Sequence[PolicyFile], activated: float, size: Size | None = None) -> None:
        """Write, as soon as the disk moves."""
        self.moves.wait(PATIENCE_S)
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(files, activated, size)
        self.written.append(files[0].content)


class Scene:
    """A keeper and its disk."""

    def __init__(self, directory: Path, patience_s: float = PATIENCE_S) -> None:
        self.disk = Disk(directory)
        self.metrics = ControlMetrics(directory / "metrics")
        self.keeper = Keeper(self.disk, self.metrics, patience_s, lambda: 5.0)

    async def keep(self, content: bytes) -> None:
        """Keep one file."""
        await self.keeper.keep([policy_file(Path("/p"), "a.yaml", content)])

    def is_kept(self) -> bool:
        """What the metric says."""
        return "authz_policy_kept 1.0" in self.metrics.render().decode()


def test_what_decides_is_on_disk_when_keeping_returns(tmp_path: Path) -> None:
    """With the time at which it began to decide."""

    async def scenario() -> None:
        scene = Scene(tmp_path)
        assert not scene.is_kept()
        await scene.keep(b"one")
        kept = scene.disk.read()
        assert (kept.activated, [file.content for file in kept.files]) == (5.0, [b"one"])
        assert scene.is_kept()
        await scene.keeper.go_on()
        assert scene.disk.written == [b"one"]

    asyncio.run(scenario())


def test_what_cannot_be_replaced_is_removed_and_written_later(tmp_path: Path) -> None:
    """What is older than what decides must not come back at a start. It is told once."""

    async def scenario() -> None:
        scene = Scene(tmp_path)
        await scene.keep(b"one")
        scene.disk.full = True
        with capture_logs() as logs:
            await scene.keep(b"two")
            await scene.keeper.go_on()
        assert [(line["event"], line["problem"]) for line in logs] == [
            ("last_good_not_kept", "No space left on device")
        ]
        assert scene.keeper.problem == "No space left on device"
        assert not scene.disk.path.exists()
        assert not scene.is_kept()
        scene.disk.full = False
        await scene.keeper.go_on()
        assert scene.keeper.problem is None
        assert [file.content for file in scene.disk.read().files] == [b"two"]
        assert scene.is_kept()

    asyncio.run(scenario())


def test_a_disk_that_stands_still_holds_nobody_up(tmp_path: Path) -> None:
    """Of what waits for it meanwhile, only the latest is written."""

    async def scenario() -> None:
        scene = Scene(tmp_path, patience_s=0.01)
        scene.disk.moves.clear()
        for content in (b"one", b"two", b"three"):
            await scene.keep(content)
        assert scene.keeper.problem == "it takes long to write it"
        assert not scene.is_kept()
        scene.disk.moves.set()
        async with asyncio.timeout(PATIENCE_S):
            while not scene.is_kept():
                await asyncio.sleep(0.01)
        assert scene.disk.written == [b"one", b"three"]
        assert scene.keeper.problem is None

    asyncio.run(scenario())


def test_what_is_older_than_what_decides_is_gone_before_the_other_is_written(tmp_path: Path) -> None:
    """A kill meanwhile leaves nothing that has been reported to be over."""

    async def scenario() -> None:
        scene = Scene(tmp_path, patience_s=0.01)
        await scene.keep(b"one")
        async with asyncio.timeout(PATIENCE_S):
            while not scene.is_kept():
                await asyncio.sleep(0.01)
        assert scene.disk.path.exists()
        scene.disk.moves.clear()
        await scene.keep(b"two")
        async with asyncio.timeout(PATIENCE_S):
            while scene.disk.path.exists():
                await asyncio.sleep(0.01)
        assert not scene.is_kept()
        scene.disk.moves.set()
        async with asyncio.timeout(PATIENCE_S):
            while not scene.is_kept():
                await asyncio.sleep(0.01)
        assert [file.content for file in scene.disk.read().files] == [b"two"]

    asyncio.run(scenario())


def test_a_revision_that_cannot_be_kept_is_told_and_tried_again(tmp_path: Path) -> None:
    """What is kept for a start stays; without that, revisions are kept all the same."""

    async def scenario(last_good: KeptPolicies | None) -> None:
        directory = tmp_path / "revisions"
        directory.write_text("in the way")
        revisions = Revisions(directory, Path("/p"), 9, 1 << 20)
        keeper = Keeper(last_good, ControlMetrics(tmp_path / "metrics"), PATIENCE_S, lambda: 5.0, revisions)
        files = [policy_file(Path("/p"), "a.yaml", b"one")]
        with capture_logs() as logs:
            await keeper.keep(files, Size(1, 2))
        assert [(line["event"], line["file"]) for line in logs] == [("revision_not_kept", str(directory))]
        assert keeper.problem == "File exists"
        directory.unlink()
        await keeper.go_on()
        assert keeper.problem is None
        kept = revisions.read(revision(files))
        assert (kept.activated, kept.size, list(kept.files)) == (5.0, (1, 2), files)
        (directory / kept.revision).unlink()
        directory.rmdir()

    last_good = KeptPolicies(tmp_path / "kept", Path("/p"))
    asyncio.run(scenario(last_good))
    assert last_good.read().files
    asyncio.run(scenario(None))
