"""Services with lenient paths: what becomes of a request whose path has several readings."""

import re
from pathlib import Path

import pytest

from authz_server.errors import Reason
from authz_server.model import Decision
from authz_server.pipeline import check
from tests.builders import plan_of, request, snapshot_of

A = Reason.ALLOWED
N = Reason.NO_RULE_ALLOWS
D = Reason.DENIED_BY_RULE
E = Reason.DENY_RULE_ERROR
B = Reason.AMBIGUOUS_PATH
HOST = "orders.shop.example"


def service(*rules: str, name: str = "s", **fields: str) -> str:
    """A lenient service with these rules."""
    settings = {"hosts": f"[{HOST}]", "paths": "lenient"} | fields
    lines = "".join(f"{field}: {value}\n" for field, value in settings.items())
    return f"kind: service\nname: {name}\n{lines}rules: [{', '.join(rules)}]\n"


def allow(*paths: str, id: str = "a", more: str = "") -> str:
    """An allow rule for anyone."""
    return f"{{id: {id}, effect: allow, from: anyone, to: [{{paths: {list(paths)}}}]{more}}}"


def deny(*paths: str, id: str = "d", more: str = "") -> str:
    """A deny rule about everyone."""
    return f"{{id: {id}, effect: deny, to: [{{paths: {list(paths)}}}]{more}}}"


def decision(directory: Path, path: str, *rules: str, **files: str) -> Decision:
    """What is decided about a GET."""
    plan = plan_of(directory, **({"s": service(*rules)} if rules else {}), **files)
    return check(request("GET", path), snapshot_of(plan), 0.0)


@pytest.mark.parametrize(
    ("rules", "path", "reason"),
    [
        *(([allow("/f/**")], "/f/a%2Fb", A), ([allow("/f/{x}")], "/f/a%2Fb", N), ([allow("/f/{x}")], "/f/a%20b", A)),
        *(([allow("/f/{x}", "/f/{x}/{y}")], "/f/a%2Fb", A), ([allow("/f/a b")], "/f/a%20b", N)),
        *(([allow("/f/**")], "/f/../x", N), ([allow("/f/**")], "/f/a/../b", A), ([allow("/f/**")], "/f//a", A)),
        *(([allow("/f/{x}/b")], "/f//b", N), ([allow("/f/{x}")], "/f//", N), ([allow("/f/**")], "/f/a;x=1", A)),
        *(
            ([allow("/**"), deny("/admin")], "/f/..%2fadmin", D),
            ([allow("/**"), deny("/admin/**")], "/f/..;/ADMIN/x", D),
        ),
        *(([allow("/**"), deny("/f/{x}/b")], "/f//b", A), ([allow("/**"), deny("/f/b")], "/f//B.", D)),
        (
            [allow("/**"), deny("/f/{x}", more=", when: 'path.x == \"a/b\"'")],
            "/f/a%2Fb",
            D,
        ),
        ([allow("/**"), deny("/f/{x}", more=", when: 'path.x == \"a%2Fb\"'")], "/f/a%2Fb", D),
        ([allow("/**"), deny("/f/**", more=', when: \'request.headers["x"] == "a"\'')], "/f/a%2Fb", E),
        ([allow("/f/{x}", more=", when: 'path.x == \"a b\"'")], "/f/a%20b", N),
        ([allow("/f/{x}", more=', when: \'path.x in ["a b", "a%20b"]\'')], "/f/a%20b", A),
    ],
)
def test_all_readings_are_allowed_or_it_is_denied(tmp_path: Path, rules: list[str], path: str, reason: Reason) -> None:
    """A deny rule that fits any of them denies."""
    decided = decision(tmp_path, path, *rules)
    assert decided.reason is reason, decided.detail
    assert decided.path == re.split("[;?#]|%3b", path, flags=re.IGNORECASE)[0]


def test_the_detail_says_how_the_path_was_read(tmp_path: Path) -> None:
    """The steps, and nothing of the path; the record has that anyhow."""
    decided = decision(tmp_path, "/secret/..%2fadmin", allow("/**"), deny("/admin"))
    assert decided.detail == "the path read decoded, dots resolved"
    failed = decision(tmp_path, "/f/a%20b", allow("/f/{x}", more=', when: \'request.headers["x"] == "a"\''))
    assert failed.detail == "the path read as sent: s/a: `request.headers[x]` is missing"


