"""Whether the locked run-time dependencies have known vulnerabilities.

Asks the package index about each locked version. Exit codes: 0 none is known, 1 some are, 2 it could not be asked.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
NONE, SOME, UNKNOWN = 0, 1, 2


class Vulnerability(Struct):
    """One that is known."""

    id: str
    fix_versions: list[str] = []


class Dependency(Struct):
    """A locked version, and what is known of it."""

    name: str
    version: str
    vulns: list[Vulnerability] = []


class Report(Struct):
    """What pip-audit has found out."""

    dependencies: list[Dependency]


def verdict(output: bytes, errors: str) -> tuple[int, list[str]]:
    """The exit code and what to tell, by what pip-audit has written."""
    try:
        report = msgspec.json.decode(output, type=Report)
    except msgspec.MsgspecError:
        reason = errors.strip().splitlines()[-1:] or ["no reason was given"]
        return UNKNOWN, [f"nothing is known: the package index could not be asked ({reason[0]})"]
    found = [
        f"{one.name} {one.version}: {known.id}, fixed in {', '.join(known.fix_versions) or 'no version yet'}"
        for one in report.dependencies
        for known in one.vulns
    ]
    return (
        (SOME, found) if found else (NONE, [f"{len(report.dependencies)} dependencies: none is known to be vulnerable"])
    )


def main() -> int:
    """Ask, and tell; returns the exit code."""
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    command = [sys.executable, "-m", "pip_audit", *options, f"--requirement={LOCK}"]
    done = subprocess.run(command, capture_output=True, check=False)
    code, lines = verdict(done.stdout, done.stderr.decode(errors="replace"))
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
