"""Cases of test files become requests, and are decided as the server decides."""

from pathlib import Path

import pytest

from tests.unit.testing.policies import loaded

SERVICE = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    body: json
    rules:
      - id: reads
        effect: allow
        from:
          - workloads: ["spiffe://shop.example/ns/front/**"]
            users: {issuer: corp, scopes: [read], groups: [staff], roles: [buyer], claims: {customer: c7}}
        to: [{methods: [GET], paths: ["/orders/{id}"]}]
        answer: {set_headers: {X-User: user.subject, x-by: "'authz'"}}
      - id: acts-for-somebody
        effect: allow
        from: [{users: {issuer: corp, actors: [helper]}}]
        to: [{paths: [/acted]}]
      - id: from-the-office
        effect: allow
        from: [{networks: [10.1.0.0/16]}]
        to: [{paths: [/office], ports: [8443]}]
      - id: small-amounts
        effect: allow
        from: anyone
        to: [{paths: [/body]}]
        when: body.amount < 10.0
      - id: blue-team
        effect: allow
        from: anyone
        to: [{paths: [/headers]}]
        when: request.headers["x-team"] == "blue" && size(request.header_values["x-tag"]) == 2
      - id: written-by-a-filter
        effect: allow
        from: anyone
        to: [{paths: [/metadata]}]
        when: metadata["some.filter"].tenant == "blue"
      - id: by-day
        effect: allow
        from: anyone
        to: [{paths: [/day]}]
        schedule: {hours: "08:00-18:00", zone: Europe/Zurich}
      - id: strong
        effect: allow
        from: [{users: {issuer: corp}}]
        to: [{paths: [/strong]}]
        requires: {acr: [mfa], max_auth_age: 15m, bound_token: true}
      - id: websockets
        effect: allow
        from: anyone
        to: [{paths: [/socket], upgrade: websocket}]
"""
FIXTURES = """
    kind: tests
    now: "2026-03-02T10:00:00+01:00"
    workloads: {web: "spiffe://shop.example/ns/front/sa/web", alien: "spiffe://elsewhere.example/web"}
    users:
      ann: {issuer: corp, subject: ann, scopes: [read], groups: [staff], roles: [buyer], claims: {customer: c7}}
      other: {issuer: partner, subject: ann, scopes: [read], groups: [staff], roles: [buyer], claims: {customer: c7}}
      helped: {issuer: corp, subject: ann, claims: {act: {sub: helper}}}
      odd: {issuer: corp, subject: ann, claims: {act: helper}}
      late: {issuer: corp, subject: ann, claims: {exp: 1772442000}}
      strong: {issuer: corp, subject: ann, claims: {acr: mfa, auth_time: 1772441700, cnf: {jkt: x}}}
      weak: {issuer: corp, subject: ann, claims: {acr: mfa, auth_time: 1772438400, cnf: {jkt: x}}}
