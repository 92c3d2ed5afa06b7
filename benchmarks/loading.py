"""How long it takes to load and check policies. Runs as a program too: prints the seconds for a directory."""

import subprocess
import sys
import time
from pathlib import Path

from authz_server.policy.loader import load_policies
from benchmarks.errors import CannotMeasure
from benchmarks.measurement import Measurement
from benchmarks.policies import Policies, write_policies
from benchmarks.rounds import Bench

LOADING = "loading and checking 1,000 rules, each with a condition of its own"


def measure_loading(bench: Bench) -> list[Measurement]:
    """Load them so many times. Raises CannotMeasure."""
    bench.say("loading policies")
    directory = bench.directory / "loading"
    write_policies(directory, Policies(1_000, users=True, conditions=1_000))
    return [Measurement(LOADING, "s", [_loading_s(directory) for _ in range(bench.rounds)])]


def _loading_s(directory: Path) -> float:
    """Seconds from files to what workers are given, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.loading", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"the policies could not be loaded:\n{done.stderr}")
    return float(done.stdout)


def main() -> None:
    """Load the directory that the argument names."""
    started = time.perf_counter()
    loaded = load_policies(Path(sys.argv[1]))
    ended = time.perf_counter()
    if loaded.plan is None:
        sys.exit("\n".join(map(str, loaded.problems)))
    print(ended - started)


if __name__ == "__main__":
    main()
