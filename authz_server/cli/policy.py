"""`authz policy`: write policy files."""

import typer

from authz_server.cli import policy_fmt, policy_new

app = typer.Typer(help="Policy files: start and format them.", no_args_is_help=True)

app.command("new")(policy_new.new)
app.command("fmt")(policy_fmt.fmt)
