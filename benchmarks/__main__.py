"""`python -m benchmarks`: measure, print the table, and say which targets are met."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import CannotMeasure
from benchmarks.identities import create_identities
from benchmarks.loading import loading_s
from benchmarks.machine import describe_machine
from benchmarks.policies import spiffe_id, write_policies
from benchmarks.revision import check_out
from benchmarks.rounds import run_rounds
from benchmarks.summary import Summary, as_json
from benchmarks.table import report
from benchmarks.workloads import CALLER, CALLS, QUICK_CALLS, QUICK_ROUNDS, ROUNDS, WORKLOADS, Workload, compared


def main() -> int:
    """Exit codes: 0 all targets met, 1 a target missed, 2 nothing could be measured."""
    arguments = _arguments()
    rounds, calls = (QUICK_ROUNDS, QUICK_CALLS) if arguments.quick else (ROUNDS, CALLS)
    try:
        with tempfile.TemporaryDirectory(prefix="authz-benchmarks-") as name:
            directory = Path(name)
            workloads: Sequence[Workload] = WORKLOADS
            earlier = None
            if arguments.against is not None:
                workloads = compared(arguments.against)
                earlier = check_out(arguments.against, directory / "earlier")
            identities = create_identities(spiffe_id(CALLER))
            samples = run_rounds(
                directory, workloads, identities, rounds=rounds, calls=calls, say=_say, earlier=earlier
            )
            loading = _loading(directory / "loading", rounds) if earlier is None else []
    except CannotMeasure as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    summary = Summary.of(describe_machine(), calls, workloads, samples, loading)
    print(f"\n{report(summary)}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_bytes(as_json(summary))
    return 0 if all(target.met for target in summary.targets) else 1


def _loading(directory: Path, rounds: int) -> list[float]:
    _say("loading policies")
    write_policies(directory, 1_000, conditions=True)
    return [loading_s(directory) for _ in range(rounds)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few calls and rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.add_argument("--against", metavar="REVISION", help="compare with this revision, instead of with a constant")
    return parser.parse_args()


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
