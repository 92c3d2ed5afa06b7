"""The command line: `authz`. One module per command group, each thin."""

from importlib.metadata import version
from typing import Annotated

import typer

from authz_server.cli import (
    bundle,
    candidate,
    check,
    config,
    dev,
    diff,
    doctor,
    envoy,
    explain,
    keys,
    learn,
    lint,
    policy,
    replay,
    revisions,
    serve,
    test,
    usage,
    validate,
)
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

# Each command group is one line: `app.add_typer(dev.app, name="dev")`, or `app.command("check")(check.check)`.
app.command("serve")(serve.serve)
app.command("validate")(validate.validate)
app.command("test")(test.run_tests)
app.command("check")(check.check)
app.command("lint")(lint.lint)
app.command("diff")(diff.diff)
app.command("explain")(explain.explain)
app.command("revisions")(revisions.revisions)
app.command("rollback")(revisions.rollback)
app.command("replay")(replay.replay)
app.command("learn")(learn.learn)
app.command("usage")(usage.usage)
app.command("doctor")(doctor.doctor)
app.add_typer(policy.app, name="policy")
app.add_typer(candidate.app, name="candidate")
app.add_typer(bundle.app, name="bundle")
app.add_typer(config.app, name="config")
app.add_typer(envoy.app, name="envoy")
app.add_typer(keys.app, name="keys")
app.add_typer(dev.app, name="dev")


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
