"""What the demo says when it is up."""

from authz_server.dev.demo_setup import Demo
from authz_server.dev.demo_tries import Try
from authz_server.dev.layout import LOOPBACK


def describe(demo: Demo, wanted: tuple[Try, ...], seconds: float) -> str:
    """Where everything is, what to try, and how to stop."""
    files, ports = demo.files, demo.ports
    places = {
        "Envoy": f"https://{LOOPBACK}:{ports.envoy}, log in {files.access_log}",
        "policies": f"{demo.policies}/ - edit them: a second later the edit decides, or is refused here",
        "decisions": f"{files.audit}, one line each",
        "metrics": f"http://{LOOPBACK}:{ports.authz_admin}/metrics (health: /readyz), log in {files.authz_log}",
        "this list": f"{files.try_list}, for machines",
    }
    width = max(map(len, places))
    lines = [
        "",
        f"The demo is up after {seconds:.1f} s. FOR DEVELOPMENT ONLY: its CA and token issuer sign for everybody here.",
        "",
        *(f"  {name:<{width}}  {place}" for name, place in places.items()),
        "",
        "Paste these into another terminal, in this directory:",
        "",
    ]
    for number, each in enumerate(wanted, 1):
        lines += [f"# {number}. {each.title}", each.command, f"#    -> {each.outcome}", ""]
    return "\n".join([*lines, "Ctrl-C stops everything."])
