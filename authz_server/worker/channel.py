"""The worker's end of the socket to the control process."""

import socket
from threading import Lock

from authz_server.worker.messages import LENGTH_BYTES, ToControl, ToWorker, frame, read_by_worker

_PIECE_BYTES = 256 * 1024


class Channel:
    """Blocking messages over a stream socket; one thread receives, any thread sends."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = Lock()

    def receive(self) -> ToWorker | None:
        """The next message; None when the control process is gone, or after `stop_receiving`."""
        length = self._read(LENGTH_BYTES)
        payload = None if length is None else self._read(int.from_bytes(length, "big"))
        return None if payload is None else read_by_worker(payload)

    def send(self, message: ToControl) -> None:
        """Send a message. A control process that is gone is noticed by `receive`, not here."""
        with self._sending:
            try:
                self._socket.sendall(frame(message))
            except (BrokenPipeError, ConnectionResetError):
                return

    def offer(self, message: ToControl) -> None:
        """Send a small message if that needs no waiting, else drop it."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            # A Unix stream socket takes so small a message whole or not at all (unix(7)).
            self._socket.send(frame(message), socket.MSG_DONTWAIT)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._sending.release()

    def stop_receiving(self) -> None:
        """Make `receive` return None from now on; safe in a signal handler."""
        self._socket.shutdown(socket.SHUT_RD)

    def _read(self, count: int) -> bytearray | None:
        # In pieces, and never copied as a whole: to handle megabytes at once would make requests wait.
        buffer = bytearray()
        while len(buffer) < count:
            try:
                piece = self._socket.recv(min(_PIECE_BYTES, count - len(buffer)))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            buffer += piece
        return buffer
