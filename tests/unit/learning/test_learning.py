"""What a first policy allows: what callers were seen to do, and no more."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.identity.settings import IdentitySettings
from authz_server.learning.files import check, files_of
from authz_server.learning.observations import Observations
from authz_server.learning.service import LearnedService, Wishes, learn_services
from authz_server.policy.compiler import KnownNames
from authz_server.policy.patterns import parse_path_template
from tests.recorded import WEB, record_of, user

APP = "spiffe://shop.example/ns/front/sa/app"
EVERYTHING = Wishes(min_count=1)
GRPC = {"traits": {"grpc": "call"}, "method": "POST", "path": "/orders.v1.Refunds/Create"}


def observed(*lines: bytes, known: KnownNames | None = None, allow_anonymous: bool = False) -> Observations:
    """These lines of the audit."""
    observations = Observations(None, known, allow_anonymous=allow_anonymous)
    observations.take(lines)
    return observations


def learned(*lines: bytes, wishes: Wishes = EVERYTHING, allow_anonymous: bool = False) -> list[LearnedService]:
    """The services that are learned from these lines, whose files do what they should."""
    services = learn_services(observed(*lines, allow_anonymous=allow_anonymous), wishes)
    directory = Path("learned")
    checked = check(files_of(services, directory), directory, services, {}, None, IdentitySettings(), 1_772_442_000.0)
    assert checked.good, checked
    return services


def rules(*lines: bytes, **how: Any) -> list[tuple[Any, Any]]:
    """`from` and `to` of the rules of the one service."""
    [service] = learned(*lines, **how)
    return [(rule["from"], rule["to"]) for rule in service.policy()["rules"]]


def test_a_caller_may_do_what_it_did() -> None:
    """By methods of each template."""
    lines = [record_of(path=f"/orders/{n}", method=method) for n in (1, 2) for method in ("GET", "PUT")]
    to = [
        {"methods": ["GET", "PUT"], "paths": ["/orders/{order_id:int}"]},
        {"methods": ["POST"], "paths": ["/orders"]},
    ]
    [(callers, operations)] = rules(*lines, record_of(path="/orders", method="POST"))
    assert callers == [{"workloads": [WEB]}]
    assert sorted(operations, key=str) == sorted(to, key=str)


def test_callers_who_do_the_same_share_a_rule() -> None:
    """With a readable id, and how often and when it was seen."""
    [service] = learned(record_of(), record_of(workload=APP, time="2026-03-04T10:00:00.000000Z"))
    [rule] = service.policy()["rules"]
    assert rule["from"] == [{"workloads": sorted([APP, WEB])}]
    assert rule["id"] == "app-and-1-more-may-read-orders"
    assert rule["description"] == "Learned from 2 records, 2026-03-02 to 2026-03-04."


def test_callers_who_do_something_else_have_rules_of_their_own() -> None:
    """And none may do what only another did."""
    assert rules(record_of(), record_of(workload=APP, method="DELETE")) == [
        ([{"workloads": [APP]}], [{"methods": ["DELETE"], "paths": ["/orders/7"]}]),
        ([{"workloads": [WEB]}], [{"methods": ["GET"], "paths": ["/orders/7"]}]),
    ]


def test_users_are_named_by_their_issuer() -> None:
    """One by one only where they are few, and each was seen again and again."""
    many = [record_of(user=user(f"u{n}")) for n in range(4)]
    assert rules(*many * 5)[0][0] == [{"workloads": [WEB], "users": {"issuer": "corp"}}]
    few = [record_of(user=user("ann")), record_of(user=user("bob"))]
    assert rules(*few * 5)[0][0] == [{"workloads": [WEB], "users": {"issuer": "corp", "subjects": ["ann", "bob"]}}]
    assert rules(*few * 4)[0][0] == [{"workloads": [WEB], "users": {"issuer": "corp"}}]
    never = Wishes(min_count=1, max_subjects=0)
    assert rules(*few * 5, wishes=never)[0][0] == [{"workloads": [WEB], "users": {"issuer": "corp"}}]


def test_what_few_of_many_users_did_seldom_is_left_out() -> None:
    """One who has found a way that nobody else goes opens it for nobody, unless it is told that users are alike."""
    many = [record_of(user=user(f"u{n}")) for n in range(5)]
    odd = [record_of(path="/admin", method="DELETE", user=user("u1"))] * 2
    observations = observed(*many, *odd)
    [service] = learn_services(observations, EVERYTHING)
    assert [each.method for rule in service.rules for each in rule.operations] == ["GET"]
    assert observations.left["few_users"].count == 2
    assert len(rules(*many[:4], *odd)[0][1]) == 2
    assert len(rules(*many, *odd, wishes=Wishes(min_count=1, max_subjects=0))[0][1]) == 2
    [(named, _), _] = rules(*many, *odd, *odd, *odd)
    assert named[0]["users"] == {"issuer": "corp", "subjects": ["u1"]}


def test_who_acts_for_a_user_is_named() -> None:
    """By the actor on record."""
    [(callers, _)] = rules(record_of(user=user(), actor=APP))
    assert callers == [{"workloads": [WEB], "users": {"issuer": "corp", "actors": [APP]}}]


def test_what_another_grant_covers_is_no_rule() -> None:
    """A linter would say so: whatever web may do without a user it may do with one."""
    assert rules(record_of(), record_of(user=user())) == [
        ([{"workloads": [WEB]}], [{"methods": ["GET"], "paths": ["/orders/7"]}])
    ]
    lines = [record_of(path=f"/orders/c{n}-{n}", user=user(f"u{n}")) for n in range(9)]
    named = [record_of(path="/orders/search", user=user("ann"))] * 5
    assert len(rules(*lines, *named)) == 1


def test_grpc_calls_are_granted_as_such() -> None:
    """By service and methods."""
    list_call = GRPC | {"path": "/orders.v1.Refunds/List"}
    [(_, to)] = rules(record_of(**GRPC), record_of(**list_call))
    assert to == [{"grpc": {"service": "orders.v1.Refunds", "methods": ["Create", "List"]}}]


def test_upgrades_are_granted_as_such() -> None:
    """And do not grant the same path without."""
    [(_, to)] = rules(record_of(path="/events", traits={"upgrade": "websocket"}))
    assert to == [{"methods": ["GET"], "paths": ["/events"], "upgrade": "websocket"}]


def test_hosts_are_told_apart_where_there_are_several() -> None:
    """Each operation is granted at the hosts where it was seen."""
    other = "b.shop.example"
    lines = [record_of(), record_of(host=other), record_of(host=other, method="PUT")]
    [(_, to)] = rules(*lines)
    assert {"methods": ["PUT"], "paths": ["/orders/7"], "hosts": [other]} in to
    assert {"methods": ["GET"], "paths": ["/orders/7"]} in to


def test_services_of_one_host_are_told_apart_by_their_prefix() -> None:
    """Else they would claim each other's paths."""
    lines = [record_of(path="/api/orders"), record_of(path="/help/faq", service="shop/web")]
    assert [(service.file, service.path_prefix) for service in learned(*lines)] == [
        ("orders.yaml", "/api/orders"),
        ("shop/web.yaml", "/help/faq"),
    ]


