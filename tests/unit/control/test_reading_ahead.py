"""At the start workers get services while further ones are being read, and nothing depends on it."""

import asyncio
import os
import signal
from pathlib import Path
from textwrap import dedent

import pytest
from msgspec import structs

from authz_server.control.process import TAKEN_S, WorkerProcess
from authz_server.control.supervisor import Patience
from authz_server.policy.packing import PackedService
from authz_server.worker.messages import LENGTH_BYTES, Ahead, Prepare, ToWorker, read_by_worker
from tests.unit.control.fleet import Fleet, content, fleet, run
from tests.unit.control.server_process import POLICY
from tests.unit.control.test_reloader import Scene

ANOTHER = """
    kind: service
    name: carts
    hosts: [carts.shop.example]
    rules: [{id: all, effect: allow, from: anyone, when: EXPRESSION}]
"""


@pytest.fixture(name="sent")
def _sent(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[ToWorker]]:
    """What came ahead and what was to be prepared, by worker."""
    sent: dict[int, list[ToWorker]] = {}
    send_frame = WorkerProcess.send_frame

    async def remember(worker: WorkerProcess, data: bytes, timeout_s: float = TAKEN_S) -> None:
        message = read_by_worker(data[LENGTH_BYTES:])
        if isinstance(message, Ahead | Prepare):
            sent.setdefault(worker.slot, []).append(message)
        await send_frame(worker, data, timeout_s)

    monkeypatch.setattr(WorkerProcess, "send_frame", remember)
    return sent


def scene_with(made: Fleet, directory: Path, expression: str) -> Scene:
    """Two services, of which the first is good."""
    scene = Scene(made, directory)
    scene.keys.write_text('{"keys":[]}')
    scene.file.write_text(dedent(POLICY))
    scene.file.with_name("further.yaml").write_text(dedent(ANOTHER).replace("EXPRESSION", expression))
    scene.file.rename(scene.file.with_name("a.yaml"))
    return scene


def digests(messages: list[ToWorker]) -> list[bytes | None]:
    """Those of the services that came ahead; None where they are to be forgotten."""
    ahead = [message.service for message in messages if isinstance(message, Ahead)]
    return [None if service is None else service.digest for service in ahead]


def test_each_service_goes_ahead_and_then_all_policies(tmp_path: Path, sent: dict[int, list[ToWorker]]) -> None:
    """In this order, to every worker; at a reload only the policies."""

    async def scenario(made: Fleet) -> None:
        scene = scene_with(made, tmp_path, "has_user")
        await scene.reloader.read_ahead()
        await scene.reloader.step()
        for messages in (sent[0], sent[1]):
            *_, prepare = messages
            assert isinstance(prepare, Prepare)
            assert prepare.plan is not None
            assert digests(messages) == [one.digest for one in reversed(prepare.plan.services)]
            assert [type(message) for message in messages] == [Ahead, Ahead, Prepare]
        assert made.publisher.serving == {0, 1}
        scene.file.with_name("further.yaml").unlink()
        await scene.reloader.step()
        assert [type(message) for message in sent[0]] == [Ahead, Ahead, Prepare, Prepare]

    run(scenario, tmp_path)


@pytest.mark.parametrize(("expression", "went_ahead"), [("no_such_name", 1), ('"', 0)])
def test_nothing_remains_of_policies_that_are_bad(
    tmp_path: Path, sent: dict[int, list[ToWorker]], expression: str, went_ahead: int
) -> None:
    """Services that went ahead before that was known are forgotten."""

    async def scenario(made: Fleet) -> None:
        scene = scene_with(made, tmp_path, expression)
        await scene.reloader.read_ahead()
        await made.until(lambda: None in digests(sent.get(0, [])))
        assert len(digests(sent[0])) == went_ahead + 1
        await scene.reloader.step()
        assert made.publisher.active is None
        assert not any(isinstance(message, Prepare) for message in sent[0])

    run(scenario, tmp_path, workers=1)


def test_a_worker_that_does_not_get_it_gets_the_policies(tmp_path: Path, sent: dict[int, list[ToWorker]]) -> None:
    """One that hangs or ends meanwhile keeps nobody waiting; and its successor needs nothing that went ahead."""

    async def scenario() -> None:
        patience = Patience(heartbeat=0.05, answer=0.5, first_pause=0.01)
        async with fleet(tmp_path, 2, patience=patience) as made:
            scene = scene_with(made, tmp_path, "has_user")
            # It gives no sign of life until it is killed for that.
            os.kill(made.supervisor.pids()[0], signal.SIGSTOP)
            await scene.reloader.read_ahead()
            await made.until(lambda: made.restarts == [0])
            await scene.reloader.step()
            await made.until(lambda: made.publisher.serving == {0, 1})
            assert len(digests(sent[1])) == 2

    asyncio.run(scenario())


def test_what_cannot_be_indexed_ahead_changes_nothing(tmp_path: Path) -> None:
    """The policies decide whether a worker can have them."""

    async def scenario(made: Fleet) -> None:
        good = content(tmp_path, "r1")
        made.publisher.send_ahead(structs.replace(good.plan.services[0]), PackedService(b"?", memoryview(b"\xc1"), ()))
        await made.publisher.publish(good)
        assert await made.revision(0) == "r1"
        assert made.restarts == []

    run(scenario, tmp_path, workers=1)
