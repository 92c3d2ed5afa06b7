"""Long work beside the thread that answers: it gives way to it, and is not in its way."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TURN_S = 0.0005
"""How long such work goes on before it gives way."""
REST_S = 0.00005
"""Long enough for a thread that waits to take over: a release alone would be taken back at once."""
ANSWERING_TURN_S = 0.005
"""How long the thread that answers goes on meanwhile, before the work is let in."""

Step = Callable[[], None]
"""Called again and again by work that takes long."""


@contextmanager
def giving_way() -> Iterator[Step]:
    """For the time of such work: what is to be called after each step of it, a millisecond at the most."""
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
