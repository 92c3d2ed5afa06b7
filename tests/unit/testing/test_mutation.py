"""Mutation: a slip in a rule that no test notices is named with its place."""

from pathlib import Path

import pytest

from authz_server.policy.conditions import ConditionCompiler
from authz_server.testing.mutants import mutants_of
from authz_server.testing.sources import sources_of
from tests.unit.testing.policies import Policies, loaded

SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: reads
    effect: allow
    from:
      - workloads: ["spiffe://shop.example/web"]
        users: {issuer: corp, scopes: [read, list], claims: {team: blue}}
      - networks: [10.0.0.0/8]
    to:
      - {methods: [GET, HEAD], paths: ["/orders/{id}"]}
      - {grpc: {service: orders.v1.Orders, methods: [Get, List]}}
    when: [path.id != "0", "!has_user || user.subject != 'bob'"]
    requires: {acr: [mfa]}
    valid: {until: "2026-04-01T00:00:00Z"}
    schedule: {days: [mon], zone: UTC}
    answer: {set_headers: {x-user: user.subject}}
"""


def changes(policies: Policies, rule: str) -> list[str]:
    """All slips of a rule, each with its line."""
    [found] = [each for service in policies.plan.services for each in service.rules if each.id == rule]
    mutants = mutants_of(found, sources_of(policies.files)[rule], ConditionCompiler())
    return [f"{mutant.position.line}: {mutant.change}" for mutant in mutants]


def test_every_demand_and_every_alternative_is_left_out_once(tmp_path: Path) -> None:
    """And the rule as a whole; and it is inverted, and its conditions."""
    assert changes(loaded(tmp_path, {"orders.yaml": SERVICE}), "orders/reads") == [
        "5: without the rule",
        "5: with `effect: deny`",
        "8: `from`, item 1: without the item",
        "8: `from`, item 1: without `workloads`",
        "8: `from`, item 1: without `users`",
        "8: `from`, item 1: without `issuer`",
        "8: `from`, item 1: without `scopes`",
        "8: `from`, item 1: without `read`",
        "8: `from`, item 1: without `list`",
        "8: `from`, item 1: without the claim `team`",
        "10: `from`, item 2: without the item",
        "10: `from`, item 2: without `networks`",
        "12: `to`, item 1: without the item",
        "12: `to`, item 1: without `methods`",
        "12: `to`, item 1: without `GET`",
        "12: `to`, item 1: without `HEAD`",
        "12: `to`, item 1: without `paths`",
        "13: `to`, item 2: without the item",
        "13: `to`, item 2: without `grpc`",
        "13: `to`, item 2: without `methods`",
        "13: `to`, item 2: without `Get`",
        "13: `to`, item 2: without `List`",
        "14: without this condition",
        "14: with this condition inverted",
        "14: without this condition",
        "14: with this condition inverted",
        "18: without `answer`",
        "15: without `requires`",
        "17: without `schedule`",
        "16: without `valid`",
    ]


def test_roles_are_changed_where_a_rule_names_them(tmp_path: Path) -> None:
    """As the rule sees them."""
    roles = "kind: roles\nroles: {support: [{users: {issuer: corp, groups: [support]}}, {anonymous: true}]}\n"
    service = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules: [{id: reads, effect: allow, from: [{roles: [support]}], to: [{paths: [/]}]}]
"""
    found = changes(loaded(tmp_path, {"roles.yaml": roles, "orders.yaml": service}), "orders/reads")
    assert [change for change in found if "roles" in change] == [
        "4: `from`, item 1: without `roles`",
        "4: `from`, item 1: in its roles without the item",
        "4: `from`, item 1: in its roles without `users`",
        "4: `from`, item 1: in its roles without `issuer`",
        "4: `from`, item 1: in its roles without `groups`",
        "4: `from`, item 1: in its roles without the item",
        "4: `from`, item 1: in its roles without `anonymous`",
    ]


SMALL = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: reads
    effect: allow
    from: [{users: {issuer: corp}}]
    to: [{methods: [GET], paths: [/orders]}]
    when: request.query["page"] == ["1"]
  - id: nobody-wipes
    effect: deny
    to: [{methods: [DELETE]}]
