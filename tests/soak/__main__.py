"""`make soak`: a server with two workers behind a real Envoy, while everything is done to it that can happen; exit code
1 where an answer is wrong, a record is missing, or something leaks."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.soak.chaos import WEIGHTS
from tests.soak.faults.sitecustomize import FAULTS
from tests.soak.run import SHOWN, SHOWN_FINDINGS, Plan, run
from tests.soak.site import TRANSPORTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run for the time, and say what was found."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long (default: 600)")
    parser.add_argument("--seed", type=int, default=None, help="by default of the time")
    parser.add_argument("--transport", choices=sorted(TRANSPORTS), default=None, help="by default chosen by the seed")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second (default: 60)")
    parser.add_argument("--only", nargs="*", choices=sorted(WEIGHTS), default=None, help="what happens; none for calm")
    parser.add_argument("--fault", choices=sorted(FAULTS), default=None, help="a fault in the server, to be found")
    parser.add_argument("--findings", type=Path, default=Path("soak-findings.txt"), help="where findings are kept")
    parser.add_argument("--directory", type=Path, default=None, help="where all files of the run lie, and stay")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    transport = options.transport or Random(seed).choice(sorted(TRANSPORTS))  # noqa: S311 - by the seed
    print(f"seed {seed}, transport {transport}", flush=True)
    plan = Plan(
        seconds=options.seconds,
        seed=seed,
        transport=transport,
        rate=options.rate,
        kinds=tuple(WEIGHTS if options.only is None else options.only),
        fault=options.fault,
    )
    # A short path: Unix sockets have names of at most 107 bytes.
    directory = options.directory or Path(tempfile.mkdtemp(prefix="authz-soak-"))
    outcome = run(plan, directory)
    print("\n".join(outcome.lines()))
    findings = list(outcome.findings())
    for finding in findings[:SHOWN_FINDINGS]:
        print(finding[:SHOWN], file=sys.stderr)
    if findings:
        options.findings.write_text("\n".join([f"seed {seed}, transport {transport}", *findings]) + "\n")
        print(f"all findings: {options.findings}; files: {directory}", file=sys.stderr)
        print(f"again: make soak ARGS='--seed {seed} --transport {transport}'", file=sys.stderr)
        return 1
    if options.directory is None:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
