"""Waits for all sockets at once, and acts on whatever has come."""

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from authz_server.bounds import KIB, Bound
from authz_server.worker.lean.answers import Answer
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.peer import Peer
from authz_server.worker.limits import MAX_STREAMS

CONNECTIONS = Bound(
    "connections",
    "worker",
    entries=1024,
    bytes=1024 * 64 * KIB,
    holds="Connections of the lean transport, each with the rest of a frame that has not come whole.",
    full="No other is accepted until one ends.",
    kept_in=("Loop._peers",),
)
LATE_ANSWERS = Bound(
    "late answers",
    "worker",
    entries=2 * MAX_STREAMS,
    bytes=2 * MAX_STREAMS * 64 * KIB,
    holds="Answers to requests that have waited for an issuer, until the thread that answers sends them.",
    full="It never is: they are sent after each connection that has been read from.",
    kept_in=("Loop._answers",),
)
LONGEST_GREETING_S = 10.0
"""How long a peer may take to say that it speaks HTTP/2."""
LONGEST_FAREWELL_S = 2.0
"""How long a peer whose connection has failed may take to read why, and to close it."""

_LOOK_S = 1.0
_NO_WAIT_S = 0.0
_MOST_PEERS = 64
"""Those that are read from before calls are decided."""
LAST_CALLS_S = 0.5
"""How long a peer may take, when the end has come, to say that it has heard of it."""
_LINGER_S = 0.05
"""How often is looked whether all is said, when the end has come."""


