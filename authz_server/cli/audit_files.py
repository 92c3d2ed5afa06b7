"""Audit files that commands read, with a bar on a terminal."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import typer


def files_there(audit: Iterable[Path], option: str = "AUDIT") -> None:
    """Refuse audit files that are not there: that is wrong usage of every command."""
    from authz_server.replay.files import STDIN

    for path in audit:
        if path != STDIN and not path.is_file():
            raise typer.BadParameter(f"{path} is no file", param_hint=option)


def unreadable(error: OSError | EOFError, what: object = "the audit") -> str:
    """That the audit cannot be read, in words, without numbers of the operating system."""
    known = error if isinstance(error, OSError) else OSError()
    return f"{known.filename or what} cannot be read: {known.strerror or error}"


def take_lines(audit: list[Path], take: Callable[[Iterable[bytes]], object], label: str) -> None:
    """Hand the lines of all files on, one file after the other; what cannot be read is wrong usage."""
    from authz_server.replay.files import STDIN, lines_of

    files_there(audit)
    size = sum(path.stat().st_size for path in audit if path != STDIN)
    with typer.progressbar(length=size, file=sys.stderr, label=label, hidden=not sys.stderr.isatty()) as bar:
        for path in audit:
            try:
                take(lines_of(path, bar.update))
            except (OSError, EOFError) as error:
                raise typer.BadParameter(unreadable(error, path), param_hint="AUDIT") from None