def test_anonymous_requests_are_learned_where_somebody_says_so() -> None:
    """And then for those alone who have no identity."""
    line = record_of(workload=None, path="/health")
    [(callers, _)] = rules(line, allow_anonymous=True)
    assert callers == [{"anonymous": True}]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"decision": "deny", "would_deny": False}, "denied"),
        ({"reason": "denied_by_rule"}, "denied_by_rule"),
        ({"reason": "token_expired"}, "token_expired"),
        ({"reason": "step_up_required"}, "step_up_required"),
        ({"workload": None}, "no_identity"),
        ({"path": "/.env"}, "looks_like_attack"),
        ({"path": "/a/WP-Admin"}, "looks_like_attack"),
        ({"path": "/a%3Cscript%3E"}, "looks_like_attack"),
        ({"path": "/backup.sql"}, "looks_like_attack"),
        ({"path": "/a%2Fb"}, "several_readings"),
        ({"method": "TRACE"}, "unusual_method"),
        ({"method": "PURGE"}, "unusual_method"),
        (GRPC | {"method": "GET"}, "unusual_method"),
        ({"traits": {"upgrade": "h2c"}}, "unusual_upgrade"),
        ({"host": ""}, "unusual_host"),
        ({"path": "/a%E2%80%AEb"}, "looks_like_attack"),
        ({"path": "/:id"}, "not_expressible"),
        (GRPC | {"path": "/a-b/c"}, "not_expressible"),
        ({"user": user("a\u202eb")}, "not_expressible"),
        ({"user": user(" ")}, "not_expressible"),
        ({"service": None}, "no_service"),
        ({"traits": {"cut": True}}, "path_cut"),
        ({"traits": None}, "older_record"),
        ({"type": "gap"}, "gap"),
        ({"calls": 7}, "shed"),
        ({"path": "/a[+9 characters]"}, "cut"),
        ({"workload": "spiffe://other.example/a"}, "unknown_trust_domain"),
        ({"user": user(issuer="elsewhere")}, "unknown_issuer"),
    ],
)
def test_what_looks_wrong_is_left_out(change: dict[str, Any], why: str) -> None:
    """With the reason and an example."""
    known = KnownNames(frozenset({"corp"}), frozenset({"shop.example"}))
    observations = observed(record_of(), record_of(**change), known=known)
    [service] = learn_services(observations, Wishes(min_count=1))
    assert service.records == 1
    assert {name: left.count for name, left in observations.left.items()} == {why: 1}
    assert len(observations.left[why].examples) == 1