@pytest.mark.parametrize(
    ("rules", "reason", "rule"),
    [
        ([allow("/f/{x}", id="b"), allow("/f/{x}/{y}", id="a")], A, "s/a"),
        (
            [allow("/f/{x}", id="b"), allow("/f/{x}/{y}", id="a", more=", answer: {set_headers: {x-r: \"'1'\"}}")],
            N,
            None,
        ),
        (
            [
                allow("/f/{x}", id="a", more=", answer: {set_headers: {x-r: \"'1'\"}}"),
                allow("/f/{x}/{y}", id="b", more=", answer: {set_headers: {x-r: \"'1'\"}}"),
            ],
            A,
            "s/a",
        ),
        ([allow("/f/{x}", id="a", more=", answer: {set_headers: {x-r: \"'1'\"}}"), allow("/f/**", id="b")], A, "s/b"),
        ([allow("/f/{x...}", more=", answer: {set_headers: {x-r: path.x}}")], N, None),
        ([allow("/f/{x...}", more=", answer: {set_headers: {x-r: request.method}}")], A, "s/a"),
        (
            [
                allow("/f/{x}", id="a", more=", answer: {set_headers: {x-r: \"'1'\"}}, requires: {acr: [mfa]}"),
                allow("/f/**", id="b", more=", answer: {set_headers: {x-r: \"'2'\"}}"),
                allow("/f/{x}", id="c", more=", answer: {set_headers: {x-r: 'request.headers[\"x-no\"]'}}"),
                allow("/f/{x}", id="d", more=", valid: {from: '2026-01-01T00:00:00Z'}"),
                allow("/f/{x}/{y}", id="e"),
            ],
            A,
            "s/b",
        ),
    ],
)
def test_readings_may_be_allowed_by_rules_with_one_answer(
    tmp_path: Path, rules: list[str], reason: Reason, rule: str | None
) -> None:
    """Nobody knows which reading the backend goes by, so what it gets must not depend on that."""
    decided = decision(tmp_path, "/f/a%2Fb", *rules)
    assert (decided.reason, decided.rule) == (reason, rule), decided.detail


@pytest.mark.parametrize(
    ("rules", "reason", "rule"),
    [
        ([deny("/f/a/b", id="z"), deny("/f/{x}", id="v")], D, "s/v"),
        (
            [allow("/f/{x}"), "{id: u, effect: allow, from: [{users: any}], to: [{paths: [/f/a/b]}]}"],
            Reason.UNAUTHENTICATED,
            None,
        ),
        (["{id: u, effect: allow, from: [{users: any}], to: [{paths: ['/f/{x}']}]}"], N, None),
        ([deny("/f/a/b"), "{id: u, effect: allow, from: [{users: any}], to: [{paths: ['/f/{x}']}]}"], D, "s/d"),
    ],
)
def test_of_several_denials_the_gravest_is_told(
    tmp_path: Path, rules: list[str], reason: Reason, rule: str | None
) -> None:
    """A user's credential is asked for only where it would help in every reading."""
    decided = decision(tmp_path, "/f/a%2Fb", *rules)
    assert (decided.reason, decided.rule) == (reason, rule)


STRICT_API = f"""
kind: service
name: api
hosts: [{HOST}]
path_prefix: /api
rules: [{allow("/api/**")}]
"""
LENIENT_API = STRICT_API.replace("name: api", "name: api\npaths: lenient")
STRICT = service(allow("/**"), paths="strict")


@pytest.mark.parametrize(
    ("files", "path", "reason"),
    [
        ({"s": service(allow("/**")), "api": STRICT_API}, "/f/a%2Fb", A),
        ({"s": service(allow("/**")), "api": STRICT_API}, "/f/..%2fapi/x", B),
        ({"s": service(allow("/**")), "api": STRICT_API}, "/f/..%2fAPI/x", B),
        ({"s": service(allow("/**")), "api": STRICT_API}, "/api/a%2Fb", B),
        ({"s": service(allow("/**")), "api": STRICT_API}, "/api/a%20b", A),
        ({"s": service(allow("/**")), "api": STRICT_API}, "/%61pi/a", A),
        ({"s": STRICT, "api": LENIENT_API}, "/api/a%2Fb", A),
        ({"s": STRICT, "api": LENIENT_API}, "/api/../f", B),
        ({"s": STRICT, "api": LENIENT_API}, "/%61pi/a", B),
        ({"s": STRICT, "api": LENIENT_API}, "/f/a%2Fb", B),
        ({"s": STRICT, "api": LENIENT_API}, "/f/a%20b", A),
        ({"s": service(allow("/**"), hosts="[other.example]"), "api": STRICT_API}, "/f/a%2Fb", B),
    ],
)
def test_every_reading_is_of_the_same_service(tmp_path: Path, files: dict[str, str], path: str, reason: Reason) -> None:
    """What is another service's in some reading is nobody's, and strict services stay strict."""
    assert decision(tmp_path, path, **files).reason is reason


