"""Worker processes: started, given snapshots in two steps, replaced, ended."""

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from authz_server.control.addresses import bound_address, listen_on
from authz_server.control.errors import CannotStart
from authz_server.control.process import WorkerProcess
from authz_server.control.publisher import NotActivated
from authz_server.control.supervisor import Patience
from authz_server.dev.issuer import create_issuer
from authz_server.errors import GrpcCode
from authz_server.worker.address import TcpAddress
from authz_server.worker.messages import SPARE_NAME
from tests.unit.control.fleet import PATIENCE_S, Fleet, content, fleet, request, run


def test_a_worker_serves_only_with_a_snapshot(tmp_path: Path) -> None:
    """Before the first it denies, and its health says NOT_SERVING."""

    async def scenario(made: Fleet) -> None:
        assert not await made.serving(0)
        before = await made.check(0, request())
        assert before.status.code == GrpcCode.UNAVAILABLE
        assert before.denied_response.status.code == 503
        await made.publisher.publish(content(tmp_path, "r1"))
        assert await made.serving(0)
        assert (await made.check(0, request())).status.code == GrpcCode.OK
        assert (await made.check(0, request("DELETE"))).status.code == GrpcCode.PERMISSION_DENIED

    run(scenario, tmp_path, workers=1)


def test_a_snapshot_is_active_on_all_workers_when_it_is_said_to_be(tmp_path: Path) -> None:
    """Each activation has a generation of its own."""

    async def scenario(made: Fleet) -> None:
        generations = []
        for name in ("r1", "r2"):
            generations.append(await made.publisher.publish(content(tmp_path, name)))
            assert [await made.revision(slot) for slot in (0, 1)] == [name, name]
        assert generations == [1, 2]

    run(scenario, tmp_path)


def test_what_does_not_answer_interrupts_nobody(tmp_path: Path) -> None:
    """Of the threads of a worker one alone runs as soon as it is woken, on a core that others use as well."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        assert await made.serving(0)
        pid = made.supervisor.pids()[0]
        policies = Counter[int]()
        for thread in Path(f"/proc/{pid}/task").iterdir():
            # One that lets go of something may have ended.
            with suppress(ProcessLookupError):
                policies[os.sched_getscheduler(int(thread.name))] += 1
        assert (policies[os.SCHED_OTHER], set(policies)) == (1, {os.SCHED_OTHER, os.SCHED_BATCH})
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH

    run(scenario, tmp_path, workers=1)


def test_keys_alone_can_change(tmp_path: Path) -> None:
    """The policies are not sent again."""

    async def scenario(made: Fleet) -> None:
        first = content(tmp_path, "r1")
        await made.publisher.publish(first)
        keys = json.dumps(create_issuer().jwks()).encode()
        assert await made.publisher.publish(type(first)(first.plan, {"corp": keys}, {})) == 2
        assert await made.revision(0) == "r1"

    run(scenario, tmp_path, workers=1)


def test_what_a_worker_cannot_prepare_changes_nothing(tmp_path: Path) -> None:
    """The last good snapshot decides everywhere, and the next good one is taken."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        with pytest.raises(NotActivated, match="InvalidKeySet"):
            await made.publisher.publish(content(tmp_path, "r2", keys=b"{}"))
        assert [await made.revision(slot) for slot in (0, 1)] == ["r1", "r1"]
        await made.publisher.publish(content(tmp_path, "r3"))
        assert [await made.revision(slot) for slot in (0, 1)] == ["r3", "r3"]

    run(scenario, tmp_path)


def test_if_one_worker_cannot_prepare_none_switches(tmp_path: Path) -> None:
    """The one that hangs is replaced, and its successor decides as the others do."""

    async def scenario() -> None:
        patience = Patience(heartbeat=0.05, answer=0.5, first_pause=0.01)
        async with fleet(tmp_path, patience=patience, answer_s=0.5) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            os.kill(made.supervisor.pids()[1], signal.SIGSTOP)
            with pytest.raises(NotActivated, match=r"worker 1 .* while it prepared the snapshot"):
                await made.publisher.publish(content(tmp_path, "r2"))
            assert await made.revision(0) == "r1"
            await made.until(lambda: made.publisher.serving == {0, 1})
            assert await made.revision(1) == "r1"

    asyncio.run(scenario())


