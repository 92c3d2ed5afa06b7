"""The threads that answer calls."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import structlog

THREADS = 4
MAX_WAITING_CALLS = 1000
"""Calls that were accepted and have no thread yet; further ones are denied as overloaded."""

_Work = tuple[Callable[..., object], tuple[object, ...]]


class CallPool:
    """What gRPC asks of a thread pool, without futures: it looks at none, and each costs a tenth of a call."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        for number in range(THREADS):
            # They end with the process, which ends only after the server has finished its calls.
            Thread(target=self._run, name=f"check-{number}", daemon=True).start()

    def submit(self, function: Callable[..., object], /, *arguments: object) -> None:
        """Have a function called by one of the threads."""
        self._waiting.put((function, arguments))

    def is_overloaded(self) -> bool:
        """Whether more calls wait than can be answered in time."""
        return self._waiting.qsize() > MAX_WAITING_CALLS

    def _run(self) -> None:
        while True:
            function, arguments = self._waiting.get()
            try:
                function(*arguments)
            except Exception:  # noqa: BLE001  # the border: a thread that ends would answer no more calls
                structlog.get_logger().error("call_failed", exc_info=True)
