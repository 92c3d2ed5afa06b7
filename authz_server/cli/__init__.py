"""The command line: `authz`. One module per command group, each thin."""

from importlib.metadata import version
from typing import Annotated

import typer

from authz_server.cli.commands import Commands

app = typer.Typer(
    name="authz",
    cls=Commands,
    help="External authorization for Envoy: workload and user identity, checked against policies as code.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("authz-server"))
        raise typer.Exit


@app.callback()
def authz(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options that stand before every command."""


def main() -> None:
    """Run the command line; exits with 0, 1 (errors found) or 2 (wrong usage)."""
    app()
