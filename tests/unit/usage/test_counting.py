"""What is counted of the records of decisions."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.policy.plan import Plan
from authz_server.usage.counted import MAX_SHAPES, MAX_USERS, MAX_USES, Seen, Use
from authz_server.usage.counting import WAITING, Counting
from authz_server.usage.state import REVISIONS, State, decode, encode
from tests.builders import plan_of
from tests.unit.usage.records import BATCH, DAY, NOW, WEB, counted, counting_of, line

ORDERS = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: reads
        effect: allow
        from: [{workloads: ["spiffe://shop.example/**"]}, {users: any}]
        to:
          - {methods: [GET], paths: ["/orders/{order_id}", "/archive/**"]}
          - {methods: [HEAD]}
          - {grpc: {service: orders.v1.Orders}}
      - {id: everybody, effect: allow, from: anyone, when: "true"}
      - {id: no-trace, effect: deny, to: [{methods: [TRACE]}, {methods: [PUT]}]}
      - {id: soon, effect: deny, mode: audit, to: [{methods: [POST]}]}
"""


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    """The policies of this module."""
    return plan_of(tmp_path, orders=ORDERS)


def use(**fields: Any) -> Use:
    """The use that a plain record tells of, with some fields of its own."""
    return Use(0, WEB, None, 0, 0, "GET", "")._replace(**fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, use()),
        ({"path": "/archive/2025/list"}, use(template=1, shape="/{:int}/list")),
        ({"path": "/archive/a/"}, use(template=1, shape="/a/")),
        (
            {"method": "HEAD", "path": "/", "items": [0, 1]},
            use(operation_item=1, template=None, method="HEAD", shape="/"),
        ),
        (
            {"method": "POST", "path": "/orders.v1.Orders/Get", "items": [0, 2]},
            use(operation_item=2, method="POST", shape="/Get"),
        ),
        (
            {"workload": None, "user": {"issuer": "corp", "subject": "ann"}, "items": [1, 0]},
            use(caller_item=1, workload=None, issuer="corp"),
        ),
    ],
)
def test_a_use_is_who_and_what(plan: Plan, fields: dict[str, Any], expected: Use) -> None:
    """By which items, and what the template leaves open; a user is one of the issuer's."""
    rule = counted(plan, [line(plan, NOW - DAY, **fields), line(plan, **fields)])
    assert rule.uses == {expected: Seen(2, NOW - DAY, NOW)}
    assert rule.seen == rule.items[expected.caller_item, expected.operation_item] == Seen(2, NOW - DAY, NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/orders/7[+90 characters]"},
        {"workload": "spiffe://shop.example/a[+90 characters]"},
        {"traits": {"cut": True}},
        {"path": "/orders//7"},
        {"path": None},
    ],
)
def test_what_a_record_does_not_say_is_not_guessed(plan: Plan, fields: dict[str, Any]) -> None:
    """The rule and its items are used; by whom and for what is not listed."""
    rule = counted(plan, [line(plan, **fields)])
    assert (rule.seen.count, rule.items, rule.uses) == (1, {(0, 0): Seen(1, NOW, NOW)}, {})
    assert rule.unlisted == Seen(1, NOW, NOW)


def test_older_records_tell_items_of_rules_with_one_of_each(plan: Plan) -> None:
    """Of others it is not known by which items they fit."""
    older: dict[str, Any] = {"items": None}
    assert counted(plan, [line(plan, **older)]).unknown_items == Seen(1, NOW, NOW)
    rule = counted(plan, [line(plan, rule="orders/everybody", **older)], "orders/everybody")
    assert rule.items == {(None, None): Seen(1, NOW, NOW)}


def test_rules_that_deny_and_rules_in_audit_are_counted(plan: Plan) -> None:
    """Of those in audit, that they would have decided."""
    denied = line(plan, decision="deny", rule="orders/no-trace", items=[None, 1], audited=["orders/soon"])
    counting = counting_of(plan)
    counting.add([denied])
    rules = counting.state.rules
    assert rules["orders/no-trace"].items == {(None, 1): Seen(1, NOW, NOW)}
    assert rules["orders/soon"].seen == rules["orders/soon"].unknown_items == Seen(1, NOW, NOW)


