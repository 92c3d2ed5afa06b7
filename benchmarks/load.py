"""Load by h2load."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.errors import CannotMeasure
from benchmarks.payload import CHECK_PATH

_PATIENCE_S = 300.0
# Envoy sends a deadline with every call; this one is there and never met.
_HEADERS = ("content-type: application/grpc", "te: trailers", "grpc-timeout: 60S")
_SUMMARY = re.compile(
    r"finished in .*?, (?P<rate>[\d.]+) req/s,.*?"
    r"status codes: (?P<good>\d+) 2xx,.*?"
    r"traffic:.*?\((?P<body>\d+)\) data",
    re.DOTALL,
)
_BEGUN_COLUMN, _LATENCY_COLUMN = 0, 2


class Load(Struct, frozen=True):
    """What the client saw."""

    good: int
    """Answers with HTTP status 2xx."""
    body_bytes: int
    """Of all answers, frame headers of gRPC included."""
    calls_per_s: float
    latencies_us: Sequence[float]
    """Of each call, as many as were in flight."""
    begun_s: Sequence[float]
    """When each of these calls was begun, in seconds since the epoch."""


def need_h2load() -> str:
    """The program. Raises CannotMeasure where it is not installed."""
    program = shutil.which("h2load")
    if program is None:
        raise CannotMeasure(
            "h2load is missing. It comes with nghttp2; on Debian and Ubuntu: apt install nghttp2-client"
        )
    return program


def check_load(program: str, address: str, frame: Path, calls: int, in_flight: int, *options: str) -> Load:
    """Make so many calls over one connection, each with the gRPC frame in the file. Raises CannotMeasure."""
    headers = [f"--header={header}" for header in _HEADERS]
    command = [program, "--clients=1", f"--max-concurrent-streams={in_flight}", f"--data={frame}", *headers, *options]
    return run_load([*command, f"http://{address}{CHECK_PATH}"], calls, frame.with_suffix(".log"))


def run_load(command: Sequence[str], calls: int, log: Path) -> Load:
    """Make so many calls; `log` is a file for what each of them took. Raises CannotMeasure where h2load fails."""
    # h2load appends.
    log.unlink(missing_ok=True)
    program, *arguments = command
    everything = [program, f"--requests={calls}", f"--log-file={log}", *arguments]
    try:
        done = subprocess.run(everything, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"h2load has not made {calls} calls in {_PATIENCE_S:g} s") from None
    summary = _SUMMARY.search(done.stdout)
    if done.returncode != 0 or summary is None:
        raise CannotMeasure(f"h2load failed:\n{done.stdout}{done.stderr}")
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    return Load(
        good=int(summary["good"]),
        body_bytes=int(summary["body"]),
        calls_per_s=float(summary["rate"]),
        latencies_us=[float(row[_LATENCY_COLUMN]) for row in rows],
        begun_s=[float(row[_BEGUN_COLUMN]) / 1e6 for row in rows],
    )
