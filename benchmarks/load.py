"""Load by h2load: one connection, so many calls in flight."""

import re
import shutil
import subprocess
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


class Load(Struct, frozen=True):
    """What h2load saw."""

    good: int
    """Answers with HTTP status 2xx."""
    body_bytes: int
    """Of all answers, frame headers of gRPC included."""
    calls_per_s: float


def need_h2load() -> str:
    """The program. Raises CannotMeasure where it is not installed."""
    program = shutil.which("h2load")
    if program is None:
        raise CannotMeasure(
            "h2load is missing. It comes with nghttp2; on Debian and Ubuntu: apt install nghttp2-client"
        )
    return program


def run_load(program: str, port: int, frame: Path, calls: int, in_flight: int) -> Load:
    """Make so many calls, each with the frame in the file. Raises CannotMeasure where h2load fails."""
    command = [program, f"--requests={calls}", "--clients=1", f"--max-concurrent-streams={in_flight}"]
    command += [
        f"--data={frame}",
        *(f"--header={header}" for header in _HEADERS),
        f"http://127.0.0.1:{port}{CHECK_PATH}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"h2load has not made {calls} calls in {_PATIENCE_S:g} s") from None
    summary = _SUMMARY.search(done.stdout)
    if done.returncode != 0 or summary is None:
        raise CannotMeasure(f"h2load failed:\n{done.stdout}{done.stderr}")
    return Load(good=int(summary["good"]), body_bytes=int(summary["body"]), calls_per_s=float(summary["rate"]))
