"""How commands end that may not read or write what belongs to another user."""

from typing import Any

import typer
from typer.core import TyperGroup

USAGE = 2


class Commands(TyperGroup):
    """All commands. What their user may not touch is told in a line, as the wrong usage that it mostly is."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer has no public type for what it takes and gives here
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
