"""Clients that send requests at a steady rate, and remember what they got."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from random import Random

from tests.envoy.clients import Caller, Http1, Reply
from tests.reference.asked import Asked
from tests.soak.issuer import Issuers
from tests.soak.judge import Answered
from tests.soak.requests import NAMES, as_sent, draw

CLIENTS = 4
ECHOED_ID = "x-request-id"


class Client:
    """One after the other, each over a connection that the caller keeps."""

    def __init__(self, port: int, callers: Callable[[str | None], Caller], issuers: Issuers, chance: Random) -> None:
        self._port, self._callers, self._issuers, self._chance = port, callers, issuers, chance
        self._connections: dict[str | None, Http1] = {}

    def ask(self) -> Answered:
        """Send one request."""
        asked = draw(self._chance, self._port)
        token, kid = (None, None) if asked.user is None else self._issuers.token(asked.user, bad=asked.bad_token)
        name = None if asked.workload is None else NAMES[asked.workload]
        if self._chance.random() < 0.01:
            self.close(name)
        sent = time.monotonic()
        try:
            if name not in self._connections:
                self._connections[name] = Http1(self._callers(name), self._port)
            reply = self._connections[name].ask(as_sent(asked, token))
        except (OSError, HTTPException) as error:
            self.close(name)
            return Answered(sent=sent, done=time.monotonic(), asked=asked, kid=kid, failure=repr(error))
        return _answered(asked, kid, sent, reply)

    def close(self, name: str | None) -> None:
        """End a connection, so that the next one has a handshake of its own."""
        if (connection := self._connections.pop(name, None)) is not None:
            connection.close()

    def end(self) -> None:
        """End all connections."""
        for name in list(self._connections):
            self.close(name)


def _answered(asked: Asked, kid: str | None, sent: float, reply: Reply) -> Answered:
    denied, request_id = reply.decision_id, None
    if denied is None and reply.status == 200 and reply.body.startswith(b"{"):
        request_id = json.loads(reply.body)["headers"].get(ECHOED_ID)
    return Answered(
        sent=sent,
        done=time.monotonic(),
        asked=asked,
        kid=kid,
        status=reply.status,
        allowed=request_id is not None,
        decision_id=denied,
        request_id=request_id,
    )


@contextmanager
def traffic(
    port: int, callers: Callable[[str | None], Caller], issuers: Issuers, *, seed: int, rate: float
) -> Iterator["queue.SimpleQueue[Answered]"]:
    """Send `rate` requests a second, all clients together, while the block runs; gives what comes back."""
    answers: queue.SimpleQueue[Answered] = queue.SimpleQueue()
    stop = threading.Event()

    def work(number: int) -> None:
        client = Client(port, callers, issuers, Random(f"{seed} {number}"))  # noqa: S311 - the same for the same seed
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            answers.put(client.ask())
            # What could not be sent in time is not made up for.
            due = max(due + CLIENTS / rate, time.monotonic() - 1)
        client.end()

    threads = [threading.Thread(target=work, args=(number,), name=f"client-{number}") for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
