"""One call as handlers see it."""

import time
from collections.abc import Mapping, Sequence

from authz_server.worker.lean.loop import Loop
from authz_server.worker.lean.peer import Peer


class LeanCall:
    """One call, whose request is there."""

    __slots__ = ("_deadline", "_loop", "_peer", "_stream")

    def __init__(self, deadline: float | None, loop: Loop, peer: Peer, stream: int) -> None:
        """`deadline` is in seconds of the monotonic clock."""
        self._deadline = deadline
        self._loop = loop
        self._peer = peer
        self._stream = stream

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Nothing: there was no handshake."""
        return {}

    def answer(self, answer: bytes) -> None:
        """Answer it; from any thread, once."""
        self._loop.answer(self._peer, self._stream, answer)
