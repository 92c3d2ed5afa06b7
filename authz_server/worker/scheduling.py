"""Which thread of a worker the kernel runs when one of them is woken (sched(7)).

Only one thread runs Python at a time: one that is woken while another one runs could do nothing but wait for it. So the
others interrupt nobody, and the one that answers is woken at once, whatever else the core is doing.
"""

import os
from contextlib import suppress


def interrupt_nobody() -> None:
    """From now on this thread, and those that it starts, wait until the core is free."""
    _take_policy(os.SCHED_BATCH)


def run_when_woken() -> None:
    """From now on this thread interrupts others, as threads do by default."""
    _take_policy(os.SCHED_OTHER)


def _take_policy(policy: int) -> None:
    # Where it is forbidden all goes on as by default.
    with suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))
