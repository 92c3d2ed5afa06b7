"""What rules could say instead, and the files that say it."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.policy.files import read_directory
from authz_server.policy.parsing import parse_policy
from authz_server.policy.plan import Plan
from authz_server.pruning.edits import CannotEdit, edited
from authz_server.pruning.narrowing import MAX_PATHS, Edit, narrowings_of, template_of
from authz_server.usage.findings import findings_of
from authz_server.usage.found import Place
from tests.builders import plan_of, write_policies
from tests.unit.usage.records import BATCH, NOW, WEB, counting_of, line

FRONT = "spiffe://shop.example/ns/front/**"
ORDERS = f"""\
# Who reads orders.
kind: service
name: orders
hosts: [orders.shop.example]

rules:
  # The shop.
  - id: reads
    effect: allow
    from:
      # Everything of the front.
      - workloads: ["{FRONT}", "{BATCH}"]
      # Users, one day.
      - users: any
    to:
      - methods: [GET, HEAD]  # reading
        paths:
          - "/orders/{{order_id}}"  # one
          - /archive/**  # all of them
      - paths: [/search]
      - grpc: {{service: orders.v1.Orders}}

  # The last one.
  - {{id: all, effect: allow, from: [{{networks: ["10.0.0.0/8"]}}]}}
  - {{id: rest, effect: allow, from: anyone, to: [{{methods: [PUT], paths: ["/a/{{b...}}"]}}], when: path.b != ""}}
  - {{id: sales, effect: allow, from: anyone, to: [{{methods: [GET]}}], valid: {{from: "2025-01-01T00:00:00Z"}}}}
  - {{id: soon, effect: allow, mode: audit, from: anyone, to: [{{methods: [GET]}}]}}
  - {{id: no-trace, effect: deny, to: [{{methods: [TRACE]}}]}}
"""


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, orders=ORDERS)


def edits(plan: Plan, *uses: dict[str, Any]) -> dict[tuple[str, Place], tuple[object, ...] | None]:
    """What can be narrowed after these uses."""
    counting = counting_of(plan)
    counting.add([line(plan, **use) for use in uses])
    narrowings = narrowings_of(findings_of(counting.state, plan, NOW, 30), plan)
    return {(each.rule, edit.place): edit.becomes for each in narrowings for edit in each.edits}


def test_what_nobody_used_goes_and_what_is_wide_becomes_what_was_used(plan: Plan) -> None:
    """By rule, item and list; a rule that is there at times, in audit or denies stays."""
    uses: list[dict[str, Any]] = [
        {"path": "/archive/2025/list"},
        {"items": [0, 1], "path": "/search", "method": "PUT"},
        {"rule": "orders/rest", "items": [None, 0], "method": "PUT", "path": "/a/b"},
    ]
    assert edits(plan, *uses) == {
        ("orders/reads", ("from", 1)): None,
        ("orders/reads", ("from", 0, "workloads")): (WEB,),
        ("orders/reads", ("to", 2)): None,
        ("orders/reads", ("to", 0, "methods")): ("GET",),
        ("orders/reads", ("to", 0, "paths")): ("/archive/{archive_id:int}/list",),
        ("orders/reads", ("to", 1, "methods")): ("PUT",),
        ("orders/all", ()): None,
    }


def test_a_rule_without_operations_gets_those_that_were_used(plan: Plan) -> None:
    """Paths with the same methods together; calls of a gRPC service by their names."""
    paths = [("GET", "/a"), ("GET", "/b/7"), ("PUT", "/c/x/"), ("GET", "/c/x/")]
    every: dict[str, Any] = {"rule": "orders/all", "items": [0, None]}
    uses: list[dict[str, Any]] = [every | {"method": method, "path": path} for method, path in paths]
    call: dict[str, Any] = {"items": [0, 2], "method": "POST", "path": "/orders.v1.Orders/Get"}
    found = edits(plan, *uses, call)
    assert found["orders/all", ("to",)] == (
        {"methods": ["GET"], "paths": ["/a", "/b/{b_id:int}"]},
        {"methods": ["GET", "PUT"], "paths": ["/c/x/"]},
    )
    assert found["orders/reads", ("to", 2, "grpc", "methods")] == ("Get",)


def test_what_was_used_in_many_ways_stays_wide(plan: Plan) -> None:
    """A list that is longer than somebody would write helps nobody."""
    uses = [{"path": f"/archive/{'abcdefghijklmnop'[number]}"} for number in range(MAX_PATHS + 1)]
    assert edits(plan, *uses)["orders/reads", ("to", 0, "paths")] == ("/archive/**",)


@pytest.mark.parametrize(
    ("shape", "template"),
    [
        ("/admin/users/{:int}", "/admin/users/{user_id:int}"),
        ("/{:text}/{:text}", "/{id}/{id_2}"),
        ("/orders/{order_id}/{:uuid}/", "/orders/{order_id}/{order_id_2:uuid}/"),
        ("/", "/"),
    ],
)
def test_open_segments_get_names(shape: str, template: str) -> None:
    """From what stands in front of them, each another one."""
    assert template_of(shape) == template


def edit(directory: Path, *wanted: Edit) -> str:
    """The file after some edits."""
    write_policies(directory, {"orders.yaml": ORDERS})
    [file] = read_directory(directory)[0]
    parsed, _ = parse_policy(file)
    assert parsed is not None
    return edited(parsed, [Edit(("rules", *each.place), each.becomes) for each in wanted]).decode()


def test_comments_of_what_stays_stay(tmp_path: Path) -> None:
    """And those of what goes go with it."""
    wanted = [
        Edit((0, "from", 1)),
        Edit((0, "from", 0, "workloads"), (BATCH, WEB)),
        Edit((0, "to", 0, "paths"), ("/orders/{order_id}", "/archive/list")),
        Edit((0, "to", 1, "methods"), ("GET",)),
        Edit((0, "to", 2, "grpc", "methods"), ("Get",)),
        Edit((1, "to"), ({"methods": ["GET"], "paths": ["/a"]},)),
        *[Edit((number,)) for number in (2, 3, 4, 5)],
    ]
    assert (
        edit(tmp_path, *wanted)
        == f"""\
# Who reads orders.
kind: service
name: orders
hosts: [orders.shop.example]

rules:
  # The shop.
  - id: reads
    effect: allow
    from:
      # Everything of the front.
      - workloads:
          - "{BATCH}"
          - "{WEB}"
    to:
      - methods: [GET, HEAD]  # reading
        paths:
          - "/orders/{{order_id}}"  # one
          - "/archive/list"
      - {{methods: [GET], paths: ["/search"]}}
      - {{grpc: {{service: orders.v1.Orders, methods: [Get]}}}}

  # The last one.
  - id: all
    effect: allow
    from: [{{networks: ["10.0.0.0/8"]}}]
    to: [{{methods: [GET], paths: ["/a"]}}]
"""
    )


def test_nothing_is_written_that_says_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with how it is written."""
    monkeypatch.setattr("authz_server.pruning.edits.rewritten", lambda *_: ORDERS.encode())
    with pytest.raises(CannotEdit):
        edit(tmp_path, Edit((0, "to", 1)))
