"""The code of another revision, to be measured beside ours."""

import io
import subprocess
import tarfile
from pathlib import Path

from benchmarks.errors import CannotMeasure
from benchmarks.workloads import TRANSPORTS, Transport

_PACKAGE = "authz_server"


def check_out(revision: str, directory: Path) -> Path:
    """Put the package of a revision (any name that git knows) into a new directory. Raises CannotMeasure."""
    command = ["git", "archive", "--format=tar", "--end-of-options", revision, _PACKAGE]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"there is no revision {revision} to measure: {done.stderr.decode().strip()}")
    directory.mkdir()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


def transports_of(code: Path) -> tuple[Transport, ...]:
    """The transports that this code has."""
    return tuple(each for each in TRANSPORTS if each != "lean" or (code / _PACKAGE / "worker" / "lean").is_dir())
