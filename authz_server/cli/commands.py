"""All commands, and how they end that may not read or write what belongs to another user."""

from collections import UserDict
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

USAGE = 2
"""The exit code for wrong usage."""

COMMANDS = {
    "serve": "serve.serve",
    "validate": "validate.validate",
    "test": "test.run_tests",
    "check": "check.check",
    "lint": "lint.lint",
    "diff": "diff.diff",
    "explain": "explain.explain",
    "revisions": "revisions.revisions",
    "rollback": "revisions.rollback",
    "replay": "replay.replay",
    "learn": "learn.learn",
    "usage": "usage.usage",
    "doctor": "doctor.doctor",
    "policy": "policy.app",
    "candidate": "candidate.app",
    "bundle": "bundle.app",
    "config": "config.app",
    "envoy": "envoy.app",
    "keys": "keys.app",
    "dev": "dev.app",
}
"""Where each is, in a module of this package: a function, or the `typer.Typer` of several commands. In the order of the
help."""


class _Imported(UserDict[str, Any]):  # any: typer has no public type for a command
    """The commands, each imported when it is asked for: nobody waits for the imports of the others."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return _command(name, super().__getitem__(name))


@cache
def _command(name: str, place: str) -> Any:  # noqa: ANN401
    module, _, attribute = place.partition(".")
    found = getattr(import_module(f"authz_server.cli.{module}"), attribute)
    group = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name)(found)
    return typer.main.get_group(group).commands[name]


class Commands(TyperGroup):
    """All commands. What their user may not touch is told in a line, as the wrong usage that it mostly is."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        self.commands = _Imported(COMMANDS)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except PermissionError as error:
            # A server that fails while it serves is told by its log, and where that happened is worth knowing.
            if ctx.invoked_subcommand == "serve":
                raise
            what = error.filename if error.filename is not None else "a file"
            typer.echo(f"authz: {what}: permission denied; run this as the user that it belongs to", err=True)
            raise typer.Exit(USAGE) from None
