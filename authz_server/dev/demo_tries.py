"""What to try in the demo: commands to paste, each with the outcome that is to be expected."""

import shlex
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from authz_server.dev.demo_setup import Demo
from authz_server.dev.layout import LOOPBACK, TRUST_DOMAIN, WORKLOADS, host_of


class Try(Struct, frozen=True):
    """A command for the shell, and what its output must contain."""

    title: str
    command: str
    outcome: str
    """For people."""
    output: tuple[str, ...]
    """For machines: each of these is somewhere in what the command prints, errors included."""


class Caller(Struct, frozen=True):
    """Who a command speaks as: a workload's certificate, a user's token, both or neither."""

    workload: str | None = None
    token: str | None = None
    """Options of `authz dev token`."""


ANN = "--subject ann --scope orders:read --claim customer=c7"
BOB = "--subject bob --scope orders:read --claim customer=c8"
WEB_ANN = Caller("web", ANN)
SAM = "--subject sam --group support"
SCOPE, ANOTHER_SCOPE = "orders:read", "orders:read-all"


def tries(demo: Demo) -> tuple[Try, ...]:
    """Everything to try, in the order of a tour."""
    commands = Commands(demo)
    return (*_both_identities(commands), *_workloads(commands), *_refusals(commands), *_edits(commands))


def to_json(wanted: tuple[Try, ...]) -> str:
    """The list for machines."""
    return msgspec.json.format(msgspec.json.encode(wanted), indent=2).decode()


class Commands:
    """Commands that can be pasted in this directory."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self.authz = shlex.quote(str(_from_here(Path(sys.executable).with_name("authz"))))
        self.validate = f"{self.authz} validate {_quoted(demo.policies)} --config {_quoted(demo.files.settings)}"
        self.orders_policy = _quoted(demo.policies / "shop" / "orders.yaml")
        self.access_log = _quoted(demo.files.access_log)

    def curl(self, caller: Caller, service: str, path: str, *options: str) -> str:
        """Ask a service through Envoy, and print the answer's body and status."""
        files, port, host = self._demo.files, self._demo.ports.envoy, host_of(service)
        parts = [f"curl -s --cacert {_quoted(files.certificates / 'ca.pem')}"]
        if caller.workload:
            certificate = files.certificates / caller.workload
            parts.append(f"--cert {_quoted(certificate)}.pem --key {_quoted(certificate)}.key")
        if caller.token:
            token = f"{self.authz} dev token --key {_quoted(files.issuer_key)} {caller.token}"
            parts.append(f'-H "Authorization: Bearer $({token})"')
        parts += options
        parts.append(f"--resolve {host}:{port}:{LOOPBACK} -w ' %{{http_code}}\\n'")
        parts.append(f"'https://{host}:{port}{path}'")
        return " \\\n    ".join(parts)

    def foreign_certificate(self, name: str) -> tuple[str, Caller]:
        """Make a CA that nobody trusts and a certificate of it; gives the command, and who shows that certificate."""
        directory = self._demo.files.certificates / "foreign"
        command = f"{self.authz} dev ca --directory {_quoted(directory)} {name}={WORKLOADS[name]}"
        return command, Caller(f"foreign/{name}")


def _both_identities(commands: Commands) -> tuple[Try, ...]:
    curl = commands.curl
    return (
        Try(
            "The right workload with the right user",
            curl(WEB_ANN, "orders", "/orders/c7-1"),
            "200: `orders` answers, and has been told who asks",
            ('"service":"orders"', '"x-user":["ann"]', " 200"),
        ),
        Try(
            "The right workload with the wrong user: it is another customer's order",
            curl(Caller("web", BOB), "orders", "/orders/c7-1"),
            "403 `no_rule_allows`",
            ('"reason":"no_rule_allows"', " 403"),
        ),
        Try(
            "The wrong workload with the right user",
            curl(Caller("orders", ANN), "orders", "/orders/c7-1"),
            "403 `no_rule_allows`",
            ('"reason":"no_rule_allows"', " 403"),
        ),
        Try(
            "An expired token, which makes nobody anonymous",
            curl(Caller("web", f"{ANN} --age 1h"), "orders", "/orders/c7-1"),
            "401 `token_invalid`; the record says `token_expired`",
            ('"reason":"token_invalid"', " 401"),
        ),
        Try(
            "A user of the support group",
            curl(Caller(None, SAM), "orders", "/orders/c8-1"),
            "200: a role needs no workload here",
            ('"x-user":["sam"]', " 200"),
        ),
    )


