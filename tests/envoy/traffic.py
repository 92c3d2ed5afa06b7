"""Requests that go on while something happens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException

from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Caller, Http1, Reply

CLIENTS = 3
TIMEOUT_S = 30.0


class Sent(Struct, frozen=True):
    """One request: when it was sent (seconds, monotonic), and what came back."""

    at: float
    reply: Reply | None
    failure: str = ""


class Change(Struct, frozen=True):
    """Answers that became other ones."""

    took_s: float
    """From what was to change them until the last request was sent that was answered as before."""
    replies: list[Reply]
    """Those that followed each other without one of before."""


class Traffic:
    """What has been sent so far."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []
        self._lock = threading.Lock()

    def add(self, sent: Sent) -> None:
        """Remember a request."""
        with self._lock:
            self._sent.append(sent)

    def sent(self) -> list[Sent]:
        """All requests that have been answered or have failed."""
        with self._lock:
            return list(self._sent)

    def failures(self) -> list[str]:
        """What was no answer."""
        return [sent.failure for sent in self.sent() if sent.reply is None]

    def statuses(self) -> list[int]:
        """The status of every answer."""
        return [sent.reply.status for sent in self.sent() if sent.reply is not None]

    def wait_for_more(self, count: int = 50, fits: Callable[[Sent], bool] = lambda _sent: True) -> None:
        """Return when so many more have been sent."""
        enough = sum(map(fits, self.sent())) + count
        wait_until(lambda: sum(map(fits, self.sent())) >= enough, TIMEOUT_S, f"{count} more requests")

    def wait_for_change(self, since: float, changed: Callable[[Reply], bool], count: int = 50) -> Change:
        """Return when so many in a row are changed by what has happened at that moment."""

        def is_changed(sent: Sent) -> bool:
            return sent.reply is not None and changed(sent.reply)

        def latest() -> list[Sent]:
            return [sent for sent in self.sent() if sent.at > since][-count:]

        def for_good() -> bool:
            return len(sent := latest()) == count and all(map(is_changed, sent))

        wait_until(for_good, TIMEOUT_S, f"{count} changed answers in a row")
        last = max((sent.at for sent in self.sent() if sent.at > since and not is_changed(sent)), default=since)
        return Change(last - since, [sent.reply for sent in latest() if sent.reply is not None])


@contextmanager
def traffic(caller: Caller, port: int, ask: Ask, *, reconnect: bool = False) -> Iterator[Traffic]:
    """Send the same request over and over while the block runs, over a few connections, or a fresh one each time."""
    sent, stop = Traffic(), threading.Event()
    clients = [threading.Thread(target=_send, args=(caller, port, ask, reconnect, sent, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        sent.wait_for_more()
        yield sent
    finally:
        stop.set()
        for client in clients:
            client.join()


def _send(caller: Caller, port: int, ask: Ask, reconnect: bool, sent: Traffic, stop: threading.Event) -> None:
    while not stop.is_set():
        with closing(Http1(caller, port)) as connection:
            usable = True
            while usable and not stop.is_set():
                one = _send_one(connection, ask)
                sent.add(one)
                usable = one.reply is not None and not reconnect


def _send_one(connection: Http1, ask: Ask) -> Sent:
    at = time.monotonic()
    try:
        return Sent(at, connection.ask(ask))
    except (OSError, HTTPException) as error:
        return Sent(at, None, repr(error))
