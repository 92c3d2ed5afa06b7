"""Answers on their way out, as fast as the peer's windows let them (RFC 9113 section 5.2)."""

from authz_server.worker.lean.answers import LARGEST_WHOLE_MESSAGE, PREFIX_BYTES, Answer, message_answer, whole_message
from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode, StreamFailed
from authz_server.worker.lean.frames import (
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    MAX_PAYLOAD_BYTES,
    FrameType,
    frame,
)
from authz_server.worker.lean.streams import UNSENT, Held

DEFAULT_WINDOW = 65_535
"""Section 6.9.2."""


class _Waiting:
    """What is left of an answer."""

    __slots__ = ("at", "body", "trailers")

    def __init__(self, answer: Answer) -> None:
        self.body = answer.body
        self.trailers = answer.trailers
        self.at = 0


class Outgoing:
    """The frames to send, and the answers that wait for the peer's windows.

    A stream's window is that of all streams and what the peer has added to it; what was sent is taken off.
    """

    def __init__(self, held: Held) -> None:
        self.frames: list[bytes] = []
        self._held = held
        self._window = DEFAULT_WINDOW
        self._stream_window = DEFAULT_WINDOW
        self._added: dict[int, int] = {}
        self._waiting: dict[int, _Waiting] = {}

    def message(self, stream: int, message: bytes) -> bool:
        """Send a message and OK; returns whether all of it is on its way. Raises ConnectionFailed."""
        size = len(message) + PREFIX_BYTES
        if self._window < size or self._stream_window < size or self._added or len(message) > LARGEST_WHOLE_MESSAGE:
            return self.answer(stream, message_answer(message))
        self._window -= size
        self.frames.append(whole_message(stream, message))
        return True

    def answer(self, stream: int, answer: Answer) -> bool:
        """Send any answer; returns whether all of it is on its way. Raises ConnectionFailed."""
        if not answer.body:
            self.frames.append(frame(FrameType.HEADERS, END_HEADERS | END_STREAM, stream, answer.fields))
            self.forget(stream)
            return True
        self.frames.append(frame(FrameType.HEADERS, END_HEADERS, stream, answer.fields))
        self._waiting[stream] = _Waiting(answer)
        self._held.unsent += len(answer.body)
        if self._proceed(stream):
            return True
        if self._held.unsent > UNSENT.bytes:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "too many answers are not taken")
        return False

    def forget(self, stream: int) -> None:
        """The stream is no more."""
        self._added.pop(stream, None)
        waiting = self._waiting.pop(stream, None)
        if waiting is not None:
            self._held.unsent -= len(waiting.body)

    def forget_all(self) -> None:
        """The connection is no more."""
        for stream in list(self._waiting):
            self.forget(stream)

    def widen(self, increment: int) -> list[int]:
        """The connection's window has grown; returns the streams that are now done. Raises ConnectionFailed."""
        if self._window + increment > LARGEST_WINDOW:
            raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
        # Where there was room, whoever waits does so for the window of its stream.
        exhausted = self._window <= 0
        self._window += increment
        return self._proceed_all() if exhausted else []

    def widen_stream(self, stream: int, increment: int) -> bool:
        """The window of a stream has grown; returns whether the stream is now done. Raises StreamFailed."""
        added = self._added.get(stream, 0) + increment
        if self._stream_window + added > LARGEST_WINDOW:
            raise StreamFailed(ErrorCode.FLOW_CONTROL_ERROR, "the window of the stream is too large")
        self._added[stream] = added
        return stream in self._waiting and self._proceed(stream)

    def resize(self, stream_window: int) -> list[int]:
        """The window that each stream begins with is another one; returns the streams that are now done.

        Raises ConnectionFailed.
        """
        if self._added and stream_window + max(self._added.values()) > LARGEST_WINDOW:
            raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too large")
        self._stream_window = stream_window
        return self._proceed_all()

    def _proceed_all(self) -> list[int]:
        return [stream for stream in list(self._waiting) if self._proceed(stream)]

    def _proceed(self, stream: int) -> bool:
        waiting = self._waiting[stream]
        added = self._added.get(stream, 0)
        while waiting.at < len(waiting.body):
            size = min(len(waiting.body) - waiting.at, self._window, self._stream_window + added, MAX_PAYLOAD_BYTES)
            if size <= 0:
                self._added[stream] = added
                return False
            piece = waiting.body[waiting.at : waiting.at + size]
            waiting.at += size
            self._window -= size
            added -= size
            last = waiting.at == len(waiting.body) and not waiting.trailers
            self.frames.append(frame(FrameType.DATA, END_STREAM if last else 0, stream, piece))
        if waiting.trailers:
            self.frames.append(frame(FrameType.HEADERS, END_HEADERS | END_STREAM, stream, waiting.trailers))
        self.forget(stream)
        return True
