"""Waiting for a condition instead of for a while."""

import time
from collections.abc import Callable

LOOK_S = 0.02


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return as soon as `holds()`. Raises TimeoutError, which says what for."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(LOOK_S)
