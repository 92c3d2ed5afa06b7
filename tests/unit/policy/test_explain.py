"""Why a rule did not apply."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.explain import Explanation
from authz_server.request.operation import canonical_operation
from tests.builders import plan_of, request

POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: r
        effect: %s
        from:
          - workloads: ["spiffe://shop.example/ns/front/**"]
            users:
              issuer: corp
              subjects: [ann]
              scopes: [read, write]
              groups: [staff]
              claims: {customer: c7, level: [1, 2]}
            networks: [10.0.0.0/8]
        to: [{methods: [GET, PUT], paths: ["/orders/{id}"], hosts: [orders.shop.example], ports: [443]}]
        when: request.headers["x-team"] == path.id
"""
ANN = User(
    "corp", "ann", frozenset(["read", "write"]), groups=frozenset(["staff"]), claims={"customer": "c7", "level": 1}
)
WEB = "spiffe://shop.example/ns/front/sa/web"
FITTING: dict[str, Any] = {
    "path": "/orders/a",
    "client_address": "10.1.1.1",
    "destination_port": 443,
    "headers": {"x-team": "a"},
}


def outcome(
    directory: Path, effect: str = "allow", workload: str | None = WEB, user: User | None = ANN, **changes: Any
) -> str:
    """What is said about the one rule."""
    [service] = plan_of(directory, orders=POLICY % effect).services
    operation = canonical_operation(request(**(FITTING | changes)))
    who = None if workload is None else Workload(parse_spiffe_id(workload), None)
    caller = Caller(who, user, operation.client_ip)
    evaluation = Evaluation(operation, who, user, 0.0)
    [said] = Explanation(service, ConditionRuntime(), (), operation, caller, evaluation).outcomes()
    assert (said.rule, said.effect) == ("orders/r", effect)
    return said.outcome


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_rule_that_applies_fits(effect: str, tmp_path: Path) -> None:
    """Whatever its effect."""
    assert outcome(tmp_path, effect) == "fits"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"path": "/stock"}, "path: `/stock` fits none of `/orders/{id}`"),
        ({"method": "POST"}, "method: POST is none of `GET`, `PUT`"),
        ({"headers": {"upgrade": "h2c"}}, "upgrade: `h2c` came, the rule names none"),
        ({"host": "web.shop.example"}, "host: `web.shop.example` fits none of `orders.shop.example`"),
        ({"destination_port": 80}, "port: 80 is none of `443`"),
        ({"destination_port": None}, "port: unknown is none of `443`"),
        ({"workload": None}, "workload: none came, wanted is one of `spiffe://shop.example/ns/front/**`"),
        (
            {"workload": "spiffe://shop.example/ns/back/sa/x"},
            "workload: `spiffe://shop.example/ns/back/sa/x` fits none of `spiffe://shop.example/ns/front/**`",
        ),
        ({"user": None}, "user: no token came"),
        ({"user": User("partner", "ann")}, "user: the issuer is `partner`, not `corp`"),
        ({"user": User("corp", "bob")}, "user: the subject is none of `ann`"),
        ({"user": User("corp", "ann", frozenset(["read"]))}, "user: the scopes lack `write` (has `read`)"),
        ({"user": User("corp", "ann", ANN.scopes)}, "user: the groups have none of `staff` (has none)"),
        (
            {"user": User("corp", "ann", ANN.scopes, groups=ANN.groups, claims={"customer": "c7", "level": 3})},
            "user: the claim `level` has none of the values wanted",
        ),
        ({"client_address": "192.0.2.1"}, "network: 192.0.2.1 is in none of `10.0.0.0/8`"),
        ({"client_address": ""}, "network: the client's address is not known; wanted is `10.0.0.0/8`"),
        ({"headers": {"x-team": "b"}}, "the condition is false"),
        ({"headers": {}}, "the condition could not be evaluated: `request.headers[x-team]` is missing"),
    ],
)
def test_the_first_thing_that_does_not_fit_is_named(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    """With what came and what is wanted."""
    assert outcome(tmp_path, **changes) == why


def test_of_several_ways_the_nearest_is_named(tmp_path: Path) -> None:
    """A rule with an item for this path says what is missing there."""
    policy = """\
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: r
            effect: allow
            from: [{roles: [staff]}]
            to: [{paths: [/a]}, {paths: [/b], methods: [PUT]}, {paths: [/c]}]
    """
    roles = """\
        kind: roles
        roles: {staff: [{users: {issuer: corp, groups: [support]}}, {anonymous: true}]}
    """
    [service] = plan_of(tmp_path, orders=policy, roles=roles).services
    runtime = ConditionRuntime()

    def said(path: str) -> str:
        operation = canonical_operation(request(path=path))
        user = User("corp", "ann")
        caller, evaluation = Caller(None, user, None), Evaluation(operation, None, user, 0.0)
        [of_rule] = Explanation(service, runtime, (), operation, caller, evaluation).outcomes()
        return of_rule.outcome

    assert said("/b") == "method: GET is none of `PUT`"
    assert said("/a") == "role: user: the groups have none of `support` (has none)"


def nearest(directory: Path, policy: str, **changes: Any) -> list[tuple[str, list[tuple[str, str]], str | None]]:
    """The nearest allow rules: their names, what they lack, and their conditions."""
    [service] = plan_of(directory, orders=policy).services
    operation = canonical_operation(request(**(FITTING | changes)))
    caller, evaluation = Caller(None, ANN, operation.client_ip), Evaluation(operation, None, ANN, 0.0)
    found = Explanation(service, ConditionRuntime(), (), operation, caller, evaluation).nearest(2)
    return [(each.rule, [(lack.demand, lack.found) for lack in each.lacks], each.condition) for each in found]


NEAR = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: elsewhere, effect: allow, from: anyone, to: [{paths: [/stock]}]}
      - id: three
        effect: allow
        from: [{users: {issuer: corp, scopes: [pay], claims: {level: [2], customer: c7}}, networks: [192.0.2.0/24]}]
      - {id: fits, effect: allow, from: anyone, to: [{methods: [GET]}]}
      - {id: rehearsed, effect: allow, mode: audit, from: anyone, to: [{methods: [PUT]}]}
      - {id: wrong, effect: allow, from: anyone, to: [{paths: ["/{id}/a"]}], when: path.id == "x"}
      - {id: denies, effect: deny, from: anyone, to: [{methods: [PUT]}]}
