"""Why a command changed nothing, for people and for machines."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import typer

from authz_server.cli.configuration import print_problems
from authz_server.documents.source import printable

if TYPE_CHECKING:
    from authz_server.control.promotion import Objection
    from authz_server.control.replacement import Unfinished

REFUSED = 1


def refuse(*objections: "Objection", as_json: bool) -> NoReturn:
    """Say all that speaks against it, and exit with 1."""
    if as_json:
        typer.echo(msgspec.json.encode({"refused": [_fields(each) for each in objections]}).decode())
    else:
        _print(objections)
        typer.echo("authz: nothing was changed", err=True)
    raise typer.Exit(REFUSED)


def unfinished(error: "Unfinished", config: Path | None, *, as_json: bool) -> NoReturn:
    """Say that policies were replaced in part, and how that is finished, and exit with 1."""
    from authz_server.control.promotion import Objection

    named = "" if config is None else f" --config {config}"
    to_do = (
        f"mend that, and say `authz rollback --force {error.revision}{named}`; "
        f"until then {error.barrier} keeps every server from taking the directory, and what decided goes on"
    )
    objection = Objection("unfinished", str(error), to_do)
    if as_json:
        refuse(objection, as_json=True)
    _print([objection])
    raise typer.Exit(REFUSED)


def _fields(each: "Objection") -> dict[str, object]:
    problems = [str(problem) for problem in each.problems]
    return {"code": each.code, "message": each.message, "to_do": each.to_do, "problems": problems}


def _print(objections: Iterable["Objection"]) -> None:
    for each in objections:
        print_problems(each.problems)
        typer.echo(printable(f"authz: {each.message}") + f"\n  to do: {each.to_do}", err=True)