@pytest.mark.parametrize(("name", "reason"), [("s", A), ("api", B), ("none", B)])
def test_a_route_that_names_a_lenient_service_is_enough(tmp_path: Path, name: str, reason: Reason) -> None:
    """Host and prefix are not asked then, for no reading."""
    plan = plan_of(tmp_path, s=service(allow("/**"), hosts="[x.example]"), api=STRICT_API)
    asked = request("GET", "/api/..%2fx", extensions={"service": name})
    assert check(asked, snapshot_of(plan), 0.0).reason is reason


@pytest.mark.parametrize("path", ["/a#", "/a b", "/%zz", "/%00", "/%2500", "/%ff", "a", "", "*", "/é"])
def test_some_paths_no_service_takes(tmp_path: Path, path: str) -> None:
    """Lenient is not blind."""
    assert decision(tmp_path, path, allow("/**")).reason is B


def test_a_service_in_audit_lets_no_ambiguity_pass(tmp_path: Path) -> None:
    """What its rules would deny in some reading goes through, and is recorded; what is too much does not."""
    audited = service(allow("/f/{x}"), deny("/admin", id="d"), mode="audit")
    decided = decision(tmp_path, "/f/..%2fadmin", s=audited)
    assert (decided.allowed, decided.would_deny, decided.rule) == (True, True, "s/d")
    assert not decision(tmp_path, "/f/a%2fb%2f..%5c..;//%252e%252e%3f%23", s=audited).allowed


def test_rules_in_audit_are_rehearsed_for_every_reading(tmp_path: Path) -> None:
    """Those that would have decided about any of them are named, each once; guardrails are obeyed."""
    rules = [allow("/f/**"), deny("/f/a/b", id="v", more=", mode: audit"), deny("/f/{x}", id="x", more=", mode: audit")]
    more = allow("/f/{x}", "/f/**", id="w", more=", mode: audit")
    decided = decision(tmp_path, "/f/a%2Fb", *rules, more)
    assert (decided.allowed, decided.would_deny, decided.rule) == (True, True, "s/v")
    assert decided.audited == ("s/v", "s/x", "s/w")
    guardrails = f"kind: guardrails\nrules: [{deny('/f/a/b', id='g')}]"
    decided = decision(tmp_path, "/f/a%2Fb", s=service(allow("/f/**"), mode="audit"), guardrails=guardrails)
    assert (decided.allowed, decided.reason) == (False, D)


def test_a_grpc_call_has_one_reading(tmp_path: Path) -> None:
    """gRPC servers take the path literally, and what else it may be read as is no call."""
    rules = ["{id: rpc, effect: allow, from: anyone, to: [{grpc: {service: a.B}}]}", deny("/x")]
    plan = snapshot_of(plan_of(tmp_path, s=service(*rules)))
    for path, reason in {"/a.B/Get": A, "/a.B//Get": N, "/a.B/G%65t": N, "/a.B/Get;x": N}.items():
        asked = request("POST", path, headers={"content-type": "application/grpc"})
        assert check(asked, plan, 0.0).reason is reason, path


def test_conditions_about_the_rest_of_the_request_hold_for_every_reading(tmp_path: Path) -> None:
    """Headers and query are the same whatever the path is taken for."""
    rules = [
        allow("/f/**", more=', when: \'request.header_values["x-i"].all(i, i != "z")\''),
        deny("/f/**", more=', when: \'request.query["q"] == ["1"]\''),
    ]
    snapshot = snapshot_of(plan_of(tmp_path, s=service(*rules)))
    for query, items, reason in [("?q=2", "a,b", A), ("?q=1", "a", D), ("", "a", E), ("?q=2", "a,z", N)]:
        asked = request("GET", f"/f/a%2Fb;c%20d{query}", headers={"x-i": items})
        assert check(asked, snapshot, 0.0).reason is reason
