"""Which core answers, and which ones do everything else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from benchmarks.errors import CannotMeasure


class Cores(Struct, frozen=True):
    """The cores that this process may use, divided."""

    server: int
    others: frozenset[int]

    @contextmanager
    def shared(self) -> Iterator[None]:
        """What is started in this block runs on all of them."""
        os.sched_setaffinity(0, {self.server, *self.others})
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.others)


def split_cores() -> Cores:
    """Divide them, and keep this process, with all that it will start, off the server's. Raises CannotMeasure."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotMeasure("two cores are needed: one for the server, one for the load")
    split = Cores(cores[0], frozenset(cores[1:]))
    os.sched_setaffinity(0, split.others)
    return split
