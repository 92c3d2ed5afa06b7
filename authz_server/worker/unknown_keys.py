"""What a worker does about tokens that name a key which it does not have."""

import time
from collections.abc import Callable

PAUSE_S = 1.0
"""The control process is told about an issuer this often at most; it has a longer pause of its own."""


class UnknownKeys:
    """Counts each, and tells the control process now and then; from any thread, without waiting."""

    def __init__(
        self, count: Callable[[str], None], tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._tell = tell
        self._clock = clock
        self._told: dict[str, float] = {}

    def __call__(self, issuer: str) -> None:
        """A token of this issuer, by its configured name, named such a key."""
        self._count(issuer)
        now = self._clock()
        if now - self._told.get(issuer, -PAUSE_S) >= PAUSE_S:
            # Issuers are those of the configuration: the table cannot grow.
            self._told[issuer] = now
            self._tell(issuer)
