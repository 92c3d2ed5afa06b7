"""What can be told of policies by what was counted."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.policy.plan import Plan
from authz_server.usage.findings import findings_of
from authz_server.usage.found import Findings, Place
from tests.builders import plan_of
from tests.unit.usage.records import BATCH, DAY, NOW, WEB, counting_of, line

FRONT = "spiffe://shop.example/ns/front/**"
ORDERS = f"""
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: reads
        effect: allow
        from: [{{workloads: ["{FRONT}", "{BATCH}"]}}, {{users: any}}]
        to:
          - {{methods: [GET, HEAD], paths: ["/orders/{{order_id}}", "/archive/**"]}}
          - {{paths: [/search]}}
          - {{grpc: {{service: orders.v1.Orders, methods: [Get, List]}}}}
"""
OTHERS = (
    ORDERS
    + """
      - {id: calls, effect: allow, from: anyone, to: [{grpc: {service: orders.v1.Orders}}]}
      - {id: all, effect: allow, from: [{networks: ["10.0.0.0/8"]}]}
      - {id: no-trace, effect: deny, to: [{methods: [TRACE]}, {methods: [PUT]}]}
      - {id: soon, effect: allow, mode: audit, from: anyone}
      - {id: sales, effect: allow, from: anyone, valid: {from: "2026-11-20T00:00:00Z"}}
"""
)


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, orders=ORDERS)


def found(plan: Plan, *uses: dict[str, Any], since: float = NOW - 100 * DAY, days: float = 30) -> Findings:
    """What can be told after these uses."""
    counting = counting_of(plan, since)
    counting.add([line(plan, **use) for use in uses])
    return findings_of(counting.state, plan, NOW, days)


def unused(findings: Findings) -> dict[tuple[str, Place], tuple[str, float, bool]]:
    """What nobody has used, and since when."""
    return {(each.rule, each.place): (each.grants, each.since, each.ever) for each in findings.unused}


def test_parts_that_nobody_used_are_told_with_the_last_use(plan: Plan) -> None:
    """Items, and of those that were used methods, paths and workloads."""
    began, before = NOW - 100 * DAY, NOW - 40 * DAY
    uses = [{}, {"time": before, "method": "HEAD"}, {"time": before, "items": [1, 1], "path": "/search"}]
    assert unused(found(plan, *uses)) == {
        ("orders/reads", ("from", 0, "workloads", 1)): (BATCH, began, False),
        ("orders/reads", ("from", 1)): ("any user", before, True),
        ("orders/reads", ("to", 0, "methods", 1)): ("HEAD", before, True),
        ("orders/reads", ("to", 0, "paths", 1)): ("/archive/**", began, False),
        ("orders/reads", ("to", 1)): ("every method /search", before, True),
        ("orders/reads", ("to", 2)): ("gRPC orders.v1.Orders (Get, List)", began, False),
    }


def test_of_a_rule_that_nobody_used_the_parts_are_not_told(plan: Plan) -> None:
    """The rule is enough."""
    assert unused(found(plan)) == {("orders/reads", ()): ("the rule", NOW - 100 * DAY, False)}


def test_calls_that_nobody_made_are_told(plan: Plan) -> None:
    """By their names."""
    call = {"items": [0, 2], "method": "POST", "path": "/orders.v1.Orders/List"}
    place: Place = ("to", 2, "grpc", "methods", 0)
    assert unused(found(plan, call))["orders/reads", place] == ("orders.v1.Orders/Get", NOW - 100 * DAY, False)


def test_wide_grants_are_told_with_what_was_used_of_them(plan: Plan) -> None:
    """And who used how much of the rule."""
    archive = {"path": "/archive/2025/list"}
    findings = found(plan, archive, archive, {"items": [0, 1], "path": "/search", "workload": BATCH, "method": "PUT"})
    assert {(each.place, each.grants, each.used) for each in findings.wide} == {
        (("from", 0, "workloads", 0), FRONT, (WEB,)),
        (("to", 0, "paths", 1), "/archive/**", ("/archive/{:int}/list",)),
        (("to", 1, "methods"), "every method", ("PUT",)),
    }
    assert [(each.caller, each.operations, each.decisions) for each in findings.called] == [
        (WEB, ("GET /archive/{:int}/list",), 2),
        (BATCH, ("PUT /search",), 1),
    ]


def test_rules_without_bounds_are_wide(tmp_path: Path) -> None:
    """Anyone, every operation, every method of a gRPC service."""
    plan = plan_of(tmp_path, orders=OTHERS)
    uses = [
        {"rule": "orders/calls", "items": [None, 0], "method": "POST", "path": "/orders.v1.Orders/Get"},
        {"rule": "orders/all", "items": [0, None], "path": "/a"},
    ]
    assert {(each.rule, each.place, each.grants, each.used) for each in found(plan, *uses).wide} == {
        ("orders/calls", ("from",), "anyone", (WEB,)),
        ("orders/calls", ("to", 0, "grpc", "methods"), "every method of orders.v1.Orders", ("Get",)),
        ("orders/all", ("to",), "every operation", ("GET /a",)),
    }


def test_what_is_special_about_a_rule_is_said(tmp_path: Path) -> None:
    """That it denies, is in audit, or is there at times only."""
    findings = found(plan_of(tmp_path, orders=OTHERS), {})
    rules = {each.rule: (each.effect, each.audit, each.timed) for each in findings.unused if not each.place}
    assert rules["orders/no-trace"] == ("deny", False, False)
    assert rules["orders/soon"] == ("allow", True, False)
    assert rules["orders/sales"] == ("allow", False, True)
    assert "orders/no-trace" not in {each.rule for each in findings.unused_grants}


@pytest.mark.parametrize(("since", "days"), [(NOW - 20 * DAY, 30), (NOW - 100 * DAY, 101)])
def test_of_what_is_too_young_nothing_is_claimed(plan: Plan, since: float, days: float) -> None:
    """Neither of the rule, nor of its parts."""
    findings = found(plan, {}, since=since, days=days)
    assert (findings.unused, findings.wide) == ([], [])
    assert [(each.rule, each.since) for each in findings.young] == [("orders/reads", since)]


def test_of_a_rule_as_nobody_has_counted_it_nothing_is_claimed(plan: Plan, tmp_path: Path) -> None:
    """It was edited, and no server has taken it up."""
    counting = counting_of(plan)
    edited = plan_of(tmp_path / "edited", orders=ORDERS.replace("[/search]", "[/find]"))
    findings = findings_of(counting.state, edited, NOW, 30)
    assert (findings.unused, [(each.rule, each.since) for each in findings.young]) == ([], [("orders/reads", None)])


@pytest.mark.parametrize(("fields", "why"), [({"items": None}, "items"), ({"traits": {"cut": True}}, "uses")])
def test_what_records_do_not_tell_is_not_claimed(plan: Plan, fields: dict[str, Any], why: str) -> None:
    """Without items nothing of the parts; without who and what nothing within the items."""
    findings = found(plan, {}, fields)
    assert [(each.why, each.decisions) for each in findings.unknown] == [(why, 1)]
    assert findings.wide == []
    assert {each.place[0] for each in findings.unused} == (set() if why == "items" else {"from", "to"})
    assert all(len(each.place) == 2 for each in findings.unused)
    # What was not known long ago does not matter.
    assert found(plan, {}, fields | {"time": NOW - 60 * DAY}).unknown == []
