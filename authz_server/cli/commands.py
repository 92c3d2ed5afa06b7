"""All commands, and how they end that may not read or write what belongs to another user."""

from collections import UserDict
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

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
        for each in found.registered_commands:
            each.cls = Command
        group.add_typer(found, name=name)
    else:
        group.command(name, cls=Command)(found)
    return typer.main.get_group(group).commands[name]


class Command(TyperCommand):
    """One command, whose help names values as other programs do: `AUDIT...`, and not `{AUDIT}... <list[Path]>`."""

    def __init__(self, name: str | None, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(name, **settings)
        for param in self.params:
            if param.metavar is None:
                param.metavar = param.name.upper()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Take the arguments apart; what is wrong with a number is told in words of ours."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            kind = None if error.param is None else error.param.type_descriptor.annotation
            if kind in (int, float) and error.param is not None and error.__cause__ is not None:
                raise _no_number(error.param, kind, error.__cause__) from None
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """What stands behind the name of the command."""
        arguments = [(param, _in_help(param)) for param in self.get_params(ctx) if _is_argument(param)]
        return ["[OPTIONS]", *(name if param.required else f"[{name}]" for param, name in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Arguments and options, each with what it is for."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                is_argument = _is_argument(param)
                entry = (_in_help(param), record[1]) if is_argument else record
                sections["Arguments" if is_argument else "Options"].append(entry)
        for title, entries in sections.items():
            if entries:
                with formatter.section(title):
                    formatter.write_dl(entries)


def _no_number(param: Any, kind: Any, cause: Any) -> typer.BadParameter:  # noqa: ANN401
    text = cause.errors()[0]["input"]
    noun = "whole number" if kind is int else "number"
    if param.min is not None and param.max is not None:
        noun += f" from {param.min} to {param.max}"
    elif param.min is not None:
        noun += f" of {param.min} or more"
    return typer.BadParameter(f"must be a {noun}, not `{text}`", param_hint=param.opts[-1])


def _is_argument(param: Any) -> bool:  # noqa: ANN401
    return bool(param.param_type_name == "argument")


def _in_help(argument: Any) -> str:  # noqa: ANN401
    name = str(argument.metavar)
    return name if argument.nargs == 1 else f"{name}..."


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
