"""Decisions say by which items of their rule they were made."""

from pathlib import Path

import pytest

from authz_server.model import RuleItems
from authz_server.pipeline import check
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, request, snapshot_of

WEB = "spiffe://shop.example/ns/front/sa/web"
BATCH = "spiffe://shop.example/ns/batch/sa/report"
ORDERS = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    paths: lenient
    body: json
    rules:
      - id: reads
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/front/**"]}, {workloads: ["spiffe://shop.example/ns/batch/**"]}]
        to: [{methods: [GET], paths: ["/orders", "/orders/{id}"]}, {methods: [HEAD]}, {paths: ["/orders/{id}/{part}"]}]
      - id: public
        effect: allow
        from: anyone
        to: [{paths: ["/public"]}]
      - id: reports
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/batch/**"]}]
        when: request.path == "/reports"
      - {id: bodies, effect: allow, from: anyone, to: [{paths: [/x]}, {paths: [/body]}], when: body.a == 1}
      - {id: no-trace, effect: deny, to: [{methods: [PATCH]}, {methods: [TRACE]}]}
      - {id: broken, effect: deny, to: [{paths: [/y]}, {paths: [/broken]}], when: user.claims.a == 1}
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The policies of this module."""
    return snapshot_of(plan_of(tmp_path_factory.mktemp("policies"), orders=ORDERS))


@pytest.mark.parametrize(
    ("method", "path", "workload", "rule", "items"),
    [
        ("GET", "/orders/7", WEB, "orders/reads", (0, 0)),
        ("HEAD", "/a", BATCH, "orders/reads", (1, 1)),
        ("GET", "/public", "", "orders/public", (None, 0)),
        ("GET", "/reports", BATCH, "orders/reports", (0, None)),
        ("TRACE", "/orders/7", "", "orders/no-trace", (None, 1)),
        ("GET", "/broken", "", "orders/broken", (None, 1)),
        ("POST", "/body", "", "orders/bodies", (None, 1)),
        ("GET", "/orders", "", None, None),
        ("GET", "/orders/7%2F8", WEB, "orders/reads", None),
    ],
)
def test_the_items_of_the_deciding_rule_are_known(
    snapshot: Snapshot, method: str, path: str, workload: str, rule: str | None, items: RuleItems | None
) -> None:
    """By position; none of a rule that lists none, nor where the readings of a path fit by different ones."""
    decided = check(request(method, path, workload=workload), snapshot, 0.0)
    assert (decided.rule, decided.items) == (rule, items)


def test_rules_that_ask_for_more_say_so_too(tmp_path: Path) -> None:
    """A denial that is not enforced keeps the items of the rule that would have denied."""
    plan = plan_of(tmp_path, orders=ORDERS.replace("- {id: no-trace,", "- {id: no-trace, mode: audit,"))
    allowed = request("TRACE", "/reports", workload=BATCH)
    decided = check(allowed, snapshot_of(plan), 0.0)
    assert (decided.rule, decided.would_deny, decided.items) == ("orders/no-trace", True, (None, 1))
