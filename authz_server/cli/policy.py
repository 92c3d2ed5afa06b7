"""`authz policy`: write policy files."""

import json

import typer

from authz_server.cli import policy_fmt, policy_new

app = typer.Typer(help="Policy files: start and format them.", no_args_is_help=True)

app.command("new")(policy_new.new)
app.command("fmt")(policy_fmt.fmt)


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    Example:
      authz policy schema >policy.schema.json
    """
    from authz_server.policy.json_schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))
