"""What is said to be active decides everywhere: no worker is left that decides by something older."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from authz_server.control.process import WorkerGone, WorkerProcess
from authz_server.control.publisher import NotActivated
from authz_server.control.supervisor import Patience
from authz_server.policy.packing import pack
from authz_server.worker.messages import Activate, Prepare, Prepared, ToWorker, frame
from tests.builders import plan_of
from tests.unit.control.fleet import PATIENCE_S, Fleet, content, fleet, run

QUIET = Patience(heartbeat=60.0)
"""Only what is published notices that a worker does not answer."""


@pytest.fixture(name="known")
def _known(monkeypatch: pytest.MonkeyPatch) -> dict[int, WorkerProcess]:
    """The workers that have been sent anything, by slot."""
    known: dict[int, WorkerProcess] = {}
    send = WorkerProcess.send

    async def remember(worker: WorkerProcess, message: ToWorker) -> None:
        known[worker.slot] = worker
        await send(worker, message)

    monkeypatch.setattr(WorkerProcess, "send", remember)
    return known


def test_nothing_is_reported_before_the_last_worker_has_switched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads what is active may then ask any worker."""

    async def scenario(made: Fleet) -> None:
        first = content(tmp_path, "r1")
        await made.publisher.publish(first)
        send, arrives = WorkerProcess.send, asyncio.Event()

        async def send_late(worker: WorkerProcess, message: ToWorker) -> None:
            if worker.slot == 1 and isinstance(message, Activate):
                await arrives.wait()
            await send(worker, message)

        monkeypatch.setattr(WorkerProcess, "send", send_late)
        publishing = asyncio.create_task(made.publisher.publish(content(tmp_path, "r2")))
        while await made.revision(0) != "r2":
            assert not publishing.done()
        assert await made.revision(1) == "r1"
        assert made.publisher.active is first
        assert not publishing.done()
        arrives.set()
        await publishing
        assert made.publisher.active is not first
        assert await made.revision(1) == "r2"

    run(scenario, tmp_path)


def test_who_follows_is_told_before_the_first_worker_switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts what comes of a snapshot has to know of it when the first record comes; and only if it does."""

    async def scenario(made: Fleet) -> None:
        send = WorkerProcess.send
        known: list[list[str]] = []

        async def remember(worker: WorkerProcess, message: ToWorker) -> None:
            if isinstance(message, Activate):
                known.append(list(made.switches))
            await send(worker, message)

        monkeypatch.setattr(WorkerProcess, "send", remember)
        await made.publisher.publish(content(tmp_path, "r1"))
        with pytest.raises(NotActivated):
            await made.publisher.publish(content(tmp_path, "r2", keys=b"no keys"))
        await made.publisher.publish(content(tmp_path, "r3"))
        assert known == [["r1"], ["r1"], ["r1", "r3"], ["r1", "r3"]]

    run(scenario, tmp_path)


def test_a_worker_that_does_not_switch_is_gone_before_anything_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on deciding by what was before; its successor has what the others have."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET, answer_s=0.5) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            stopped = made.supervisor.pids()[1]
            send = WorkerProcess.send

            async def send_and_stop(worker: WorkerProcess, message: ToWorker) -> None:
                if worker.pid == stopped and isinstance(message, Activate):
                    os.kill(stopped, signal.SIGSTOP)
                await send(worker, message)

            monkeypatch.setattr(WorkerProcess, "send", send_and_stop)
            await made.publisher.publish(content(tmp_path, "r2"))
            with pytest.raises(ProcessLookupError):
                os.kill(stopped, 0)
            assert await made.revision(0) == "r2"
            await made.until(lambda: made.publisher.serving == {0, 1})
            assert await made.revision(1) == "r2"

    asyncio.run(scenario())


def test_a_worker_that_does_not_take_what_is_sent_is_given_up(tmp_path: Path) -> None:
    """More than its socket holds: nobody is kept waiting for a worker that hangs, and its successor gets everything."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET, answer_s=0.5) as made:
            os.kill(made.supervisor.pids()[1], signal.SIGSTOP)
            large = content(tmp_path, "r1", b'{"keys": []' + b" " * 1_000_000 + b"}")
            with pytest.raises(NotActivated, match="worker 1 did not take a message"):
                await made.publisher.publish(large)
            await made.publisher.publish(large)
            await made.until(lambda: made.publisher.serving == {0, 1})
            assert await made.revision(1) == "r1"

    asyncio.run(scenario())