def _workloads(commands: Commands) -> tuple[Try, ...]:
    curl = commands.curl
    return (
        Try(
            "One workload calls another, without any user",
            curl(Caller("orders"), "inventory", "/stock/apples/reservations", "-X POST"),
            "200",
            ('"service":"inventory"', " 200"),
        ),
        Try(
            "Another workload may look, and not reserve",
            curl(Caller("web"), "inventory", "/stock/apples/reservations", "-X POST"),
            "403 `no_rule_allows`",
            ('"reason":"no_rule_allows"', " 403"),
        ),
        Try(
            "No certificate, no token: what is public",
            curl(Caller(), "web", "/public/hello"),
            "200",
            ('"service":"web"', " 200"),
        ),
        Try(
            "No certificate, and a service that wants one",
            curl(Caller(token=ANN), "orders", "/orders/c7-1"),
            "403 `no_rule_allows`",
            ('"reason":"no_rule_allows"', " 403"),
        ),
    )


def _refusals(commands: Commands) -> tuple[Try, ...]:
    curl = commands.curl
    make_foreign, foreign = commands.foreign_certificate("web")
    return (
        Try(
            "A way around /public, which is no way: the path is /admin",
            curl(Caller(), "web", "/public/%2e%2e/admin", "--path-as-is"),
            "401 `unauthenticated`: /admin is for the support group",
            ('"reason":"unauthenticated"', " 401"),
        ),
        Try(
            "A path that two readers could read in two ways",
            curl(WEB_ANN, "orders", "/orders/c7-1;c8-1"),
            "400 `ambiguous_path`",
            ('"reason":"ambiguous_path"', " 400"),
        ),
        Try(
            "A guardrail, which no allow rule can undo",
            curl(Caller("web"), "web", "/internal/state"),
            "404 `denied_by_rule`: the rule chose the status",
            ('"reason":"denied_by_rule"', " 404"),
        ),
        Try(
            "A host that no service has",
            curl(WEB_ANN, "billing", "/"),
            "403 `no_service`",
            ('"reason":"no_service"', " 403"),
        ),
        Try(
            "A certificate of an authority that nobody trusts: Envoy refuses it by itself, and says so in its log",
            _in_turn(
                make_foreign, curl(foreign, "orders", "/orders/c7-1"), "sleep 1", f"tail -n 1 {commands.access_log}"
            ),
            "000: no connection, and `tls_failure` in the log",
            (" 000", "CERTIFICATE_VERIFY_FAILED", f"spiffe://{TRUST_DOMAIN}/ns/front/sa/web"),
        ),
    )


def _edits(commands: Commands) -> tuple[Try, ...]:
    policy, asked = commands.orders_policy, commands.curl(WEB_ANN, "orders", "/orders/c7-1")
    edited = f'sed -i \'s/"{SCOPE}"/"{ANOTHER_SCOPE}"/\' {policy}'
    undone = f'sed -i \'s/"{ANOTHER_SCOPE}"/"{SCOPE}"/\' {policy}'
    misspelt = f"sed -i 's/^    effect:/    efect:/' {policy}"
    mended = f"sed -i 's/^    efect:/    effect:/' {policy}"
    return (
        Try(
            "Edit a policy: reading orders takes another scope, and a second later it does (then take it back)",
            _in_turn(edited, "sleep 1", asked, undone, "sleep 1"),
            "403 `no_rule_allows`",
            ('"reason":"no_rule_allows"', " 403"),
        ),
        Try(
            "Break a policy: the error is explained, and the last good policies go on deciding (then mend it)",
            _in_turn(misspelt, "sleep 1", commands.validate, asked, mended, "sleep 1"),
            "did you mean `effect`? And 200, as before",
            ("did you mean `effect`", '"x-user":["ann"]', " 200"),
        ),
    )


def _in_turn(*commands: str) -> str:
    return "\n".join(commands)


def _from_here(path: Path) -> Path:
    """The path relative to the working directory where it lies below it."""
    absolute, here = path.absolute(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def _quoted(path: Path) -> str:
    return shlex.quote(str(_from_here(path)))