class Loop:
    """All connections of a listener, served by the thread that calls `run`."""

    def __init__(
        self,
        listener: socket.socket,
        connection: Callable[[Peer], Connection],
        work: Callable[[], bool],
        end_work: Callable[[], None],
    ) -> None:
        """`connection` makes the connection of a peer.

        `work` answers, by `reply`, calls that wait, and after a little while returns whether there are more; `end_work`
        answers all of them at once.
        """
        self._listener = listener
        self._accepting = False
        self._new_connection = connection
        self._work, self._end_work = work, end_work
        self._peers: dict[int, Peer] = {}
        self._answers: deque[tuple[Peer, int, bytes]] = deque()
        self._spoken_to: set[Peer] = set()
        """Those for whom something may be to be sent."""
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._epoll = select.epoll()
        self._end_at: float | None = None

    def run(self) -> None:
        """Serve until told to end."""
        self._epoll.register(self._wake_reader, select.EPOLLIN)
        self._accept(True)
        looked, wait_s = 0.0, _LOOK_S
        while self._end_at is None:
            wait_s = _NO_WAIT_S if self._turn(wait_s) else _LOOK_S
            now = time.monotonic()
            if now - looked >= _LOOK_S:
                looked = now
                self._look_after(now)
        self._finish(self._end_at)

    def reply(self, peer: Peer, stream: int, answer: bytes | Answer) -> None:
        """Answer a call, in the thread that serves; it is sent at the end of the turn."""
        try:
            peer.connection.answer(stream, answer)
        except Exception as error:  # noqa: BLE001  # the border: a defect that one peer finds must not end all others
            self._give_up(peer, error)
        else:
            self._spoken_to.add(peer)

    def answer(self, peer: Peer, stream: int, message: bytes) -> None:
        """Answer a call; from any thread."""
        self._answers.append((peer, stream, message))
        self._wake()

    def end_within(self, grace_s: float) -> None:
        """Take no more calls, finish those in flight, end after so many seconds at the latest; from any thread."""
        self._end_at = time.monotonic() + grace_s
        self._wake()

    def _wake(self) -> None:
        # A full buffer wakes as well, and one that is closed has nobody to wake.
        with suppress(OSError):
            self._wake_writer.send(b"\0")

    def _turn(self, wait_s: float) -> bool:
        """Read what has come, decide for a little while, send; returns whether calls still wait."""
        for number, events in self._epoll.poll(wait_s, _MOST_PEERS):
            peer = self._peers.get(number)
            if peer is not None:
                self._read(peer, events)
            elif number == self._wake_reader.fileno():
                self._woken()
            elif number == self._listener.fileno():
                self._welcome()
            if self._answers:
                self._take_answers()
        more = self._work()
        spoken_to, self._spoken_to = self._spoken_to, set()
        for peer in spoken_to:
            self._send(peer)
        return more

    def _read(self, peer: Peer, events: int) -> None:
        """Read what has come from a peer, but for one that has not taken its answers yet."""
        self._spoken_to.add(peer)
        try:
            if peer.polled_for == select.EPOLLOUT:
                there = not events & (select.EPOLLERR | select.EPOLLHUP)
            else:
                there = peer.read()
            if not there:
                peer.write()
                self._drop(peer)
        except Exception as error:  # noqa: BLE001  # the border, as above
            self._give_up(peer, error)

    def _send(self, peer: Peer) -> None:
        """Send what there is to send, and read on only when the peer has taken it."""
        if self._peers.get(peer.number) is not peer:
            return
        try:
            if not peer.write():
                self._drop(peer)
                return
            if peer.done:
                peer.hang_up(time.monotonic())
            events = select.EPOLLOUT if peer.behind else select.EPOLLIN
            if peer.polled_for != events:
                peer.polled_for = events
                self._epoll.modify(peer.number, events)
        except Exception as error:  # noqa: BLE001  # the border, as above
            self._give_up(peer, error)

    def _give_up(self, peer: Peer, error: Exception) -> None:
        structlog.get_logger().error("connection_failed", error=type(error).__name__, exc_info=True)
        if self._peers.get(peer.number) is peer:
            self._drop(peer)

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            self._wake_reader.recv(4096)

    def _take_answers(self) -> None:
        """Take the answers that other threads have given."""
        while self._answers:
            self.reply(*self._answers.popleft())

    def _welcome(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # There are no more file descriptors: until the next look nobody is let in.
            self._accept(False)
            return
        try:
            peer = Peer(connected, time.monotonic(), self._new_connection)
        except OSError:
            # It has gone already.
            connected.close()
            return
        self._peers[peer.number] = peer
        self._epoll.register(peer.number, select.EPOLLIN)
        self._send(peer)
        if len(self._peers) >= CONNECTIONS.entries:
            self._accept(False)

    def _accept(self, accepting: bool) -> None:
        if accepting is not self._accepting:
            self._accepting = accepting
            if accepting:
                self._epoll.register(self._listener, select.EPOLLIN)
            else:
                self._epoll.unregister(self._listener)

    def _look_after(self, now: float) -> None:
        """End connections that have said nothing, and let others in where there is room."""
        for peer in list(self._peers.values()):
            silent = not peer.connection.greeted and now - peer.since > LONGEST_GREETING_S
            if silent or (peer.hung_up is not None and now - peer.hung_up > LONGEST_FAREWELL_S):
                self._drop(peer)
        if len(self._peers) < CONNECTIONS.entries:
            self._accept(True)

    def _drop(self, peer: Peer) -> None:
        del self._peers[peer.number]
        self._epoll.unregister(peer.number)
        peer.close()

    def _finish(self, end_at: float) -> None:
        """Say that no more calls are taken, and wait for what is in flight."""
        self._accept(False)
        self._listener.close()
        self._tell_all(Connection.drain)
        last_calls_until = time.monotonic() + LAST_CALLS_S
        more = True
        while (now := time.monotonic()) < end_at and (more or any(not peer.finished for peer in self._peers.values())):
            if now > last_calls_until:
                self._tell_all(Connection.take_no_more)
            more = self._turn(_NO_WAIT_S if more else _LINGER_S)
        self._end_work()
        self._tell_all(Connection.take_no_more)
        for peer in list(self._peers.values()):
            # With bytes unread, to close would take away what the peer has not read yet.
            self._read(peer, select.EPOLLIN)
            self._send(peer)
            if peer.number in self._peers:
                self._drop(peer)
        self._epoll.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _tell_all(self, tell: Callable[[Connection], None]) -> None:
        for peer in self._peers.values():
            tell(peer.connection)
            self._spoken_to.add(peer)