@pytest.mark.parametrize("padding", [0, 1_000_000], ids=["has taken all", "takes no more"])
def test_a_worker_that_stops_while_it_prepares_misses_its_heartbeat(padding: int, tmp_path: Path) -> None:
    """As at any other time: a change need not wait until preparing has taken far too long."""

    async def scenario() -> None:
        patience = Patience(heartbeat=60.0, answer=0.5)
        async with fleet(tmp_path, patience=patience, answer_s=60.0, heartbeat_s=0.05) as made:
            os.kill(made.supervisor.pids()[1], signal.SIGSTOP)
            snapshot = content(tmp_path, "r1", b'{"keys": []' + b" " * padding + b"}")
            with pytest.raises(NotActivated, match=r"worker 1 did not answer within 0\.5 s while it prepared"):
                await made.publisher.publish(snapshot)
            await made.publisher.publish(snapshot)
            assert await made.revision(0) == "r1"
            await made.until(lambda: made.publisher.serving == {0, 1})
            assert await made.revision(1) == "r1"

    asyncio.run(scenario())


def test_a_worker_that_prepares_gives_signs_of_life(tmp_path: Path, known: dict[int, WorkerProcess]) -> None:
    """However long it takes."""

    async def scenario() -> None:
        async with fleet(tmp_path, workers=1, patience=QUIET) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            rules = "".join(
                f'  - {{id: r{number}, effect: deny, from: anyone, when: \'request.headers["x-{number}"] == "a"\'}}\n'
                for number in range(500)
            )
            text = f"kind: service\nname: orders\nhosts: [a.example]\nrules:\n{rules}"
            large = plan_of(tmp_path / "large", orders=text)
            await known[0].send_frame(frame(Prepare(2, pack(large), {"corp": b'{"keys": []}'}, {})))
            preparing = asyncio.create_task(known[0].answer((Prepared,), PATIENCE_S))
            await known[0].ping(PATIENCE_S)
            assert not preparing.done()
            assert await preparing == Prepared(2)

    asyncio.run(scenario())


def test_the_end_does_not_wait_for_a_worker_that_takes_nothing(tmp_path: Path, known: dict[int, WorkerProcess]) -> None:
    """Not even the message that it is to end: the server ends within its grace."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET) as made:
            hanging = made.supervisor.pids()[1]
            os.kill(hanging, signal.SIGSTOP)
            with pytest.raises(WorkerGone, match="did not take a message"):
                await known[1].send_frame(bytes(2_000_000), 0.1)
            async with asyncio.timeout(PATIENCE_S):
                await made.supervisor.drain(0.1)
            with pytest.raises(ProcessLookupError):
                os.kill(hanging, 0)

    asyncio.run(scenario())


def test_a_worker_that_is_let_go_is_waited_for(tmp_path: Path, known: dict[int, WorkerProcess]) -> None:
    """As long as it lives it decides by what it has, although nobody tells it anything any more."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET) as made:
            first = content(tmp_path, "r1")
            await made.publisher.publish(first)
            made.publisher.remove(known[1])
            publishing = asyncio.create_task(made.publisher.publish(content(tmp_path, "r2")))
            while await made.revision(0) != "r2":
                assert not publishing.done()
            assert await made.revision(1) == "r1"
            assert made.publisher.active is first
            os.kill(known[1].pid, signal.SIGKILL)
            await publishing
            assert made.publisher.active is not first

    asyncio.run(scenario())


def test_a_worker_that_is_let_go_and_does_not_end_is_ended(tmp_path: Path, known: dict[int, WorkerProcess]) -> None:
    """A change must not wait for it for ever."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET, answer_s=0.5) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            made.publisher.remove(known[1])
            await made.publisher.publish(content(tmp_path, "r2"))
            with pytest.raises(ProcessLookupError):
                os.kill(known[1].pid, 0)

    asyncio.run(scenario())


def test_a_worker_that_ends_before_it_has_switched_is_none_that_serves(
    tmp_path: Path, known: dict[int, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it is told, and starts another."""

    async def scenario() -> None:
        async with fleet(tmp_path, patience=QUIET) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            made.publisher.remove(known[1])
            send = WorkerProcess.send

            async def end_and_send(worker: WorkerProcess, message: ToWorker) -> None:
                if isinstance(message, Activate):
                    os.kill(worker.pid, signal.SIGKILL)
                    await worker.exited_within(60.0)
                await send(worker, message)

            monkeypatch.setattr(WorkerProcess, "send", end_and_send)
            with pytest.raises(NotActivated, match="worker 1 did not switch"):
                await made.publisher.add(known[1])
            assert made.publisher.serving == {0}

    asyncio.run(scenario())
