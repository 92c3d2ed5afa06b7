"""`authz serve`: run the server."""

import signal
import sys
from typing import TYPE_CHECKING

import typer

from authz_server.cli.configuration import ConfigOption, load_with_file_or_exit, policies_in_words

if TYPE_CHECKING:
    from authz_server.control.server import Started


def serve(config: ConfigOption = None) -> None:
    """Run the server until it is told to stop.

    Policies are read again whenever they change, and with the configuration on SIGHUP. SIGTERM and Ctrl-C let the
    calls in flight finish; the server ends within 10 seconds. Exit codes: 0 stopped, 1 cannot start, 2 wrong usage.

    \b
    Examples:
      authz serve                              ./policies, on 127.0.0.1:9001
      authz serve --config authz.yaml
      AUTHZ_WORKERS=2 authz serve              every key can be a variable
    """
    # Everything is read after this: until the server can be told to read again, it must not be ended by that.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings, file = load_with_file_or_exit(config)
    # Other commands need not wait for what only the server imports.
    from authz_server.control.errors import CannotStart
    from authz_server.control.server import run_server
    from authz_server.telemetry.logs import configure_logs

    def announce(started: "Started") -> None:
        if sys.stdout.isatty():
            typer.echo(_banner(started))

    configure_logs(settings.log.level, settings.log.format)
    try:
        run_server(settings, file, announce)
    except CannotStart as error:
        typer.echo(f"authz: {error}", err=True)
        raise typer.Exit(1) from None


def _banner(started: "Started") -> str:
    if started.revision is None:
        loaded = "none yet: every request is denied until the policies are mended"
    else:
        loaded = policies_in_words(started.services, started.rules, started.revision)
    return "\n".join(
        [
            f"  Check      {', '.join(map(str, started.addresses))}",
            f"  policies   {started.policies}: {loaded}",
            f"  admin      {started.admin}: /livez /readyz /metrics",
            f"  decisions  {started.audit_file}",
            f"  endpoints  {started.endpoints_file}",
            "  Ctrl-C stops the server.",
        ]
    )
