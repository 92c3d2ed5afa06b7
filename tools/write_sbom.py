"""Write the software bill of materials: every locked run-time dependency with its hashes, in CycloneDX's JSON form."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
SBOM = ROOT / "sbom.cdx.json"
VERSION = "1.6"
"""Of CycloneDX's schema."""


def write_sbom(output: Path) -> None:
    """Write it, valid by the schema; the same lock gives the same file. Raises CalledProcessError."""
    options = ["--output-reproducible", f"--spec-version={VERSION}", "--output-format=JSON", "--validate"]
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(LOCK), *options]
    subprocess.run([*command, f"--pyproject={ROOT / 'pyproject.toml'}", f"--output-file={output}"], check=True)


def main() -> int:
    """Write it beside the lock file; returns the exit code."""
    write_sbom(SBOM)
    print(f"{SBOM.name}: the dependencies of {LOCK.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