def test_a_rule_keeps_its_history_as_long_as_it_decides_alike(plan: Plan, tmp_path: Path) -> None:
    """Whatever becomes of its description, its answer and other rules; when it changes it begins anew."""
    counting = counting_of(plan)
    counting.add([line(plan), line(plan, rule="orders/everybody", items=[None, None])])
    edited = ORDERS.replace('when: "true"', "when: user.issuer == 'corp'").replace(
        "id: reads", "id: reads\n        description: Reads."
    )
    later = plan_of(tmp_path / "later", orders=edited)
    counting.take_up(later, NOW)
    rules = counting.state.rules
    assert (rules["orders/reads"].since, rules["orders/reads"].seen.count) == (NOW - 100 * DAY, 1)
    assert (rules["orders/everybody"].since, rules["orders/everybody"].seen.count) == (NOW, 0)
    # What workers had decided before that does not count for what the rule is now.
    counting.add([line(plan), line(plan, rule="orders/everybody", items=[None, None])])
    assert (rules["orders/reads"].seen.count, rules["orders/everybody"].seen.count) == (2, 0)
    # It was used when it was like this, but nobody has looked since then.
    counting.take_up(plan, NOW + DAY)
    everybody = counting.state.rules["orders/everybody"]
    assert (everybody.since, everybody.seen.count) == (NOW + DAY, 1)


def test_decisions_that_come_before_their_policies_wait(plan: Plan, tmp_path: Path) -> None:
    """Workers switch a little earlier than is reported; what no revision explains is counted as such."""
    later = plan_of(tmp_path / "later", orders=ORDERS.replace("[GET]", "[GET, PUT]"))
    counting = counting_of(plan)
    counting.add([line(later), line(None, revision="e" * 32)])
    assert counting.state.unplaced.count == 0
    counting.take_up(later, NOW)
    assert counting.state.rules["orders/reads"].seen.count == 1
    assert counting.state.unplaced.count == 1


def test_what_waits_is_bounded(plan: Plan) -> None:
    """The rest is counted as decisions of policies that are not known."""
    counting = counting_of(plan)
    counting.add([line(None, revision="e" * 32)] * (WAITING.entries + 3))
    assert counting.state.unplaced.count == 3


def test_a_candidates_decisions_count_for_rules_that_are_the_same_in_force(plan: Plan, tmp_path: Path) -> None:
    """Those of its other rules are remembered for the time when they are."""
    candidate = plan_of(tmp_path / "candidate", orders=ORDERS.replace("[HEAD]", "[HEAD, PUT]"))
    counting = counting_of(plan)
    counting.take_up_candidate(candidate)
    everybody: dict[str, Any] = {"rule": "orders/everybody", "items": [None, None]}
    counting.add([line(candidate, policies="candidate"), line(candidate, policies="candidate", **everybody)])
    rules = counting.state.rules
    assert (rules["orders/reads"].seen.count, rules["orders/everybody"].seen.count) == (0, 1)
    assert counting.state.candidate.count == 1
    counting.take_up(candidate, NOW + DAY)
    promoted = counting.state.rules["orders/reads"]
    assert (promoted.since, promoted.seen.count, promoted.uses) == (NOW + DAY, 1, {use(): Seen(1, NOW, NOW)})


def test_decisions_of_a_candidate_that_is_not_known_are_counted(plan: Plan) -> None:
    """How many they are."""
    counting = counting_of(plan)
    counting.add([line(plan, policies="candidate"), line(plan)])
    counting.take_up_candidate(plan)
    counting.take_up_candidate(None)
    counting.add([line(plan, policies="candidate")])
    assert (counting.state.candidate.count, counting.state.rules["orders/reads"].seen.count) == (2, 1)


