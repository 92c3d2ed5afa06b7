"""`make h2spec`: the conformance tests of HTTP/2 against the lean transport; exit code 1 where another than the listed
ones fails. Needs Go, which builds the program."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from authz_server.worker.address import TcpAddress
from authz_server.worker.lean.server import LeanServer
from authz_server.worker.server import CHECK

PROGRAM = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
TABLE_BYTES = 4096
"""What RFC 7541 begins with: the program's client keeps to it, whatever a server says, and a server that has said
another size must then end the connection (RFC 9113 section 4.3.1)."""
PRIORITIES = "RFC 9113 section 5.3.2 has given the priorities of RFC 7540 up; PRIORITY is read and ignored"
EXCEPTIONS = {
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"): PRIORITIES,
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): PRIORITIES,
}
"""Tests that do not apply, by section and name, and why."""

_PATIENCE_S = 300.0


def main() -> int:
    """Build the program if need be, run it, and judge its report."""
    server = LeanServer(TcpAddress("127.0.0.1", 0), {CHECK: lambda message, _call: message}, table_bytes=TABLE_BYTES)
    address = server.address
    assert isinstance(address, TcpAddress)
    server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="authz-h2spec-") as name:
            report = Path(name) / "report.xml"
            command = [str(_program()), "--strict", f"--port={address.port}", f"--junit-report={report}"]
            # Its exit code says whether all tests passed, those that do not apply included.
            subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_PATIENCE_S, check=False)
            return judge(report.read_text())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"h2spec: {error}", file=sys.stderr)
        return 2
    finally:
        server.stop(0)


def judge(report: str) -> int:
    """Say what has failed; 0 where that is exactly what does not apply."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))  # noqa: S314  # the program's own report
    failed = {(case.get("package"), case.get("classname")) for case in cases if len(case)}
    names: Sequence[tuple[str | None, str | None]] = sorted(failed - set(EXCEPTIONS), key=str)
    for section, test in names:
        print(f"FAIL  {section}  {test}")
    for exception, reason in EXCEPTIONS.items():
        if exception in failed:
            print(f"does not apply  {exception[0]}  {exception[1]}: {reason}")
        else:
            print(f"FAIL  {exception[0]}  {exception[1]}: is listed as failing, and passes")
    print(f"{len(cases)} tests, {len(cases) - len(failed)} passed, {len(failed & set(EXCEPTIONS))} do not apply")
    return 0 if cases and failed == set(EXCEPTIONS) else 1


def _program() -> Path:
    """The program, built on first use."""
    directory = Path(".venv/h2spec").absolute()
    program = directory / "h2spec"
    if not program.exists():
        print("building h2spec …", file=sys.stderr, flush=True)
        subprocess.run(["go", "install", PROGRAM], env={**os.environ, "GOBIN": str(directory)}, check=True)
    return program


if __name__ == "__main__":
    sys.exit(main())
