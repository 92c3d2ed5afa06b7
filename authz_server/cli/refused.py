"""Why a command changed nothing, for people and for machines."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import msgspec
import typer

from authz_server.cli.configuration import print_problems
from authz_server.documents.source import printable

if TYPE_CHECKING:
    from authz_server.control.promotion import Objection

REFUSED = 1


def refuse(*objections: "Objection", as_json: bool) -> NoReturn:
    """Say all that speaks against it, and exit with 1."""
    if as_json:
        typer.echo(msgspec.json.encode({"refused": [_fields(each) for each in objections]}).decode())
    else:
        _print(objections)
    raise typer.Exit(REFUSED)


def _fields(each: "Objection") -> dict[str, object]:
    problems = [str(problem) for problem in each.problems]
    return {"code": each.code, "message": each.message, "to_do": each.to_do, "problems": problems}


def _print(objections: Iterable["Objection"]) -> None:
    for each in objections:
        print_problems(each.problems)
        typer.echo(printable(f"authz: {each.message}") + f"\n  to do: {each.to_do}", err=True)
    typer.echo("authz: nothing was changed", err=True)
