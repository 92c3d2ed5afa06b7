"""Audit files that commands read, with a bar on a terminal."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import typer


def take_lines(audit: list[Path], take: Callable[[Iterable[bytes]], object], label: str) -> None:
    """Hand the lines of all files on, one file after the other; what cannot be read is wrong usage."""
    from authz_server.replay.files import STDIN, lines_of

    for path in audit:
        if path != STDIN and not path.is_file():
            raise typer.BadParameter(f"{path} is no file", param_hint="AUDIT")
    size = sum(path.stat().st_size for path in audit if path != STDIN)
    with typer.progressbar(length=size, file=sys.stderr, label=label, hidden=not sys.stderr.isatty()) as bar:
        for path in audit:
            try:
                take(lines_of(path, bar.update))
            except (OSError, EOFError) as error:
                raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="AUDIT") from None
