"""`authz replay`."""

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from tests.builders import write_policies

SHIPPED = Path(__file__).parents[3] / "policies"
WEB = "spiffe://shop.example/ns/front/sa/web"
ORDERS = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: readers
        effect: allow
        from: [{users: {issuer: corp, scopes: [read]}}]
        to: [{methods: [GET], paths: ["/orders/{order_id}"]}]
"""
RECORD: dict[str, Any] = {
    "time": "2026-03-02T10:00:00.000000Z",
    "type": "decision",
    "decision_id": "d1",
    "decision": "allow",
    "reason": "allowed",
    "rule": "orders/readers",
    "service": "orders",
    "mode": "enforce",
    "would_deny": False,
    "user": {"issuer": "corp", "subject": "ann"},
    "method": "GET",
    "host": "orders.shop.example",
    "path": "/orders/7",
    "inputs": {"user.scopes": ["read"]},
    "calls": 1,
    "absent": None,
    "traits": {},
}
AUDIT = "decisions.jsonl"


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def lines(*changes: dict[str, Any]) -> bytes:
    """A line for the record with each of these changes."""
    return b"".join(json.dumps(RECORD | change).encode() + b"\n" for change in changes)


def replay(records: bytes, policies: str = ORDERS, *options: str) -> Result:
    """Replay these lines."""
    write_policies(Path("policies"), {"orders.yaml": policies})
    Path(AUDIT).write_bytes(records)
    return CliRunner().invoke(app, ["replay", AUDIT, "--policies", "policies", *options])


def found(records: bytes, policies: str = ORDERS) -> dict[str, Any]:
    """The same as JSON."""
    parsed: dict[str, Any] = json.loads(replay(records, policies, "--json").stdout)
    return parsed


def test_decisions_that_stay_are_no_flips() -> None:
    """Exit code 0, and one line."""
    result = replay(lines({}, {"decision_id": "d2"}))
    assert result.exit_code == 0
    assert result.stdout == "2 records: 2 decided as before, none flips\n"


def test_flips_that_are_alike_are_one() -> None:
    """With their number, the first and the last time, the first as the example, and why."""
    late, early = {"time": "2026-03-02T12:00:00.000000Z"}, {"time": "2026-03-02T09:00:00.000000Z", "decision_id": "d0"}
    result = found(lines({}, late, early | {"path": "/orders/8"}), ORDERS.replace("[read]", "[write]"))
    [flip] = result["flips"]
    assert (flip["change"], flip["records"]) == ("closed", 3)
    assert (flip["first"], flip["last"]) == (early["time"], late["time"])
    assert (flip["example"]["decision_id"], flip["route"]) == ("d0", "GET orders.shop.example/orders/{order_id}")
    assert flip["why"] == "orders/readers: user: the scopes lack `write` (has `read`)"
    assert result["same"] == 0


def test_other_callers_and_routes_are_flips_of_their_own() -> None:
    """So that each can be judged."""
    records = lines({}, {"workload": WEB, "workload_by": "name"}, {"host": "ORDERS"}, {"user": None, "inputs": {}})
    flips = found(records, ORDERS.replace("[GET]", "[PUT]"))["flips"]
    assert [flip["caller"] for flip in flips if flip["after"]["reason"] == "no_rule_allows"] == [
        "no workload",
        "no workload, user of corp",
        f"{WEB}, user of corp",
    ]


@pytest.mark.parametrize(
    ("change", "policies", "flips"),
    [
        ({}, ORDERS.replace("[read]", "[write]"), ["closed"]),
        ({"decision": "deny", "reason": "no_rule_allows", "rule": None}, ORDERS, ["opened"]),
        ({}, ORDERS.replace("readers", "customers"), ["other"]),
        ({}, ORDERS.replace("name: orders", "name: orders\n    mode: audit").replace("[read]", "[write]"), ["other"]),
        (
            {"host": "other.example", "service": None, "reason": "no_service", "rule": None, "decision": "deny"},
            ORDERS,
            [],
        ),
        ({"path": "/orders//7"}, ORDERS, ["closed"]),
    ],
)
def test_what_changes_is_told(change: dict[str, Any], policies: str, flips: list[str]) -> None:
    """ALLOW to DENY, DENY to ALLOW, another rule or reason, or nothing."""
    assert [flip["change"] for flip in found(lines(change), policies)["flips"]] == flips


def test_the_recorded_time_counts() -> None:
    """A rule that has come to its end since decided then, and another one that had not begun did not."""
    until = ORDERS + '        valid: {until: "2026-03-02T11:00:00Z"}\n'
    records = lines({}, {"time": "2026-03-02T12:00:00.000000Z"}, {})
    result = found(records, until)
    assert result["same"] == 2
    assert [(flip["change"], flip["first"]) for flip in result["flips"]] == [("closed", "2026-03-02T12:00:00.000000Z")]


@pytest.mark.parametrize(
    ("change", "why", "missing"),
    [
        ({"inputs": {}}, "not_recorded", "user.scopes"),
        ({"inputs": {"user.scopes": ["read", "[+8 elements]"]}}, "not_recorded", "user.scopes"),
        ({"inputs": {"user.scopes": "keyed-hash:00"}}, "not_recorded", "user.scopes"),
        ({"reason": "token_invalid", "decision": "deny"}, "denied_before_rules", None),
        ({"mode": "audit", "reason": "denied_by_rule", "decision": "deny", "user": None}, "user_not_known", None),
        ({"service": None, "traits": {"routed": True}}, "service_not_known", None),
        ({"traits": {"cut": True}}, "path_cut", None),
        ({"path": "/orders/7[+10 characters]"}, "cut", None),
        ({"calls": 3, "reason": "overloaded", "decision": "deny"}, "shed", None),
        ({"type": "gap", "calls": None}, "gap", None),
        ({"traits": None}, "older_record", None),
        ({"time": "yesterday"}, "unreadable", None),
        ({"workload": "web"}, "unreadable", None),
        ({"type": 1}, "unreadable", None),
    ],
)
def test_a_record_that_does_not_suffice_is_undecidable(change: dict[str, Any], why: str, missing: str | None) -> None:
    """Counted by why, and never guessed."""
    result = replay(lines(change), ORDERS, "--json")
    assert json.loads(result.stdout)["undecidable"] == [{"why": why, "missing": missing, "records": 1}]
    assert json.loads(result.stdout)["flips"] == []
    assert result.exit_code == (2 if why == "unreadable" else 0)


RULE = "      - {id: %s, effect: %s, to: [{paths: ['/orders/7']}], %s}\n"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (RULE % ("a", "allow", "from: [{users: {issuer: corp, groups: [staff]}}]"), None),
        (RULE % ("z", "allow", "from: [{users: {issuer: corp, groups: [staff]}}]"), "allowed"),
        (RULE % ("a", "deny", """when: 'request.headers["x-a"] == "1"'"""), None),
        (RULE % ("a", "deny", """when: 'request.headers["x-a"] == "1" && request.method == "PUT"'"""), "allowed"),
        (
            RULE % ("a", "deny", "valid: {until: '2026-01-01T00:00:00Z'}, when: 'request.protocol == \"HTTP/2\"'"),
            "allowed",
        ),
        (RULE % ("a", "deny", """when: 'request.headers["x-a"] == "1" || has_user'"""), "denied_by_rule"),
        (RULE % ("a", "deny", "from: [{users: {issuer: other, groups: [staff]}}]"), "allowed"),
        (RULE % ("a", "deny", "from: [{users: {issuer: corp, claims: {level: 2}}}]"), None),
        (RULE % ("a", "deny", "from: [{users: {issuer: corp, groups: [staff]}}], when: client.ip == '10.0.0.1'"), None),
        ((RULE % ("a", "deny", "description: x")).replace("'/orders/7']", "'/orders/7'], ports: [80]"), None),
    ],
)
def test_an_unknown_that_does_not_matter_leaves_a_decision(rule: str, reason: str | None) -> None:
    """Where a rule before it decides, or the rest of its condition does; None is undecidable."""
    result = found(lines({}), ORDERS + rule)
    if reason is None:
        assert len(result["undecidable"]) == 1
    elif reason == "allowed":
        assert result["same"] == 1
    else:
        assert result["flips"][0]["after"]["reason"] == reason


def test_what_a_request_did_not_have_is_known() -> None:
    """A header that was read, and was not there."""
    policies = ORDERS + """        when: '!("x-a" in request.headers)'\n"""
    assert found(lines({"absent": ["request.headers[x-a]"]}), policies)["same"] == 1


def test_files_are_read_one_after_the_other_compressed_or_not() -> None:
    """Rotated ones, and standard input."""
    write_policies(Path("policies"), {"orders.yaml": ORDERS})
    Path("old.jsonl.gz").write_bytes(gzip.compress(lines({}, {})))
    Path("new.jsonl").write_bytes(lines({}) + b"\n")
    arguments = ["replay", "old.jsonl.gz", "-", "new.jsonl", "--policies", "policies"]
    result = CliRunner().invoke(app, arguments, input=lines({}).decode())
    assert result.stdout == "4 records: 4 decided as before, none flips\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl", "--policies", "policies"], "none.jsonl is no file"),
        (["cut.gz", "--policies", "policies"], "cut.gz cannot be read"),
        ([AUDIT, "--policies", "policies", "--json", "--markdown"], "it is either this or --markdown"),
        ([AUDIT, "--policies", "broken"], "unknown"),
        ([AUDIT], "Missing option"),
        (["-", "--policies", "policies"], "there is no record of a decision"),
        (["policies/orders.yaml", "--policies", "policies"], "there is no record of a decision"),
    ],
)
def test_wrong_usage_and_broken_policies_are_2(arguments: list[str], said: str) -> None:
    """So that 1 says that decisions flip."""
    write_policies(Path("policies"), {"orders.yaml": ORDERS})
    write_policies(Path("broken"), {"orders.yaml": ORDERS.replace("effect", "efect")})
    Path(AUDIT).write_bytes(lines({}))
    Path("cut.gz").write_bytes(gzip.compress(lines({}))[:-9])
    result = CliRunner().invoke(app, ["replay", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_markdown_holds_what_requests_say() -> None:
    """A path that would end its cell, and what terminals act upon, are shown and do nothing."""
    hostile = {"path": "/orders/7", "user": {"issuer": "corp", "subject": "a|`b\x1b[31m\n"}}
    result = replay(lines(hostile), ORDERS.replace("[read]", "[write]"), "--markdown")
    [row] = [line for line in result.stdout.splitlines() if line.startswith("| **ALLOW → DENY**")]
    assert "user a\\|'b\\u001b[31m\\u000a of corp" in row
    assert "\x1b" not in replay(lines(hostile), ORDERS.replace("[read]", "[write]")).stdout


def test_the_records_of_the_shipped_policies_are_decided_as_they_were() -> None:
    """As `authz check` records them; and without its rule, one of them flips."""
    asked = [
        ["--host", "web.shop.example", "--path", "/public/logo.svg"],
        ["--host", "web.shop.example", "--path", "/admin"],
        ["--workload", WEB, "--host", "inventory.shop.example", "--path", "/stock/7"],
        ["--workload", WEB, "--host", "orders.shop.example", "--path", "/orders/c7-1"],
    ]
    runs = [CliRunner().invoke(app, ["check", *each, "--policies", str(SHIPPED), "--json"]) for each in asked]
    Path(AUDIT).write_text("".join(run.stdout for run in runs))
    result = CliRunner().invoke(app, ["replay", AUDIT, "--policies", str(SHIPPED)])
    assert (result.exit_code, result.stdout) == (0, "4 records: 4 decided as before, none flips\n")
    files = {str(file.relative_to(SHIPPED)): file.read_text() for file in SHIPPED.rglob("*.yaml")}
    files = {name: text for name, text in files.items() if not name.endswith("_test.yaml")}
    files["shop/inventory.yaml"] = files["shop/inventory.yaml"].replace("ns/front/sa/web", "ns/front/sa/other")
    write_policies(Path("policies"), files)
    result = CliRunner().invoke(app, ["replay", AUDIT, "--policies", "policies", "--json"])
    [flip] = json.loads(result.stdout)["flips"]
    assert (flip["change"], flip["before"]["rule"]) == ("closed", "shop/inventory/web-shows-stock")


def test_a_terminal_shows_how_far_it_is() -> None:
    """On standard error, so that what is printed stays what it is."""
    write_policies(Path("policies"), {"orders.yaml": ORDERS})
    Path(AUDIT).write_bytes(lines({}) * 500)
    terminal, other_end = pty.openpty()
    try:
        command = [sys.executable, "-m", "authz_server", "replay", AUDIT, "--policies", "policies"]
        environment = {**os.environ, "TERM": "xterm"}
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=other_end, check=True, timeout=120, env=environment
        )
        assert b"100%" in os.read(terminal, 65536)
    finally:
        os.close(terminal)
        os.close(other_end)
    assert ran.stdout == b"500 records: 500 decided as before, none flips\n"
