"""The compose file, built and run by a real engine, asked through Envoy."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Struct, structs

from authz_server.dev.ca import create_ca
from authz_server.dev.layout import TRUST_DOMAIN, WORKLOADS
from authz_server.dev.waiting import wait_until
from tests.compose.caller import Caller
from tests.compose.stack import ROOT, Stack, what_is_missing

ANN = ("--subject", "ann", "--scope", "orders:read", "--claim", "customer=c7")
BOB = ("--subject", "bob", "--scope", "orders:read", "--claim", "customer=c8")
EXPIRED = (*ANN, "--age", "1h")
ORDERS = "orders.shop.example"
INVENTORY = "inventory.shop.example"
WEB = "web.shop.example"


class Case(Struct, frozen=True):
    """A request through Envoy, and what is to come of it."""

    name: str
    host: str
    path: str
    status: int
    recorded: str
    """The rule that allowed, or the reason of the denial, in the record."""
    workload: str | None = None
    token: tuple[str, ...] | None = None
    method: str = "GET"
    recorded_path: str | None = None


CASES = (
    Case(
        "right-workload-with-right-user",
        ORDERS,
        "/orders/c7-1",
        200,
        "shop/orders/customers-read-their-orders",
        workload="web",
        token=ANN,
    ),
    Case("wrong-workload", ORDERS, "/orders/c7-1", 403, "no_rule_allows", workload="orders", token=ANN),
    Case("wrong-user", ORDERS, "/orders/c7-1", 403, "no_rule_allows", workload="web", token=BOB),
    Case("expired-token", ORDERS, "/orders/c7-1", 401, "token_expired", workload="web", token=EXPIRED),
    Case("no-certificate", ORDERS, "/orders/c7-1", 403, "no_rule_allows", token=ANN),
    Case(
        "workload-to-workload",
        INVENTORY,
        "/stock/apples/reservations",
        200,
        "shop/inventory/orders-reads-and-reserves-stock",
        workload="orders",
        method="POST",
    ),
    Case("public", WEB, "/public/hello", 200, "shop/web/everybody-sees-the-shop"),
    Case("around-public", WEB, "/public/%2e%2e/admin", 401, "unauthenticated", recorded_path="/admin"),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole compose file, up, with a copy of the example policies."""
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    policies = tmp_path_factory.mktemp("compose") / "policies"
    shutil.copytree(ROOT / "policies", policies)
    stack = Stack(f"authz-test-{uuid4().hex[:8]}", policies)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def anybody(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """A caller without identities, as soon as Envoy answers."""
    identities = tmp_path_factory.mktemp("identities")
    stack.copy_identities(identities)
    caller = Caller(stack.port("envoy", 10000), identities)

    def answers() -> bool:
        try:
            return caller.ask(WEB, "/").status == 200
        except OSError:
            return False

    wait_until(answers, 30, "Envoy to answer with what a service said")
    return caller


def caller_of(case: Case, stack: Stack, anybody: Caller) -> Caller:
    """Whoever the case speaks as."""
    token = stack.token(*case.token) if case.token else None
    return structs.replace(anybody, workload=case.workload, token=token)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_through_envoy_is_answered_and_recorded_once(stack: Stack, anybody: Caller, case: Case) -> None:
    """The caller gets the policies' answer, and the audit file one line that says why."""
    caller = caller_of(case, stack, anybody)
    start = datetime.now(UTC)

    answer = caller.ask(case.host, case.path, case.method)

    def records() -> list[dict[str, Any]]:
        # What other tests asked for may still arrive, and is older.
        return [record for record in stack.records() if datetime.fromisoformat(record["time"]) >= start]

    wait_until(lambda: bool(records()), 10, "the record of the decision")
    recorded = [(each["decision"], each["rule"] or each["reason"], each["host"], each["path"]) for each in records()]
    decision = "allow" if case.status == 200 else "deny"
    assert answer.status == case.status
    assert recorded == [(decision, case.recorded, case.host, case.recorded_path or case.path)]


def test_the_upstream_learns_who_asks(stack: Stack, anybody: Caller) -> None:
    """The header that a rule sets arrives at the service, with the user's subject."""
    case = CASES[0]
    assert caller_of(case, stack, anybody).ask(case.host, case.path).body["identity"] == {"x-user": ["ann"]}


def test_a_foreign_certificate_does_not_come_through(anybody: Caller, tmp_path: Path) -> None:
    """Envoy refuses a certificate of another authority by itself, before any request."""
    svid = create_ca(TRUST_DOMAIN).issue(WORKLOADS["web"])
    (tmp_path / "web.pem").write_text(svid.certificate_pem)
    (tmp_path / "web.key").write_text(svid.key_pem)
    shutil.copy(anybody.identities / "ca.pem", tmp_path)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        structs.replace(anybody, identities=tmp_path, workload="web").ask(WEB, "/public/hello")


def test_an_edited_policy_decides_within_a_second(stack: Stack, anybody: Caller) -> None:
    """An edit in the mounted directory shows in the answers at most one second later."""
    policy = stack.policies / "shop" / "web.yaml"
    original = policy.read_text(encoding="utf-8")

    def becomes(status: int, text: str) -> float:
        start = time.monotonic()
        policy.write_text(text, encoding="utf-8")
        wait_until(lambda: anybody.ask(WEB, "/public/hello").status == status, 10, f"the answer {status}")
        return time.monotonic() - start

    def edited() -> float:
        try:
            return becomes(403, original.replace("/public/**", "/elsewhere/**"))
        finally:
            becomes(200, original)

    # A machine that is busy may delay one, but not all of these.
    assert any(edited() < 1 for _ in range(5))


def test_the_image_is_small(stack: Stack) -> None:
    """Under 200 MB, as it lies on a disk; a package manager is nothing that the server needs."""
    assert stack.image_bytes("authz-server") < 200_000_000
    with pytest.raises(subprocess.CalledProcessError):
        stack.inside("authz", "apt-get", "--version")


def test_the_image_knows_authorities_and_time_zones(stack: Stack) -> None:
    """What the interpreter takes from the system is there, and all libraries are found."""
    script = "import ctypes, ssl, zoneinfo; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    zone = "zoneinfo.ZoneInfo('Europe/Zurich')"
    assert stack.inside("authz", "python", "-I", "-c", f"{script}; {zone}").strip() == b"True"


def test_containers_can_do_no_more_than_they_must(stack: Stack) -> None:
    """Each container runs as a user other than root, on a read-only root, without capabilities."""
    for container in stack.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"].partition(":")[0] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert any("no-new-privileges" in option for option in host["SecurityOpt"]), name
