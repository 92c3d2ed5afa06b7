"""One call as handlers see it."""

import math
import time
from collections.abc import Mapping, Sequence

from authz_server.worker.calls import Handler
from authz_server.worker.lean.answers import Answer
from authz_server.worker.lean.loop import Loop
from authz_server.worker.lean.peer import Peer


class LeanCall:
    """One call, whose request is there."""

    __slots__ = ("_loop", "_peer", "_stream", "came", "deadline", "handle", "message")

    def __init__(
        self, message: bytes, timeout_s: float | None, handle: Handler, loop: Loop, peer: Peer, stream: int
    ) -> None:
        """It came with what has been read from this peer last."""
        self.message = message
        self.handle = handle
        self.came = peer.read_at
        # Since it came, not since its turn has come.
        self.deadline = math.inf if timeout_s is None else peer.read_at + timeout_s
        self._loop = loop
        self._peer = peer
        self._stream = stream

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return len(self.message)

    @property
    def given_up(self) -> bool:
        """The peer has reset the call, or is gone."""
        return not self._peer.connection.awaits(self._stream)

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        return None if self.deadline == math.inf else max(0.0, self.deadline - time.monotonic())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Nothing: there was no handshake."""
        return {}

    def answer(self, answer: bytes) -> None:
        """Answer it; from any thread, once."""
        self._loop.answer(self._peer, self._stream, answer)

    def forget_request(self) -> None:
        """Give back its memory."""
        self.message = b""

    def reply(self, answer: bytes | Answer) -> None:
        """Answer it in the thread that decides."""
        self._loop.reply(self._peer, self._stream, answer)
