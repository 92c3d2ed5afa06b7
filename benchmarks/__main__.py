"""`python -m benchmarks`: measure, print the table, and say which targets are met."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.cores import split_cores
from benchmarks.errors import CannotMeasure
from benchmarks.identities import create_identities
from benchmarks.load import need_h2load
from benchmarks.markdown import markdown, need_markers, put_between_markers
from benchmarks.plot import plot
from benchmarks.policies import spiffe_id
from benchmarks.rounds import Bench
from benchmarks.runs import PARTS, run, run_against
from benchmarks.servers import Server
from benchmarks.summary import as_json
from benchmarks.table import report
from benchmarks.workloads import CALLS, QUICK_CALLS, QUICK_ROUNDS, ROUNDS

_USERS = 1_000


def main() -> int:
    """Exit codes: 0 all targets met, 1 a target missed, 2 nothing could be measured."""
    arguments = _arguments()
    try:
        if arguments.markdown is not None:
            need_markers(arguments.markdown)
        with tempfile.TemporaryDirectory(prefix="authz-benchmarks-") as name:
            bench = Bench(
                directory=Path(name),
                identities=create_identities(spiffe_id(), _USERS),
                cores=split_cores(),
                h2load=need_h2load(),
                rounds=QUICK_ROUNDS if arguments.quick else ROUNDS,
                calls=QUICK_CALLS if arguments.quick else CALLS,
                say=_say,
            )
            if arguments.against is not None:
                summary = run_against(bench, arguments.against)
            else:
                summary = run(bench, arguments.only or PARTS, _other(arguments))
    except CannotMeasure as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"\n{report(summary)}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_bytes(as_json(summary))
    if arguments.markdown is not None:
        put_between_markers(arguments.markdown, markdown(summary))
    if arguments.plot is not None:
        arguments.plot.write_text(plot(summary.figures))
    return 0 if all(target.met for target in summary.targets) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few calls and rounds: to see that it works")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part of it; may stand several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.add_argument("--against", metavar="REVISION", help="compare with this revision, instead of with a constant")
    parser.add_argument(
        "--other", metavar="HOST:PORT", help="measure this server of ext_authz too, with the same bytes"
    )
    parser.add_argument("--other-pid", type=int, metavar="PID", help="the process of that server whose CPU is counted")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables between the markers in FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the CPU of the checks as SVG")
    return parser.parse_args()


def _other(arguments: argparse.Namespace) -> Server | None:
    if arguments.other is None:
        return None
    return Server((arguments.other,), pids=() if arguments.other_pid is None else (arguments.other_pid,))


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
