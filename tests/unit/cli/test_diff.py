"""`authz diff`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.analysis.difference import compare
from authz_server.cli import app
from authz_server.policy.loader import load_policies
from tests.builders import write_policies

SHIPPED = Path(__file__).parents[3] / "policies"
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
OPEN = ORDERS.replace(", scopes: [read]", "")
NOBODY = "kind: service\nname: orders\nhosts: [orders.shop.example]\nrules: []\n"


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def diff(old: str, new: str, *options: str) -> Result:
    """Compare two directories of one file each."""
    write_policies(Path("old"), {"orders.yaml": old})
    write_policies(Path("new"), {"orders.yaml": new})
    return CliRunner().invoke(app, ["diff", "old", "new", *options])


def differences(old: str, new: str) -> list[dict[str, object]]:
    """The rows, by JSON."""
    found: list[dict[str, object]] = json.loads(diff(old, new, "--json").stdout)["differences"]
    return found


def with_rule(rule: str) -> str:
    """The service with one rule more."""
    return f"{ORDERS}      - {rule}\n"


def test_the_shipped_policies_are_the_same_as_themselves() -> None:
    """Exit code 0, and a line."""
    result = CliRunner().invoke(app, ["diff", str(SHIPPED), str(SHIPPED)])
    assert (result.exit_code, result.stdout) == (0, "no request is decided differently\n")


def test_a_change_of_the_shipped_policies_is_shown(tmp_path: Path) -> None:
    """A guardrail that is gone opens what it denied, to those whom rules allow it."""
    for file in SHIPPED.glob("**/*.yaml"):
        copy = tmp_path / "new" / file.relative_to(SHIPPED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text().replace("/orders/**", "/invoices/**"))
    result = CliRunner().invoke(app, ["diff", str(SHIPPED), "new"])
    assert result.exit_code == 1
    assert "ALLOW → DENY  GET orders.shop.example/orders/{order_id}" in result.stdout
    assert "DENY → ALLOW  GET orders.shop.example/invoices/**" in result.stdout


def test_a_row_has_caller_operation_and_an_example() -> None:
    """As a block for people."""
    result = diff(ORDERS, OPEN)
    assert result.exit_code == 1
    assert result.stdout == (
        "DENY → ALLOW  GET orders.shop.example/orders/{order_id}\n"
        "  user of corp\n"
        "    before   DENY 403 no_rule_allows\n"
        "    after    ALLOW orders/readers\n"
        '    example  GET https://orders.shop.example/orders/x · user {"issuer":"corp","subject":"somebody"}\n'
        "\n"
        "1 opened, 0 closed, 0 answered, 0 possible\n"
    )


def test_markdown_is_a_table() -> None:
    """For a pull request; pipes do not end a cell."""
    result = diff(
        ORDERS, with_rule("{id: all, effect: allow, from: anyone, when: 'has_user || !has_user'}"), "--markdown"
    )
    assert "| **DENY → ALLOW** | `anonymous` |" in result.stdout
    assert all(line.replace("\\|", "").count("|") == 7 for line in result.stdout.splitlines() if line.startswith("|"))


def test_json_has_the_example_in_parts() -> None:
    """For machines."""
    [row] = differences(OPEN, ORDERS)
    assert row == {
        "change": "closed",
        "possible": False,
        "caller": "user of corp",
        "operation": "GET orders.shop.example/orders/{order_id}",
        "before": {
            "decision": "allow",
            "reason": "allowed",
            "rule": "orders/readers",
            "service": "orders",
            "status": None,
        },
        "after": {
            "decision": "deny",
            "reason": "no_rule_allows",
            "rule": None,
            "service": "orders",
            "status": 403,
        },
        "conditions": [],
        "example": {
            "method": "GET",
            "host": "orders.shop.example",
            "path": "/orders/x",
            "user": {"issuer": "corp", "subject": "somebody"},
            "now": row["example"]["now"],  # type: ignore[index]
        },
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("id: readers", "id: others"),
        ("effect: allow", "effect: allow\n        description: They read."),
        ('methods: [GET], paths: ["/orders/{order_id}"]', 'paths: ["/orders/{number}"], methods: [GET]'),
        ("from: [{", "from: [{users: {issuer: corp, scopes: [read, write]}}, {"),
    ],
)
def test_what_says_the_same_is_no_difference(before: str, after: str) -> None:
    """Names, descriptions, captures that nobody reads, and what is covered anyhow."""
    result = diff(ORDERS, ORDERS.replace(before, after))
    assert (result.exit_code, result.stdout) == (0, "no request is decided differently\n")


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("{id: x, effect: allow, from: [{networks: [10.0.0.0/8]}]}", "client 10.0.0.1"),
        ("{id: x, effect: allow, from: anyone, to: [{upgrade: websocket}]}", "upgrade: websocket"),
        ("{id: x, effect: allow, from: anyone, to: [{connect: true}]}", "CONNECT https://orders.shop.example"),
        ("{id: x, effect: allow, from: anyone, to: [{grpc: {service: a.B}}]}", "/a.B/x"),
        ('{id: x, effect: allow, from: anyone, when: \'request.headers["x-a"] == "1"\'}', "x-a: 1"),
        ("{id: x, effect: allow, from: [{users: any}], when: user.claims.level > 2}", '"claims":{"level":3}'),
        ("{id: x, effect: allow, from: [{users: any}], when: '\"w\" in user.scopes'}", '"scopes":["w"]'),
        ("{id: x, effect: allow, from: [{users: any}], requires: {acr: [mfa]}}", '"claims":{"acr":"mfa"}'),
        (
            "{id: x, effect: allow, from: anyone, when: 'workload.within(\"spiffe://a.b/**\")'}",
            "workload spiffe://a.b/x",
        ),
        ("{id: x, effect: allow, from: anyone, to: [{ports: [8443]}]}", "port 8443"),
        ('{id: x, effect: allow, from: anyone, when: \'request.query["q"][0] == "1"\'}', "?q=1"),
        ("{id: x, effect: deny, to: [{methods: [GET]}], answer: {status: 404}}", "DENY 404"),
    ],
)
def test_an_example_has_what_the_rule_asks_for(rule: str, shown: str) -> None:
    """Whatever a rule can ask for."""
    assert shown in diff(ORDERS, with_rule(rule)).stdout


def test_what_rests_on_times_is_asked_at_such_a_time() -> None:
    """Also where the rule does not exist now."""
    rule = "{id: x, effect: allow, from: anyone, schedule: {days: [sat], hours: '22:00-02:00', zone: UTC}}"
    rows = differences(NOBODY, NOBODY.replace("[]", f"[{rule}]"))
    assert {row["change"] for row in rows} == {"opened"}


def test_what_rests_on_a_condition_without_example_is_possible() -> None:
    """No header that was tried fits the expression, and it may be that none does."""
    rule = '{id: x, effect: allow, from: anyone, when: \'request.headers["x-a"].matches("[0-9]{4}")\'}'
    result = diff(NOBODY, NOBODY.replace("[]", f"[{rule}]"))
    assert result.exit_code == 1
    assert "possible: DENY → ALLOW" in result.stdout
    assert "none found: it depends on the conditions" in result.stdout
    assert "0 opened, 0 closed, 0 answered" in result.stdout


OWN = "{id: own, effect: allow, from: [{users: {issuer: corp}}], when: user.claims.team == 'a'}"
SUPPORT = "{id: support, effect: allow, from: [{users: {issuer: corp, groups: [support]}}]}"
SEALED = "{id: sealed, effect: deny, from: anyone}"


def test_a_row_names_the_conditions_that_it_rests_on_and_no_others() -> None:
    """A wide opening must not read like a narrow one, because another rule that fits has a condition."""
    before, after = (NOBODY.replace("[]", f"[{OWN}, {SUPPORT}{more}]") for more in (f", {SEALED}", ""))
    rows = {row["after"]["rule"]: row for row in differences(before, after)}  # type: ignore[index]
    assert rows["orders/own"]["conditions"] == ["user.claims.team == 'a'"]
    assert rows["orders/support"]["conditions"] == []
    assert "    rests on user.claims.team == 'a'\n" in diff(before, after).stdout


def test_conditions_that_change_nothing_alone_are_named_together() -> None:
    """Either of two rules allows it."""
    one, other = ("request.method == 'GET'", "request.host == 'orders.shop.example'")
    rules = ", ".join(
        f'{{id: r{number}, effect: allow, from: anyone, when: "{condition}"}}'
        for number, condition in enumerate((one, other))
    )
    before, after = (NOBODY.replace("[]", f"[{rules}{more}]") for more in (f", {SEALED}", ""))
    rows = {row["after"]["rule"]: row["conditions"] for row in differences(before, after)}  # type: ignore[index]
    assert rows == {"orders/r0": [one, other], "orders/r1": [other]}


def test_what_was_found_is_not_possible_beside_it() -> None:
    """A condition that no comparison explores has an example for a user with a claim: one row, not two."""
    rule = (
        "{id: x, effect: allow, from: [{users: {issuer: corp}}], to: [{paths: ['/a/{id}']}], "
        "when: 'user.claims.customer == path.id.split(\"-\")[0]'}"
    )
    result = diff(NOBODY, NOBODY.replace("[]", f"[{rule}]"))
    assert "1 opened, 0 closed, 1 answered, 0 possible" in result.stdout


def test_another_answer_is_a_difference() -> None:
    """The upstream gets another header."""
    old, new = (f"{ORDERS}        answer: {{set_headers: {{x-a: \"'{value}'\"}}}}\n" for value in "12")
    [row] = differences(old, new)
    assert row["change"] == "answered"


def test_a_service_in_audit_denies_nothing() -> None:
    """What its rules would deny is allowed."""
    rows = differences(ORDERS, ORDERS.replace("name: orders", "name: orders\n    mode: audit"))
    assert {row["change"] for row in rows} == {"opened"}


def test_what_was_not_compared_is_said() -> None:
    """Without a difference, too: nobody can say that changed policies decide the same."""
    lenient = ORDERS.replace("name: orders", "name: orders\n    paths: lenient")
    assert diff(lenient, lenient).exit_code == 0
    result = diff(lenient, lenient.replace("id: readers", "id: others"))
    assert result.exit_code == 1
    assert "as far as was compared\n  not compared: paths with several readings" in result.stdout


def test_a_service_that_takes_a_host_from_another_is_shown() -> None:
    """The other one has not changed, and no longer speaks for the host."""
    wide = OPEN.replace("hosts: [orders.shop.example]", 'hosts: ["*.shop.example"]')
    other = "kind: service\nname: other\nhosts: [orders.shop.example]\nrules: []\n"
    write_policies(Path("new"), {"other.yaml": other})
    result = diff(wide, wide)
    assert "ALLOW → DENY  GET orders.shop.example/orders/{order_id}\n  user of corp\n" in result.stdout


def test_a_comparison_that_takes_too_long_is_cut() -> None:
    """What was found until then is shown, and that it is not all."""
    plans = []
    for name, text in (("old", ORDERS), ("new", OPEN)):
        loaded = load_policies(write_policies(Path(name), {"orders.yaml": text}))
        assert loaded.plan is not None
        plans.append(loaded.plan)
    assert list(compare(plans[0], plans[1], 0.0, timeout_s=0.0).cut) == ["what was left after 0 s (--timeout)"]


def test_wrong_policies_are_wrong_usage() -> None:
    """Exit code 2, as what is compared is not there."""
    result = diff(ORDERS, "kind: service\n")
    assert result.exit_code == 2
    assert "orders.yaml:1:1" in result.stderr


@pytest.mark.parametrize("options", [["--now", "yesterday"], ["--json", "--markdown"]])
def test_wrong_options_are_wrong_usage(options: list[str]) -> None:
    """Exit code 2."""
    assert diff(ORDERS, ORDERS, *options).exit_code == 2
