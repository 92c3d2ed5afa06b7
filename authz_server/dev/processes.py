"""Child processes that end with us, however we end."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# A child in a session of its own does not see the terminal's Ctrl-C: we end it, in order. Should we be killed, the
# kernel ends it (PR_SET_PDEATHSIG, prctl(2)), which must be asked for in the child, before it becomes the program.
_ADOPT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def child(
    command: Sequence[str],
    output: Path,
    *,
    errors: Path | None = None,
    environment: Mapping[str, str] | None = None,
    patience_s: float = 12.0,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program, by its absolute path, while the block runs; what it prints goes to `output`.

    Afterwards it is told to end (SIGTERM), and killed when it is not gone in `patience_s`.
    """
    adopted = [sys.executable, "-I", "-S", "-c", _ADOPT, str(os.getpid()), *command]
    with output.open("ab") as out, (errors or output).open("ab") as err:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            adopted, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        end(process, patience_s)


def end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """Ask a program to stop, and insist when it does not."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
