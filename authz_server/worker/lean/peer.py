"""A connection and its socket: what has come goes in, what is to be sent goes out as fast as the peer takes it."""

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from authz_server.bounds import KIB, MIB, Bound
from authz_server.worker.lean.connection import Connection

_READ_BYTES = 256 * KIB
TO_SEND = Bound(
    "frames to send",
    "connection",
    entries=1_000,
    bytes=16 * MIB,
    holds="Answers to the calls of the connection, until the peer takes them.",
    full="Nothing more is read from the peer until it has taken them.",
    kept_in=("Peer._unsent",),
)


class Peer:
    """Whoever is at the other end."""

    def __init__(self, connected: socket.socket, since: float, connection: Callable[["Peer"], Connection]) -> None:
        """`since` is when it came, in seconds of the monotonic clock."""
        connected.setblocking(False)
        if connected.family != socket.AF_UNIX:
            # An answer does not wait until the peer has said that it has the one before.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = connected.fileno()
        self.since = since
        self.read_at = since
        """When something has come last."""
        self.polled_for = select.EPOLLIN
        """What the loop waits for."""
        self.hung_up: float | None = None
        """When we have said that nothing more comes."""
        self.connection = connection(self)
        self._socket = connected
        self._unsent = b""

    @property
    def behind(self) -> bool:
        """The peer has not taken everything yet: until it has, nothing more is read from it."""
        return bool(self._unsent)

    @property
    def done(self) -> bool:
        """The connection has failed, and the peer has been told."""
        return self.connection.failed is not None and not self._unsent

    def hang_up(self, now: float) -> None:
        """Say that nothing more comes from us, once, and wait for the peer to do the same.

        To close at once, with bytes unread, would take away from the peer what it has not read yet.
        """
        if self.hung_up is None:
            self.hung_up = now
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    @property
    def finished(self) -> bool:
        """No call is under way, none comes, and every answer is sent."""
        return self.connection.drained and not self._unsent

    def read(self) -> bool:
        """Take in what has come; returns whether the peer is still there."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self.read_at = time.monotonic()
        self.connection.receive(data)
        return True

    def write(self) -> bool:
        """Send what can be sent; returns whether the peer is still there."""
        frames = self.connection.outgoing.frames
        if frames:
            self._unsent += b"".join(frames)
            frames.clear()
        if not self._unsent:
            return True
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._unsent = self._unsent[sent:]
        return True

    def close(self) -> None:
        """End it."""
        self.connection.close()
        self._socket.close()