"""
CASES = {
    "{from: web, as: ann, method: GET, path: /orders/1}": "{decision: allow, reason: allowed, rule: reads}",
    "{from: web, as: ann, method: GET, path: /orders/2}": "{decision: allow, set_headers: {X-User: ann}}",
    "{from: web, as: ann, method: GET, path: /orders/3}": "{decision: allow, set_headers: {x-user: ann, x-by: authz}}",
    "{method: GET, path: /nothing}": "{decision: deny, status: 403}",
    "{from: web, as: other, method: GET, path: /orders/1}": "{decision: deny, reason: no_rule_allows}",
    "{from: alien, as: ann, method: GET, path: /orders/1}": "{decision: deny, reason: no_rule_allows}",
    "{from: web, method: GET, path: /orders/1}": "{decision: deny, reason: unauthenticated}",
    "{as: helped, method: GET, path: /acted}": "{decision: allow, rule: orders/acts-for-somebody}",
    "{as: odd, method: GET, path: /acted}": "{decision: deny, reason: token_invalid}",
    "{as: late, method: GET, path: /acted}": "{decision: deny, reason: token_expired}",
    "{client_ip: 10.1.2.3, port: 8443, method: GET, path: /office}": "{decision: allow}",
    "{client_ip: 10.2.2.3, port: 8443, method: GET, path: /office}": "{decision: deny}",
    "{client_ip: 10.1.2.3, port: 443, method: GET, path: /office}": "{decision: deny}",
    "{method: POST, path: /body, body: {amount: 7}}": "{decision: allow}",
    "{method: POST, path: /body, body: {amount: 70}}": "{decision: deny}",
    "{method: POST, path: /body, body: '{\"amount\": 7}'}": "{decision: allow}",
    "{method: GET, path: /headers, headers: {X-Team: blue, x-tag: [a, b]}}": "{decision: allow}",
    "{method: GET, path: /headers, headers: {X-Team: blue, x-tag: a}}": "{decision: deny}",
    "{method: GET, path: /metadata, metadata: {some.filter: {tenant: blue}}}": "{decision: allow}",
    "{method: GET, path: /metadata}": "{decision: deny}",
    "{method: GET, path: /day}": "{decision: allow}",
    "{as: strong, method: GET, path: /strong}": "{decision: allow}",
    "{as: weak, method: GET, path: /strong}": "{decision: deny, reason: step_up_required, rule: strong}",
    "{method: GET, path: /socket, headers: {upgrade: websocket, connection: upgrade}}": "{decision: allow}",
    "{method: GET, path: /socket}": "{decision: deny}",
    "{method: GET, path: /a/../day}": "{decision: deny, reason: ambiguous_path}",
    "{method: GET, path: /day, headers: {authorization: Bearer forged}}": "{decision: deny, reason: token_invalid}",
    "{as: ann, method: GET, path: /, headers: {authorization: X a}}": "{decision: deny, reason: malformed_request}",
    "{method: GET, path: /day, service: orders}": "{decision: allow}",
    "{method: GET, path: /day, service: unknown}": "{decision: deny, reason: no_service}",
}


@pytest.mark.parametrize(("asked", "expected"), CASES.items())
def test_a_case_is_decided_as_the_server_would(asked: str, expected: str, tmp_path: Path) -> None:
    """Identities are believed, the time stands still, and all that a case says about a request is there."""
    asked = asked.replace("{", "{host: orders.shop.example, ", 1)
    case = f"\n    tests: [{{name: case, request: {asked}, expect: {expected}}}]\n"
    outcomes = loaded(tmp_path, {"orders.yaml": SERVICE, "orders_test.yaml": FIXTURES + case}).outcomes()
    assert outcomes["case"].passed, outcomes["case"].actual


WRONG_ANSWERS = {
    "{decision: allow, set_headers: {x-user: bob}}": ("allow, x-user: bob", "allow by orders/reads, x-user: ann"),
    "{decision: allow, set_headers: {x-other: ann}}": ("allow, x-other: ann", "allow by orders/reads"),
    "{decision: deny, status: 404}": ("deny, status 404", "allow by orders/reads"),
}


@pytest.mark.parametrize(("expected", "said"), WRONG_ANSWERS.items())
def test_what_the_answer_lacks_is_said(expected: str, said: tuple[str, str], tmp_path: Path) -> None:
    """The expected headers and status beside those that there are."""
    asked = "{from: web, as: ann, method: GET, host: orders.shop.example, path: /orders/1}"
    case = f"\n    tests: [{{name: case, request: {asked}, expect: {expected}}}]\n"
    outcome = loaded(tmp_path, {"orders.yaml": SERVICE, "orders_test.yaml": FIXTURES + case}).outcomes()["case"]
    assert (outcome.passed, outcome.expected, outcome.actual) == (False, *said)


def test_a_denial_with_another_status_is_not_the_expected_one(tmp_path: Path) -> None:
    """The actual status is said."""
    case = "\n    tests: [{name: case, request: {method: GET, host: orders.shop.example, path: /}, expect: %s}]\n"
    tests = FIXTURES + case % "{decision: deny, status: 404}"
    outcome = loaded(tmp_path, {"orders.yaml": SERVICE, "orders_test.yaml": tests}).outcomes()["case"]
    assert (outcome.passed, outcome.actual) == (False, "deny (no_rule_allows), status 403")


@pytest.mark.parametrize(
    "expected",
    [
        "{decision: deny}",
        "{decision: allow, rule: websockets}",
        "{decision: allow, rule: other/by-day}",
        "{decision: allow, would_deny: true}",
    ],
)
def test_each_part_of_an_expectation_counts(expected: str, tmp_path: Path) -> None:
    """Decision, rule and mode: one that is not as expected fails the case."""
    other = "kind: service\nname: other\nhosts: [other.example]\nrules: [{id: by-day, effect: deny}]"
    case = "\n    tests: [{name: case, request: {method: GET, path: /day, host: orders.shop.example}, expect: %s}]\n"
    files = {"orders.yaml": SERVICE, "other.yaml": other, "orders_test.yaml": FIXTURES + case % expected}
    assert not loaded(tmp_path, files).outcomes()["case"].passed


def test_a_matrix_is_every_caller_with_every_request(tmp_path: Path) -> None:
    """What `allow` does not list is to be denied; the host is that of the folder's only service."""
    matrix = """
    matrix:
      callers: [anonymous, web, ann, web+ann]
      requests: {read: GET /orders/1, day: GET /day}
      allow: {anonymous: [day], web: [day], ann: [day], web+ann: [day]}
"""
    outcomes = loaded(tmp_path, {"orders.yaml": SERVICE, "orders_test.yaml": FIXTURES + matrix}).outcomes()
    assert len(outcomes) == 8
    failed = [outcome for outcome in outcomes.values() if not outcome.passed]
    assert [(outcome.case.name, outcome.expected, outcome.actual) for outcome in failed] == [
        ("web+ann: read", "deny", "allow by orders/reads")
    ]
    assert failed[0].case.position.line == 16


def test_a_denial_that_is_not_enforced_can_be_expected(tmp_path: Path) -> None:
    """Of a service in audit: it goes through, with the reason for which it would be denied."""
    service = "kind: service\nname: orders\nhosts: [a.example]\nmode: audit\nrules: []\n"
    tests = """
        kind: tests
        tests:
          - name: goes through
            request: {method: GET, host: a.example, path: /}
            expect: {decision: allow, reason: no_rule_allows, would_deny: true}
          - name: is denied
            request: {method: GET, host: a.example, path: /}
            expect: {decision: deny}
    """
    outcomes = loaded(tmp_path, {"a.yaml": service, "a_test.yaml": tests}).outcomes()
    assert outcomes["goes through"].passed
    assert outcomes["is denied"].actual == "allow (no_rule_allows), in audit"
    assert not outcomes["is denied"].passed


def test_without_a_time_of_their_own_cases_are_asked_now(tmp_path: Path) -> None:
    """One time for all of them, that of the run."""
    tests = "kind: tests\nmatrix: {callers: [anonymous], requests: {day: GET /day}}\n"
    session = loaded(tmp_path, {"orders.yaml": SERVICE, "orders_test.yaml": tests}).session()
    assert [case.now for case in session.cases] == [1772442000.0]