def test_a_worker_that_was_killed_comes_back_with_the_snapshot(tmp_path: Path) -> None:
    """The others serve meanwhile, and the endpoints follow."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        os.kill(made.supervisor.pids()[1], signal.SIGKILL)
        await made.until(lambda: made.publisher.serving == {0})
        assert await made.revision(0) == "r1"
        await made.until(lambda: made.publisher.serving == {0, 1})
        assert await made.revision(1) == "r1"
        assert await made.serving(1)
        assert made.restarts == [1]
        assert made.endpoints[-2:] == [{0}, {0, 1}]

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("number", "problem"),
    [(signal.SIGKILL, "SIGKILL ended it"), (signal.SIGTERM, "it ended by itself with exit code 0")],
)
def test_the_end_of_a_worker_is_logged_and_so_is_its_successor(
    tmp_path: Path, number: signal.Signals, problem: str
) -> None:
    """What ended it is said in words; the start of the fleet itself is not told of."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        os.kill(made.supervisor.pids()[0], number)
        await made.until(lambda: made.restarts == [0] and made.publisher.serving == {0})

    with capture_logs() as logs:
        run(scenario, tmp_path, workers=1)
    assert [line for line in logs if line["event"].startswith("worker_")] == [
        {
            "event": "worker_ended",
            "log_level": "error",
            "worker": 0,
            "exit_code": -number if number is signal.SIGKILL else 0,
            "problem": problem,
        },
        {"event": "worker_started", "log_level": "info", "worker": 0},
    ]


def test_the_successor_is_a_process_that_waited_and_another_one_waits_then(tmp_path: Path) -> None:
    """To start a process takes longer than all that it does then."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        made.supervisor.have_spare()
        await made.until(lambda: spares() != [])
        [spare] = spares()
        os.kill(made.supervisor.pids()[0], signal.SIGKILL)
        await made.until(lambda: made.supervisor.pids() == {0: spare} and made.publisher.serving == {0})
        assert await made.revision(0) == "r1"
        await made.until(lambda: spares() not in ([], [spare]))

    run(scenario, tmp_path, workers=1)
    assert spares() == []


def test_without_a_spare_process_a_fresh_one_is_started(tmp_path: Path) -> None:
    """One that has ended while it waited is none, and is replaced itself."""

    async def scenario(made: Fleet) -> None:
        made.supervisor.have_spare()
        await made.until(lambda: spares() != [])
        [spare] = spares()
        os.kill(spare, signal.SIGKILL)
        os.kill(made.supervisor.pids()[0], signal.SIGKILL)
        await made.until(lambda: made.restarts != [] and set(made.supervisor.addresses) == {0})
        assert made.supervisor.pids()[0] != spare
        await made.until(lambda: spares() not in ([], [spare]))

    run(scenario, tmp_path, workers=1)


def spares() -> list[int]:
    """The processes of ours that wait to become workers."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == SPARE_NAME]


def test_a_successor_listens_only_with_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked the one before asks on at the same address, and must not be told that it is not ready."""
    listened: list[bool] = []

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        add = made.publisher.add

        async def look_and_add(worker: WorkerProcess) -> None:
            listened.append(worker.listens)
            await add(worker)
            listened.append(worker.listens)

        monkeypatch.setattr(made.publisher, "add", look_and_add)
        os.kill(made.supervisor.pids()[0], signal.SIGKILL)
        await made.until(lambda: made.restarts == [0] and made.publisher.serving == {0})

    run(scenario, tmp_path, workers=1)
    assert listened == [False, False]


def test_a_worker_that_ends_again_and_again_is_told_of(tmp_path: Path) -> None:
    """Which, how often, and what ended it last."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        for count in range(3):
            assert made.supervisor.problems() == []
            os.kill(made.supervisor.pids()[1], signal.SIGSEGV)
            await made.until(lambda: len(made.restarts) > count and made.publisher.serving == {0, 1})  # noqa: B023
        assert made.supervisor.problems() == ["worker 1 has ended 3 times in the last minute, last: SIGSEGV ended it"]

    run(scenario, tmp_path)


def test_one_that_ends_again_waits_before_another_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends each worker at once would take all of the machine."""
    paused: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        paused.append(seconds)
        await sleep(seconds)

    async def scenario() -> None:
        async with fleet(tmp_path, 1, patience=Patience(first_pause=0.0123)) as made:
            monkeypatch.setattr(asyncio, "sleep", noted)
            for count in range(2):
                os.kill(made.supervisor.pids()[0], signal.SIGKILL)
                await made.until(lambda: len(made.restarts) > count and 0 in made.supervisor.pids())  # noqa: B023
            monkeypatch.undo()

    asyncio.run(scenario())
    assert 0.0123 in paused


def test_a_worker_that_ends_while_it_is_asked_for_a_sign_of_life_is_not_waited_for(tmp_path: Path) -> None:
    """However long the patience with one that hangs."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1, patience=Patience(heartbeat=0.01, answer=1000, first_pause=0.01)) as made:
            first = made.supervisor.pids()[0]
            os.kill(first, signal.SIGSTOP)
            # So long that it has been asked.
            await asyncio.sleep(0.2)
            os.kill(first, signal.SIGKILL)
            await made.until(lambda: made.restarts == [0])

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    """It gives no sign of life."""

    async def scenario() -> None:
        async with fleet(tmp_path, 1, patience=Patience(heartbeat=0.05, answer=0.5, first_pause=0.01)) as made:
            await made.publisher.publish(content(tmp_path, "r1"))
            hanging = made.supervisor.pids()[0]
            os.kill(hanging, signal.SIGSTOP)
            await made.until(lambda: made.publisher.serving == {0} and made.supervisor.pids() != {0: hanging})
            assert await made.revision(0) == "r1"

    with capture_logs() as logs:
        asyncio.run(scenario())
    [ended] = [line for line in logs if line["event"] == "worker_ended"]
    assert ended["problem"] == "worker 0 did not answer within 0.5 s, and was killed"


