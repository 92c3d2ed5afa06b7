"""What has changed is brought to the workers, and brought again where that failed."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from threading import Event

import pytest
from structlog.testing import capture_logs

from authz_server.control.keeping import Keeper
from authz_server.control.kept_policies import KeptPolicies, Size
from authz_server.control.policies import PolicyDirectory, known_names
from authz_server.control.reloader import Reloader
from authz_server.control.settings import Settings
from authz_server.control.supervisor import Patience
from authz_server.control.trust import Trust
from authz_server.errors import GrpcCode
from authz_server.policy.files import PolicyFile
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.control.fleet import PATIENCE_S, Fleet, fleet, request
from tests.unit.control.server_process import POLICY

RESCAN_S = 5.0


class Scene:
    """A fleet with policies and keys in files, and a clock that a test moves."""

    def __init__(self, made: Fleet, directory: Path, disk: KeptPolicies | None = None) -> None:
        self.now = 0.0
        self.file = directory / "policies" / "orders.yaml"
        self.file.parent.mkdir()
        self.keys = directory / "jwks.json"
        issuer = {"issuer": "https://login.example/", "audiences": ["shop"], "keys": {"file": "jwks.json"}}
        settings = Settings.model_validate({"issuers": {"corp": issuer}}, context={"base": directory})
        self.metrics = metrics = ControlMetrics(directory / "control-metrics")
        policies = PolicyDirectory(self.file.parent, known_names(settings), metrics)
        trust = Trust(settings, metrics, lambda: None)
        keeper = None if disk is None else Keeper(disk, metrics, PATIENCE_S)
        self.reloader = Reloader(policies, trust, made.publisher, metrics, RESCAN_S, lambda: self.now, keeper)

    async def edit(self, text: str) -> None:
        """Change the policies, and look."""
        self.file.write_text(dedent(text))
        await self.reloader.step()


def test_policies_and_keys_are_activated_when_they_change(tmp_path: Path) -> None:
    """Each change once; what has not changed is not activated again."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1) as made:
            scene = Scene(made, tmp_path)
            await scene.reloader.step()
            assert made.publisher.active is None
            await scene.edit(POLICY)
            first = made.publisher.active
            assert first is not None
            await scene.reloader.step()
            assert made.publisher.active is first
            scene.keys.write_text('{"keys":[]}')
            await scene.reloader.step()
            second = made.publisher.active
            assert second is not None
            assert second.plan is first.plan
            assert second.keys == {"corp": b'{"keys":[]}'}

    asyncio.run(scenario())


def test_who_asks_for_a_reload_gets_an_answer(tmp_path: Path) -> None:
    """In the log: nothing new, or all problems again; looks that nobody asked for say nothing twice."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1) as made:
            scene = Scene(made, tmp_path)

            async def told(*, asked: bool) -> set[str]:
                if asked:
                    scene.reloader.reload()
                with capture_logs() as logs:
                    await scene.reloader.step()
                return {line["event"] for line in logs}

            scene.keys.write_text('{"keys":[]}')
            refused = {"policies_refused", "policy_problem"}
            scene.file.write_text("kind: servce")
            assert await told(asked=False) == refused
            assert await told(asked=False) == set()
            assert await told(asked=True) == refused
            scene.file.write_text(dedent(POLICY))
            assert await told(asked=True) == {"policies_loaded"}
            assert await told(asked=False) == set()
            assert await told(asked=True) == {"policies_unchanged"}
            scene.keys.write_text("garbage")
            assert await told(asked=False) == {"trust_file_refused"}
            assert await told(asked=True) == {"trust_file_refused", "policies_unchanged"}
            scene.file.write_text("kind: servce")
            assert await told(asked=False) == refused
            assert await told(asked=True) == {"trust_file_refused", *refused}
            scene.file.write_text(dedent(POLICY))
            assert await told(asked=True) == {"trust_file_refused", "policies_mended"}

    asyncio.run(scenario())


def test_what_could_not_be_activated_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    """The pause keeps policies that end a worker from ending its successors one after the other."""

    async def scenario() -> None:
        patience = Patience(heartbeat=0.05, answer=0.5, first_pause=0.01)
        async with fleet(tmp_path, 1, patience=patience, answer_s=0.5) as made:
            scene = Scene(made, tmp_path)
            await scene.edit(POLICY)
            first = made.publisher.active
            os.kill(made.supervisor.pids()[0], signal.SIGSTOP)
            await scene.edit(POLICY.replace("GET", "PUT"))
            assert made.publisher.active is first
            assert scene.reloader.activation_problem is not None
            await made.until(lambda: made.publisher.serving == {0})
            scene.now = RESCAN_S - 0.1
            await scene.reloader.step()
            assert made.publisher.active is first
            scene.now = RESCAN_S
            # What is bad by then stays so.
            await scene.edit("kind: servce")
            assert made.publisher.active is not first
            assert "authz_policy_problems 1.0" in scene.metrics.render().decode()
            assert scene.reloader.activation_problem is None

    asyncio.run(scenario())


class StillDisk(KeptPolicies):
    """One that stands still until it is told to move."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "kept", directory / "policies")
        self.moves = Event()

    def write(self, files: Sequence[PolicyFile], activated: float, size: Size | None = None) -> None:
        """Write, as soon as the disk moves."""
        self.moves.wait(PATIENCE_S)
        super().write(files, activated, size)


def test_a_change_decides_at_once_and_is_reported_when_it_is_kept(tmp_path: Path) -> None:
    """So that a server which is killed after the report has nothing older on disk."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1) as made:
            disk = StillDisk(tmp_path)
            scene = Scene(made, tmp_path, disk)
            with capture_logs() as logs:
                editing = asyncio.create_task(scene.edit(POLICY))
                await made.until(lambda: made.publisher.active is not None)
                assert (await made.check(0, request())).status.code == GrpcCode.OK
                assert not editing.done()
                assert "policies_loaded" not in [line["event"] for line in logs]
                disk.moves.set()
                await editing
            assert logs[-1]["event"] == "policies_loaded"
            assert disk.read().files

    asyncio.run(scenario())


def test_a_failure_of_ours_ends_nothing_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides goes on deciding, the problem is told, and the next good look mends it."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1) as made:
            scene = Scene(made, tmp_path)
            await scene.edit(POLICY)
            first = made.publisher.active
            with monkeypatch.context() as broken, capture_logs() as logs:
                broken.setattr(os, "scandir", None)
                broken.setattr(os, "listdir", None)
                await scene.edit(POLICY + "# changed\n")
            assert made.publisher.active is first
            assert scene.reloader.activation_problem == "a failure inside (TypeError)"
            assert [line["event"] for line in logs] == ["reload_failed"]
            await scene.reloader.step()
            assert made.publisher.active is not first
            assert scene.reloader.activation_problem is None

    asyncio.run(scenario())
