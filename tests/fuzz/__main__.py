"""`make fuzz`: random policies, requests, messages and documents."""

import sys
from collections.abc import Sequence

from tests.fuzz.fuzzer import be_quiet, run_case
from tests.fuzz.runner import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Try cases until the time is over."""
    return run("make fuzz", __doc__, run_case, arguments, be_quiet)


if __name__ == "__main__":
    sys.exit(main())