"""


def test_the_nearest_rules_lack_least_and_tell_all_of_it(tmp_path: Path) -> None:
    """Those about the operation first; neither deny rules, nor rules in audit, nor what fits."""
    assert nearest(tmp_path, NEAR) == [
        ("orders/wrong", [("when", "the condition is false")], 'path.id == "x"'),
        (
            "orders/three",
            [
                ("scopes", "user: the scopes lack `pay` (has `read`, `write`)"),
                ("claims", "user: the claim `level` has none of the values wanted"),
                ("networks", "network: 10.1.1.1 is in none of `192.0.2.0/24`"),
            ],
            None,
        ),
    ]


def test_where_no_rule_has_the_path_those_that_begin_like_it_are_nearest(tmp_path: Path) -> None:
    """A condition on a capture cannot be asked of them."""
    policy = NEAR.replace("  - {id: fits, effect: allow", "  - {id: fits, effect: deny").replace("id: three", "id: x")
    policy = policy.replace("networks: [192.0.2.0/24]}]", "networks: [192.0.2.0/24]}]\n        to: [{paths: [/x]}]")
    assert nearest(tmp_path, policy, path="/stock/7/c") == [
        ("orders/elsewhere", [("paths", "path: `/stock/7/c` fits none of `/stock`")], None),
        ("orders/wrong", [("paths", "path: `/stock/7/c` fits none of `/{id}/a`")], None),
    ]


def test_an_upgrade_that_a_rule_does_not_name_is_all_that_is_told(tmp_path: Path) -> None:
    """Nothing else can fit either."""
    [first, _] = nearest(tmp_path, NEAR, headers={"upgrade": "websocket"})
    assert first[1] == [("upgrade", "upgrade: `websocket` came, the rule names none")]
