"""What hostile callers can make a worker keep; `python -m tests.steady.hostile_memory` sends a million requests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT_BOUND = """
import importlib, sys
name, bound = sys.argv[1].split(":")
module = importlib.import_module(name)
setattr(module, bound, getattr(module, bound)._replace(entries=1 << 40, bytes=1 << 50))
from tests.steady.hostile_memory import main
sys.exit(main(sys.argv[2:]))
"""
SEED = "--seed=7"


def measured(*command: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose memory nothing else has used."""
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_hostile_requests_of_every_kind_take_little_memory() -> None:
    """Tokens, kids, paths, hosts, headers, certificates: what is kept of them has room in 40 MiB."""
    result = measured("-m", "tests.steady.hostile_memory", "--count=8000", "--most=40", SEED)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "internal_error" not in result.stdout


def test_without_a_bound_they_would_take_more() -> None:
    """The measurement sees it: the same certificates stay within, and without the bound of their cache they do not."""
    options = ["--kinds=large_certificates", "--count=5000", "--most=48", SEED]
    within = measured("-m", "tests.steady.hostile_memory", *options)
    assert within.returncode == 0, within.stdout + within.stderr
    over = measured("-c", WITHOUT_BOUND, "authz_server.worker.snapshots:CERTIFICATES", *options)
    assert (over.returncode, "OVER" in over.stdout) == (1, True), over.stdout + over.stderr
