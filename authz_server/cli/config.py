"""`authz config`: the configuration as the server understands it."""

from typing import Annotated

import msgspec
import typer
import yaml

from authz_server.cli.configuration import ConfigOption, load_or_exit
from authz_server.control.settings.reference import json_schema

app = typer.Typer(help="The configuration as the server understands it.", no_args_is_help=True)


@app.command()
def show(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Print the configuration as it is in effect.

    That is the file, the environment over it, and defaults, with paths made absolute.

    \b
    Examples:
      authz config show --config authz.yaml
      AUTHZ_WORKERS=4 authz config show --json | jq .workers
    """
    settings = load_or_exit(config).model_dump(mode="json", exclude_none=True)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(settings)))
    else:
        typer.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    \b
    Example:
      authz config schema > config.schema.json
    """
    typer.echo(json_schema(), nl=False)
