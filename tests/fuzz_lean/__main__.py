"""`make fuzz-lean`: random frames of HTTP/2 for the transport that Envoy on the same machine uses."""

import sys
from collections.abc import Sequence

from tests.fuzz.runner import run
from tests.fuzz_lean.fuzzer import run_case


def main(arguments: Sequence[str] | None = None) -> int:
    """Try cases until the time is over."""
    return run("make fuzz-lean", __doc__, run_case, arguments)


if __name__ == "__main__":
    sys.exit(main())
