"""How much a peer may send that is no call: floods of resets, settings, pings, empty frames (CVE-2023-44487,
CVE-2019-9512, CVE-2019-9515, CVE-2024-27316 and their kin)."""

from collections.abc import Callable

from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode

MOST = 1000
FOR_A_CALL = 10
"""What a whole call earns."""
A_SECOND = 100
"""What comes back with time: a connection without calls may live for ever."""


class Allowance:
    """What is left of it, for one connection."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(MOST)
        self._since = clock()

    def earn(self) -> None:
        """A whole call has come."""
        if self._left < MOST:
            self._left += FOR_A_CALL

    def spend(self, cost: int = 1) -> None:
        """A frame has come that is no part of a call. Raises ConnectionFailed."""
        self._left -= cost
        if self._left < 0:
            now = self._clock()
            self._left = min(MOST, self._left + (now - self._since) * A_SECOND)
            self._since = now
            if self._left < 0:
                raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "too much beside calls")