"""
CASES = [
    ("as: ann, method: GET, path: '/orders?page=1'", "allow"),
    ("as: ann, method: GET, path: '/orders?page=2'", "deny"),
    ("as: ann, method: POST, path: '/orders?page=1'", "deny"),
    ("as: ann, method: GET, path: '/others?page=1'", "deny"),
    ("as: other, method: GET, path: '/orders?page=1'", "deny"),
    ("method: GET, path: '/orders?page=1'", "deny"),
    ("as: ann, method: DELETE, path: /orders", "deny, rule: nobody-wipes"),
]
NOTICED_BY = {
    1: ["9: without this condition"],
    2: ["8: `to`, item 1: without `methods`"],
    3: ["8: `to`, item 1: without `paths`"],
    4: ["7: `from`, item 1: without `issuer`"],
    6: ["10: without the rule", "10: with `effect: allow`"],
}
"""Case -> what nobody notices without it."""


def survivors(directory: Path, cases: list[tuple[str, str]]) -> list[str]:
    """What these cases do not notice."""
    users = "users: {ann: {issuer: corp, subject: ann}, other: {issuer: partner, subject: ann}}"
    lines = [
        f"  - {{name: '{number}', request: {{host: orders.shop.example, {asked}}}, expect: {{decision: {expected}}}}}"
        for number, (asked, expected) in enumerate(cases)
    ]
    tests = "\n".join(["kind: tests", users, "tests:", *lines])
    return loaded(directory, {"orders.yaml": SMALL, "orders_test.yaml": tests}).survivors()


def test_tests_that_try_every_demand_leave_no_survivor(tmp_path: Path) -> None:
    """Each demand is the only thing that some test lacks."""
    assert survivors(tmp_path, CASES) == []


@pytest.mark.parametrize(("left_out", "unnoticed"), NOTICED_BY.items())
def test_what_one_test_alone_notices_survives_without_it(left_out: int, unnoticed: list[str], tmp_path: Path) -> None:
    """The changes are named, and no others."""
    assert survivors(tmp_path, CASES[:left_out] + CASES[left_out + 1 :]) == unnoticed


def test_an_allow_rule_that_no_test_is_allowed_by_may_go(tmp_path: Path) -> None:
    """Nobody notices its removal, or its inversion."""
    found = survivors(tmp_path, CASES[1:])
    assert {"5: without the rule", "5: with `effect: deny`"} <= set(found)


def test_a_change_of_a_guardrail_is_noticed_in_any_service(tmp_path: Path) -> None:
    """By the tests of the services below it."""
    guardrails = "kind: guardrails\nrules: [{id: no-trace, effect: deny, to: [{methods: [TRACE]}]}]\n"
    service = """
        kind: service
        name: %s
        hosts: [%s.example]
        rules: [{id: all, effect: allow, from: anyone}]
    """
    tests = """
        kind: tests
        matrix:
          host: b.example
          callers: [anonymous]
          requests: {trace: TRACE /, get: GET /}
          allow: {anonymous: [get]}
    """
    files = {"guardrails.yaml": guardrails, **{f"{name}.yaml": service % (name, name) for name in "ab"}}
    assert loaded(tmp_path, {**files, "b_test.yaml": tests}).survivors() == [
        "5: without the rule",
        "5: with `effect: deny`",
    ]


def test_a_guardrail_is_not_inverted(tmp_path: Path) -> None:
    """One that allows is an error of the file, so that nobody can make this slip."""
    guardrails = "kind: guardrails\nrules: [{id: no-trace, effect: deny, to: [{methods: [TRACE]}]}]\n"
    policies = loaded(tmp_path, {"guardrails.yaml": guardrails, "orders.yaml": SERVICE})
    assert changes(policies, "guardrails/no-trace") == ["2: without the rule", "2: `to`, item 1: without `methods`"]


def test_rules_in_audit_have_no_mutants(tmp_path: Path) -> None:
    """They decide nothing, so that no test could notice."""
    audited = SMALL.replace("id: nobody-wipes", "id: nobody-wipes\n    mode: audit").replace(
        "id: reads", "id: reads\n    mode: audit"
    )
    tests = "kind: tests\nmatrix: {callers: [anonymous], requests: {get: GET /}}\n"
    assert loaded(tmp_path, {"orders.yaml": audited, "orders_test.yaml": tests}).survivors() == []


def test_a_path_that_is_partly_another_services_notices_nothing(tmp_path: Path) -> None:
    """It is refused whatever the rules say, although the index of a mutant has no other service."""
    files = """
        kind: service
        name: files
        hosts: [a.example]
        paths: lenient
        rules: [{id: all, effect: allow, from: anyone, to: [{methods: [GET, HEAD]}]}]
    """
    secret = """
        kind: service
        name: secret
        hosts: [a.example]
        path_prefix: /secret
        rules: []
    """
    tests = """
        kind: tests
        matrix:
          host: a.example
          callers: [anonymous]
          requests: {mixed: "GET /a/..%2Fsecret", get: GET /, post: POST /}
          allow: {anonymous: [get]}
    """
    found = loaded(tmp_path, {"files.yaml": files, "secret.yaml": secret, "a_test.yaml": tests})
    assert found.outcomes()["anonymous: mixed"].actual.startswith("deny (ambiguous_path)")
    assert found.survivors() == ["6: `to`, item 1: without `HEAD`"]
