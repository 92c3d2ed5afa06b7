"""Requests at a steady rate over kept connections, however long the answers take."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from authz_server.dev.waiting import wait_until

CONNECTIONS = 40
PATIENCE_S = 30.0
_REQUEST = b"GET /orders HTTP/1.1\r\nhost: orders.shop.example\r\n\r\n"
_LENGTH = b"content-length: "


class Answers:
    """What came back so far, and when."""

    def __init__(self) -> None:
        self.by_status: Counter[int] = Counter()
        self.failures: list[str] = []
        """What was no answer."""
        self.late_s: list[float] = []
        """From when each request was due to its answer."""

    @property
    def count(self) -> int:
        """Answers and failures."""
        return self.by_status.total() + len(self.failures)

    def others(self, status: int = 200) -> int:
        """How many clients got anything else."""
        return self.count - self.by_status[status]

    def wait_for_more(self, count: int) -> None:
        """Return when so many more have come."""
        enough = self.count + count
        wait_until(lambda: self.count >= enough, PATIENCE_S + count / 20, f"{count} more answers")

    def __str__(self) -> str:
        late = sorted(self.late_s) or [0.0]
        at = {name: late[int(len(late) * part)] * 1e3 for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}
        times = ", ".join(f"{name} {value:.1f} ms" for name, value in at.items())
        failures = dict(Counter(self.failures))
        return f"{dict(self.by_status)}, failures {failures}, {times}, longest {late[-1] * 1e3:.0f} ms"


@contextmanager
def requests_at(rate: float, port: int) -> Iterator[Answers]:
    """Ask so many times a second while the block runs; a request is due when its turn comes, not when there is time."""
    answers, stop = Answers(), threading.Event()
    sender = threading.Thread(target=lambda: asyncio.run(_send_all(rate, port, answers, stop)))
    sender.start()
    try:
        yield answers
    finally:
        stop.set()
        sender.join()


async def _send_all(rate: float, port: int, answers: Answers, stop: threading.Event) -> None:
    turns = _turns(time.monotonic(), 1 / rate)
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(_send(turns, port, answers, stop))


def _turns(start: float, every_s: float) -> Iterator[float]:
    number = 0
    while True:
        yield start + number * every_s
        number += 1


async def _send(turns: Iterator[float], port: int, answers: Answers, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            answers.failures.append(f"connect: {error!r}")
            await asyncio.sleep(0.1)
            continue
        with closing(writer):
            try:
                while not stop.is_set():
                    due = next(turns)
                    if (wait := due - time.monotonic()) > 0:
                        await asyncio.sleep(wait)
                    writer.write(_REQUEST)
                    status = await _status(reader)
                    answers.late_s.append(time.monotonic() - due)
                    answers.by_status[status] += 1
            except (OSError, EOFError, ValueError) as error:
                answers.failures.append(repr(error))


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.find(_LENGTH)
    if at >= 0:
        await reader.readexactly(int(head[at + len(_LENGTH) : head.index(b"\r\n", at)]))
    return int(head[9:12])
