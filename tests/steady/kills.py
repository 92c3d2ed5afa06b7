"""Workers are killed at random while requests go on: `python -m tests.steady.kills`.

At the end nothing has piled up, no client has seen an error, and every decision that a client saw is on record.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.steady.rate import Answers, requests_at
from tests.steady.replicas import WORKERS, Replicas, envoy_before, prepared
from tests.unit.control.server_process import Served

BACK_S = 60.0
REST_S = 10.0
TIMEOUT_S = 5.0


class Kept(Struct, frozen=True):
    """What a server holds on to."""

    descriptors: int
    """Of the control process."""
    children: int
    files: frozenset[str]
    """In the run directory; those that are named after a run or a rotation are there from the start."""
    shared_memory: frozenset[str]

    def beyond(self, before: "Kept") -> list[str]:
        """What has been added since."""
        more = [f"{self.descriptors} descriptors, before {before.descriptors}"] * (
            self.descriptors > before.descriptors
        )
        more += [f"{self.children} processes, before {before.children}"] * (self.children > before.children)
        return more + [
            f"{name} is left" for name in (self.files - before.files) | (self.shared_memory - before.shared_memory)
        ]


class Outcome(Struct, frozen=True):
    """What was seen."""

    answers: Answers
    kills: int
    before: Kept
    after: Kept
    resident_kib: tuple[int, int]
    """Of the control process, before and after."""
    unrecorded: int
    """Decisions that a client saw, and that are in no record."""

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        faults = [f"{self.answers.others()} clients saw an error: {self.answers}"] if self.answers.others() else []
        faults += [f"{self.unrecorded} decisions are on no record"] if self.unrecorded else []
        return faults + self.after.beyond(self.before)


def kill_workers(replicas: Replicas, kills: int, every_s: float, rate: float, chance: random.Random) -> Outcome:
    """Kill so many workers of the one server, and look what remains."""
    [server] = replicas.servers
    with requests_at(rate, replicas.port) as answers:
        answers.wait_for_more(int(rate))
        # Whatever is made once is there after the first.
        _kill(replicas, chance)
        before, memory = kept(server), resident_kib(server)
        start = time.monotonic()
        for number in range(kills):
            time.sleep(max(0.0, start + number * every_s - time.monotonic()))
            _kill(replicas, chance)
        answers.wait_for_more(int(rate))
    # What is closed in the background is gone in a moment.
    with suppress(TimeoutError):
        wait_until(lambda: not kept(server).beyond(before), REST_S, "rest")
    wait_until(lambda: len(replicas.accesses()) >= answers.count, BACK_S, "Envoy's log")
    with suppress(TimeoutError):
        wait_until(lambda: replicas.told() <= replicas.recorded(), REST_S, "the records")
    unrecorded = len(replicas.told() - replicas.recorded())
    return Outcome(answers, kills, before, kept(server), (memory, resident_kib(server)), unrecorded)


def kept(server: Served) -> Kept:
    """What the server holds on to now."""
    assert server.process is not None
    process = Path(f"/proc/{server.process.pid}")
    run = server.directory / "run"
    return Kept(
        descriptors=len(os.listdir(process / "fd")),
        children=len((process / "task" / process.name / "children").read_text().split()),
        files=frozenset(str(path.relative_to(run)) for path in run.rglob("*")),
        shared_memory=frozenset(os.listdir("/dev/shm")),
    )


def resident_kib(server: Served) -> int:
    """Memory of the control process."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@contextmanager
def one_server(directory: Path, transport: str, *, retry: bool = True) -> Iterator[Replicas]:
    """A server with two workers on Unix sockets, which Envoy finds by the endpoints file."""
    listen = {"address": "unix:c-{worker}.sock", "transport": transport}
    server = prepared(directory / "server", listen=listen, workers=2)
    with server.running(), envoy_before(directory, (server,), timeout_s=TIMEOUT_S, retry=retry) as replicas:
        wait_until(lambda: _children(server) == 3, BACK_S, "the spare process")
        yield replicas


def _children(server: Served) -> int:
    return kept(server).children


def _kill(replicas: Replicas, chance: random.Random) -> None:
    [server] = replicas.servers
    started = len(server.events("worker_started"))
    os.kill(chance.choice(server.workers()), signal.SIGKILL)
    wait_until(lambda: len(server.events("worker_started")) > started and _children(server) == 3, BACK_S, "another")
    # To kill the only one that Envoy asks is another matter.
    replicas.wait_until_healthy(WORKERS)


def main() -> int:
    """Do it, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--transport", choices=["lean", "grpcio"], default="lean")
    parser.add_argument("--without-retry", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        place = Path(directory)
        with one_server(place, arguments.transport, retry=not arguments.without_retry) as replicas:
            every_s = arguments.seconds / arguments.kills
            outcome = kill_workers(replicas, arguments.kills, every_s, arguments.rate, chance)
    print(f"{outcome.kills} kills; answers {outcome.answers}")
    before, after = outcome.resident_kib
    print(
        f"{outcome.after.descriptors} descriptors, {len(outcome.after.files)} files, {before} KiB before, {after} after"
    )
    print("\n".join(outcome.faults) or "nothing was lost, nothing is left")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