def test_lost_records_are_remembered(plan: Plan) -> None:
    """Those of one hour together."""
    counting = counting_of(plan)
    counting.add(
        [line(plan, time, type="gap", dropped=dropped) for time, dropped in ((NOW, 3), (NOW + 9, 4), (NOW + DAY, None))]
    )
    assert [(gap.first, gap.last, gap.records) for gap in counting.state.gaps] == [
        (NOW, NOW + 9, 7),
        (NOW + DAY, NOW + DAY, None),
    ]
    assert counting.state.decisions == 0


def test_lines_that_are_no_records_do_no_harm(plan: Plan) -> None:
    """Neither JSON of another kind, nor none."""
    assert counted(plan, [b"", b"[]", b"\xff", b'{"time": 3}', line(plan)]).seen.count == 1


def test_users_are_a_number(plan: Plan) -> None:
    """Up to a bound."""
    users = [{"issuer": "corp", "subject": f"u{number}"} for number in range(MAX_USERS)]
    rule = counted(plan, [line(plan, user=user) for user in users] * 2)
    assert (len(rule.users), rule.more_users) == (MAX_USERS, False)
    rule = counted(plan, [line(plan, user=user) for user in [*users, {"issuer": "partner", "subject": "u0"}]])
    assert (len(rule.users), rule.more_users) == (MAX_USERS, True)


def test_many_shapes_become_few_that_cover_them(plan: Plan) -> None:
    """Nothing is lost but the names; what comes later is counted with what it has become a part of."""
    words = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    rule = counted(plan, [line(plan, path=f"/archive/{word}/text") for word in [*words, *words]])
    assert rule.uses == {use(template=1, shape="/{:text}/text"): Seen(2 * len(words), NOW, NOW)}
    assert len(words) > MAX_SHAPES


def test_kinds_of_uses_are_bounded(plan: Plan) -> None:
    """What is more is counted for the rule and its items alone."""
    rule = counted(plan, [line(plan, workload=f"{BATCH}{number}") for number in range(MAX_USES + 5)])
    assert (len(rule.uses), rule.unlisted.count, rule.items[0, 0].count) == (MAX_USES, 5, MAX_USES + 5)


def test_what_is_counted_can_be_kept(plan: Plan) -> None:
    """And goes on in a later run."""
    counting = counting_of(plan)
    counting.add([line(plan, user={"issuer": "corp", "subject": "ann"}), line(plan, type="gap", dropped=1)])
    state = decode(encode(counting.state))
    assert state == counting.state
    again = Counting(state)
    again.take_up(plan, NOW + DAY)
    again.add([line(plan)])
    rule = again.state.rules["orders/reads"]
    assert (rule.since, rule.seen.count, state.index) == (NOW - 100 * DAY, 2, 1)


def test_what_was_used_long_ago_is_forgotten(plan: Plan, tmp_path: Path) -> None:
    """Kinds of uses, gaps, and rules that are no longer there; that a rule was used stays."""
    counting = counting_of(plan)
    counting.add([line(plan, NOW - 50 * DAY), line(plan, NOW - 50 * DAY, type="gap", dropped=1)])
    counting.add([line(plan, NOW - 9 * DAY, rule="orders/everybody", items=[None, None])])
    counting.take_up(
        plan_of(tmp_path / "none", orders=ORDERS.replace("reads", "read").replace("everybody", "all")), NOW
    )
    assert {name for name, _ in counting.state.before} == {"orders/reads", "orders/everybody"}
    counting.forget(NOW - 20 * DAY)
    assert ({name for name, _ in counting.state.before}, counting.state.gaps) == ({"orders/everybody"}, [])


def test_revisions_are_bounded(plan: Plan, tmp_path: Path) -> None:
    """The oldest go."""
    counting = Counting(State(began=NOW))
    for number in range(REVISIONS.entries + 2):
        changed = ORDERS.replace("orders.shop", f"orders{number}.shop")
        counting.take_up(plan_of(tmp_path / str(number), orders=changed), NOW)
    assert len(counting.state.revisions) == REVISIONS.entries
    assert counting.state.rules["orders/reads"].index == REVISIONS.entries + 2
