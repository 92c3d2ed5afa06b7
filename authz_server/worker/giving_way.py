"""Long work beside the thread that answers: it gives way to it, and is not in its way."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

TURN_S = 0.0005
"""How long such work goes on before it gives way."""
REST_S = 0.00005
"""Long enough for a thread that waits to take over: a release alone would be taken back at once."""
ANSWERING_TURN_S = 0.005
"""How long the thread that answers goes on meanwhile, before the work is let in."""

_ALONE = Lock()

Step = Callable[[], None]
"""Called again and again by work that takes long."""


@contextmanager
def giving_way() -> Iterator[Step]:
    """For the time of such work, one at a time: what is to be called after each step of a millisecond at most."""
    with _ALONE:
        yield from _giving_way()


def _giving_way() -> Iterator[Step]:
    began = time.perf_counter()

    def step() -> None:
        nonlocal began
        if time.perf_counter() - began > TURN_S:
            time.sleep(REST_S)
            began = time.perf_counter()

    before = sys.getswitchinterval()
    sys.setswitchinterval(ANSWERING_TURN_S)
    try:
        yield step
    finally:
        sys.setswitchinterval(before)