def test_a_worker_that_is_told_to_stop_by_others_comes_back(tmp_path: Path) -> None:
    """SIGTERM to a single worker drains it; there is always another one."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        first = made.supervisor.pids()[0]
        os.kill(first, signal.SIGTERM)
        await made.until(lambda: made.publisher.serving == {0} and made.supervisor.pids()[0] != first)

    run(scenario, tmp_path, workers=1)


def test_a_worker_tells_of_keys_that_it_does_not_know(tmp_path: Path) -> None:
    """The call is denied without waiting."""

    async def scenario(made: Fleet) -> None:
        known, other = create_issuer(), create_issuer()
        await made.publisher.publish(content(tmp_path, "r1", keys=json.dumps(known.jwks()).encode()))
        token = other.token("https://login.example/", "shop", {"sub": "alice"}, timedelta(minutes=5))
        denied = await made.check(0, request(authorization=f"Bearer {token}"))
        assert denied.status.code == GrpcCode.UNAUTHENTICATED
        await made.until(lambda: made.unknown_keys == ["corp"])

    run(scenario, tmp_path, workers=1)


def test_a_port_that_is_taken_keeps_the_workers_from_starting(tmp_path: Path) -> None:
    """With a message for people."""

    async def scenario() -> None:
        with listen_on(TcpAddress("127.0.0.1", 0)) as taken:
            address = bound_address(taken, TcpAddress("127.0.0.1", 0))
            with pytest.raises(CannotStart, match=f"cannot listen on {address}: the address is in use"):
                async with fleet(tmp_path, 1, address=address):
                    pass

    asyncio.run(scenario())


def test_in_the_end_no_process_is_left(tmp_path: Path) -> None:
    """Draining waits for all of them."""
    pids: list[int] = []

    async def scenario(made: Fleet) -> None:
        pids.extend(made.supervisor.pids().values())

    run(scenario, tmp_path)
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_workers_are_replaced_one_by_one_by_such_with_other_settings(tmp_path: Path) -> None:
    """There is always one that serves, and each has the snapshot when it can be asked."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        before = made.supervisor.pids()
        del made.endpoints[:]
        await made.supervisor.replace([structs.replace(one, max_body=2048) for one in made.settings], PATIENCE_S)
        assert made.endpoints == [{1}, {0, 1}, {0}, {0, 1}]
        assert not set(before.values()) & set(made.supervisor.pids().values())
        assert [await made.revision(slot) for slot in (0, 1)] == ["r1", "r1"]
        assert made.publisher.serving == {0, 1}
        assert (made.restarts, made.supervisor.problems()) == ([], [])

    run(scenario, tmp_path)


def test_settings_with_which_a_worker_cannot_start_change_nothing(tmp_path: Path) -> None:
    """Those of before come back, for the workers that had others already as well."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        first, second = made.settings
        with pytest.raises(CannotStart):
            await made.supervisor.replace([first, structs.replace(second, ring="/none")], PATIENCE_S)
        await made.until(lambda: made.publisher.serving == {0, 1})
        assert [await made.revision(slot) for slot in (0, 1)] == ["r1", "r1"]

    run(scenario, tmp_path)


def test_nothing_is_reported_active_while_a_worker_finishes_its_calls(tmp_path: Path) -> None:
    """It decides by what it has: a newer snapshot is activated when it is gone."""

    async def scenario(made: Fleet) -> None:
        await made.publisher.publish(content(tmp_path, "r1"))
        draining = made.supervisor.pids()[0]
        os.kill(draining, signal.SIGSTOP)
        replacing = asyncio.create_task(made.supervisor.replace(made.settings[:1], PATIENCE_S))
        await made.until(lambda: made.publisher.serving == {1})
        publishing = asyncio.create_task(made.publisher.publish(content(tmp_path, "r2")))
        reported, _ = await asyncio.wait([publishing], timeout=0.5)
        assert not reported
        os.kill(draining, signal.SIGCONT)
        await publishing
        await replacing
        assert [await made.revision(slot) for slot in (0, 1)] == ["r2", "r2"]

    run(scenario, tmp_path)