def test_well_known_paths_are_no_attack() -> None:
    """RFC 8615."""
    assert len(rules(record_of(path="/.well-known/security.txt"))) == 1


def test_what_a_caller_does_seldom_is_left_out() -> None:
    """Whatever else it does, and whoever else does it."""
    lines = [record_of()] * 2 + [record_of(method="DELETE"), record_of(workload=APP)]
    observations = observed(*lines)
    [service] = learn_services(observations, Wishes(min_count=2))
    assert (service.records, observations.left["seen_too_seldom"].count) == (2, 2)
    assert [each.method for rule in service.rules for each in rule.operations] == ["GET"]


def test_lines_that_are_no_records_are_counted() -> None:
    """And harm nothing."""
    observations = observed(record_of(), b"{", b"\n", b"\xff\n", b"[]")
    assert observations.records == 4
    assert observations.left["unreadable"].count == 3


def test_what_was_left_out_and_is_allowed_all_the_same_is_told() -> None:
    """A template may be too wide: what was denied fits it, or what looks like an attack."""
    lines = [record_of(path=f"/files/{n}a.txt") for n in range(5)]
    denied = record_of(path="/files/9b.txt", decision="deny", would_deny=False, mode="enforce")
    elsewhere = record_of(path="/secret", decision="deny", would_deny=False, mode="enforce")
    observations = observed(*lines, denied, denied, elsewhere, record_of(path="/files/x.txt", method="TRACE"))
    services, directory = learn_services(observations, EVERYTHING), Path("learned")
    files = files_of(services, directory)
    checked = check(files, directory, services, observations.left, None, IdentitySettings(), 0.0)
    assert checked.good
    assert {why: (seen.count, seen.example.path) for why, seen in checked.allowed.items()} == {
        "denied": (2, "/files/9b.txt")
    }


def test_nothing_is_as_wide_as_everything_unless_it_is_told() -> None:
    """However many paths there are."""
    lines = [record_of(path=f"/{'abcdefghij'[n % 10]}{'xyzuvwrst'[n // 10]}/p") for n in range(90)]
    [service] = learned(*lines)
    assert all("**" not in each.path for rule in service.rules for each in rule.operations)
    told = Wishes(min_count=1, templates=(parse_path_template("/static/**"),))
    [(_, to)] = rules(record_of(path="/static/a/b"), record_of(path="/static/c"), wishes=told)
    assert to == [{"methods": ["GET"], "paths": ["/static/**"]}]
