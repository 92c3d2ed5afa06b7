"""Unary gRPC calls as the worker sees them, whichever transport brings them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from authz_server.errors import GrpcCode, Reason
from authz_server.worker.address import Address


class CallRefused(Exception):
    """Ends a call with a status other than OK."""

    def __init__(self, code: GrpcCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Call(Protocol):
    """One call, whose request is there."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What the handshake told about the peer; nothing where there was none."""
        ...

    def answer(self, answer: bytes) -> None:
        """Answer it; from any thread, once."""
        ...


Handler = Callable[[bytes, Call], bytes | None]
"""Gives the answer, or None where it calls `answer` later. It waits for nothing: other calls wait for it. Raises
CallRefused."""
Deny = Callable[[Reason, int], bytes]
"""The answer to so many calls that are denied unread, for a failure of ours; it is on record. Never raises."""


class Pressure:
    """Whether calls wait longer than they should, of which the rest of a worker is told here."""

    on = False


class Queued(Struct, frozen=True):
    """The method whose calls wait for their turn, and may not get it; those of others are answered as they come."""

    path: str
    deny: Deny
    given_up: Callable[[], None]
    """Counts a call whose caller has given it up before its turn came."""
    pressure: Pressure = msgspec.field(default_factory=Pressure)


def _nothing_to_deny(reason: Reason, calls: int) -> bytes:
    raise AssertionError(f"{calls} calls wait, and nobody says how to deny them ({reason})")


NOTHING_QUEUED = Queued("", _nothing_to_deny, lambda: None)


class Transport(Protocol):
    """Listens, and brings calls to the handlers of their methods."""

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        ...

    def start(self) -> None:
        """Answer from now on."""
        ...

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and wait for those in flight; after `grace_s` they are cancelled."""
        ...
