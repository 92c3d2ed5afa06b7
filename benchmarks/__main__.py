"""`python -m benchmarks`: measure, print the table, and say which targets are met."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.errors import CannotMeasure
from benchmarks.identities import create_identities
from benchmarks.loading import loading_s
from benchmarks.machine import describe_machine
from benchmarks.policies import spiffe_id, write_policies
from benchmarks.rounds import run_rounds
from benchmarks.summary import Summary, as_json
from benchmarks.table import report
from benchmarks.workloads import CALLER, CALLS, QUICK_CALLS, QUICK_ROUNDS, ROUNDS, WORKLOADS


def main() -> int:
    """Exit codes: 0 all targets met, 1 a target missed, 2 nothing could be measured."""
    arguments = _arguments()
    rounds, calls = (QUICK_ROUNDS, QUICK_CALLS) if arguments.quick else (ROUNDS, CALLS)
    try:
        with tempfile.TemporaryDirectory(prefix="authz-benchmarks-") as name:
            directory = Path(name)
            samples = run_rounds(
                directory, WORKLOADS, create_identities(spiffe_id(CALLER)), rounds=rounds, calls=calls, say=_say
            )
            _say("loading policies")
            write_policies(directory / "loading", 1_000, conditions=True)
            loading = [loading_s(directory / "loading") for _ in range(rounds)]
    except CannotMeasure as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    summary = Summary.of(describe_machine(), calls, samples, loading)
    print(f"\n{report(summary)}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_bytes(as_json(summary))
    return 0 if all(target.met for target in summary.targets) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few calls and rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    return parser.parse_args()


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
