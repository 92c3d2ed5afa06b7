"""What conditions that hold, do not hold and cannot be evaluated make of rules."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from authz_server.errors import Reason
from authz_server.pipeline import check
from authz_server.request.body import SENT_EXTENSION
from tests.builders import plan_of, request, snapshot_of

HOLDS = "request.method == 'GET'"
FAILS = "request.method == 'PUT'"
BREAKS = "request.headers['x-missing'] == 'a'"

A = Reason.ALLOWED
N = Reason.NO_RULE_ALLOWS
D = Reason.DENIED_BY_RULE
E = Reason.DENY_RULE_ERROR


@pytest.mark.parametrize(
    ("allow", "deny", "reason"),
    [
        ([HOLDS], [], A),
        ([FAILS], [], N),
        ([BREAKS], [], N),
        ([BREAKS, HOLDS], [], A),
        ([FAILS, BREAKS], [], N),
        ([HOLDS], [HOLDS], D),
        ([HOLDS], [FAILS], A),
        ([HOLDS], [BREAKS], E),
        ([], [BREAKS], E),
        ([], [FAILS], N),
        ([HOLDS], [FAILS, HOLDS], D),
        ([HOLDS], [FAILS, BREAKS], E),
    ],
)
def test_conditions_decide(tmp_path: Path, allow: list[str], deny: list[str], reason: Reason) -> None:
    """An allow rule that cannot be evaluated does not apply, a deny rule that cannot be evaluated denies."""
    conditions = [*(("allow", text) for text in allow), *(("deny", text) for text in deny)]
    rules = [
        f'{{id: r{number}, effect: {effect}, from: anyone, when: "{text}"}}'
        for number, (effect, text) in enumerate(conditions)
    ]
    policy = f"kind: service\nname: s\nhosts: ['*']\nrules: [{', '.join(rules)}]\n"
    decision = check(request("GET", "/"), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("answer", "query", "reason"),
    [
        ("{set_headers: {x-a: 'request.query.v[0]'}}", "v=fine", A),
        ("{set_headers: {x-a: 'request.query.v[0]'}}", "", N),
        ("{set_headers: {x-a: 'request.query.v[0]'}}", "v=%0d%0a", N),
        ("{response_headers: {x-a: 'request.query.v[0]'}}", "v=%00", N),
        ("{set_headers: {x-a: 'request.query.v[0]'}}", "v=" + "a" * 16_385, N),
        ("{set_query: {a: 'request.query.v[0]'}}", "v=a-b._9", A),
        ("{set_query: {a: 'request.query.v[0]'}}", "v=a%20b", N),
        ("{set_query: {a: 'request.query.v[0]'}}", "v=a%26b", N),
        ("{metadata: {a: 'request.query.v[0]'}}", "v=" + "a" * 5000, N),
    ],
)
def test_an_allow_rule_whose_answer_cannot_be_sent_does_not_apply(
    tmp_path: Path, answer: str, query: str, reason: Reason
) -> None:
    """What cannot be computed, or must not leave, makes no half answer."""
    policy = (
        f"kind: service\nname: s\nhosts: ['*']\nrules: [{{id: a, effect: allow, from: anyone, answer: {answer}}}]\n"
    )
    decision = check(request("GET", f"/?{query}"), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert decision.reason is reason, decision.detail


def test_a_denial_stands_when_its_answer_cannot_be_computed(tmp_path: Path) -> None:
    """Only what it would have said is missing."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - {id: d, effect: deny, answer: {status: 410, hint: "request.headers['x-missing']"}}
    """
    decision = check(request("GET", "/"), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert (decision.reason, decision.answer.status) == (Reason.DENIED_BY_RULE, None)


@pytest.mark.parametrize(
    "path",
    ["/r/a/b", "/r/A/b", "/R/a/b/", "/r/a/b/%20", "/r/a/b.", "/r/a/b/...", "/r/a./b%20", "/r/a/B.%20/%20"],
)
def test_conditions_of_deny_rules_see_every_reading_of_captures(tmp_path: Path, path: str) -> None:
    """No spelling that some backend takes for the same path escapes a conditional denial."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - {id: a, effect: allow, from: anyone}
          - {id: d, effect: deny, to: [{paths: ["/r/{rest...}"]}], when: path.rest == "a/b"}
    """
    decision = check(request("GET", path), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert decision.reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(("port", "allow", "deny"), [(443, A, D), (80, N, A), (None, N, D)])
def test_an_unknown_port_opens_nothing_and_escapes_nothing(
    tmp_path: Path, port: int | None, allow: Reason, deny: Reason
) -> None:
    """It fits no allow rule that asks for a port, and every deny rule that does."""
    rule = "{id: r, effect: EFFECT, from: anyone, to: [{ports: [443]}]}"
    for effect, more, expected in [("allow", "", allow), ("deny", ", {id: a, effect: allow, from: anyone}", deny)]:
        policy = f"kind: service\nname: s\nhosts: ['*']\nrules: [{rule.replace('EFFECT', effect)}{more}]\n"
        plan = plan_of(tmp_path / effect, s=policy)
        assert check(request("GET", "/", destination_port=port), snapshot_of(plan), 0.0).reason is expected


@pytest.mark.parametrize("header", ["x_order", "X_Order", "x_user"])
def test_an_underscore_variant_of_a_header_that_rules_set_is_refused(tmp_path: Path, header: str) -> None:
    """Servers that speak CGI would take the client's for ours."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - {id: a, effect: allow, from: anyone, answer: {set_headers: {x-order: "'1'"}}}
    """
    decision = check(request("GET", "/", headers={header: "1"}), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert decision.reason is Reason.HEADER_CONFLICT


@pytest.mark.parametrize(
    "path",
    [
        "/internal",
        "/Internal",
        "/internal./...",
        "/Internal%20/%20",
        "/%C4%B1nternal",
        "/%C4%B0nternal",
        "/internal/...",
    ],
)
def test_no_spelling_of_a_path_escapes_a_deny_rule(tmp_path: Path, path: str) -> None:
    """Whatever a backend ignores: case in any alphabet, dots and spaces at the end of any segment."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - {id: a, effect: allow, from: anyone}
          - {id: d, effect: deny, to: [{paths: [/internal, "/internal/**"]}]}
    """
    decision = check(request("GET", path), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert decision.reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(
    ("target", "host", "recorded"),
    [
        ("/a;jsessionid=secret", "h.example", ("/a", "h.example")),
        ("/a#secret", "h.example", ("/a", "h.example")),
        ("/a//b?token=secret", "h.example", ("/a//b", "h.example")),
        ("/a", "user:secret@h.example", ("/a", "h.example")),
    ],
)
def test_the_record_of_a_refused_request_holds_no_secret(
    tmp_path: Path, target: str, host: str, recorded: tuple[str, str]
) -> None:
    """Parameters, query, fragment and user are left out, also where the request cannot be read."""
    policy = "kind: service\nname: s\nhosts: ['*']\nrules: []\n"
    decision = check(request("GET", target, host=host), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert (decision.path, decision.host) == recorded


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ({}, [("x-plain", "set"), ("x-team", "set"), ("x-user", "set")]),
        ({"x-team": "a", "x-via": "a", "x-user": "root"}, [("x-plain", "set"), ("x-user", "set"), ("x-via", "set")]),
    ],
)
def test_a_header_that_no_client_may_send_is_replaced_however_it_is_changed(
    tmp_path: Path, sent: dict[str, str], changes: list[tuple[str, str]]
) -> None:
    """Appending to a client's own `x-user` would let it stand beside ours."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - {id: a, effect: allow, from: anyone, to: [{paths: [/a]}], answer: {set_headers: {x-user: "'ann'"}}}
          - id: b
            effect: allow
            from: anyone
            to: [{paths: [/b]}]
            answer:
              set_headers:
                x-plain: "'1'"
                x-team: {if_absent: "'1'"}
                x-user: {append: "'ann'"}
                x-via: {if_present: "'1'"}
    """
    decision = check(request("GET", "/b", headers=sent), snapshot_of(plan_of(tmp_path, s=policy)), 0.0)
    assert [(change.name, change.action) for change in decision.answer.set_headers] == changes


KNOWN, SHOWN = {SENT_EXTENSION: "999"}, {"content-type": "application/json"}
B = Reason.BODY_INCOMPLETE


@pytest.mark.parametrize(
    ("rules", "whole", "cut", "named"),
    [
        (["allow body.level == 1"], A, B, 0),
        (["allow has_body"], A, B, 0),
        (["allow !has_body"], N, B, 0),
        (["allow body.level == 1", "allow true"], A, A, 1),
        (["allow true", "allow body.level == 1"], A, A, 0),
        (["allow false", "allow body.level == 2"], N, B, 1),
        (["allow body.none == 1", "allow body.level == 2"], N, B, 0),
        (["allow false && body.level == 1"], N, N, None),
        (["deny body.level == 2", "allow true"], A, B, 0),
        (["deny has_body && body.level == 2", "allow true"], A, B, 0),
        (["deny body.level == 1", "allow true"], D, B, 0),
        (["deny body.none == 1", "allow true"], E, B, 0),
        (["deny true", "deny body.level == 2"], D, D, 0),
        (["deny body.level == 2", "deny true"], D, B, 0),
        (["allow body.level == 1 @", "allow false"], A, B, 0),
    ],
    ids=str,
)
def test_a_body_that_is_incomplete_denies_where_a_rule_needs_it(
    tmp_path: Path, rules: list[str], whole: Reason, cut: Reason, named: int | None
) -> None:
    """A deny rule denies, an allow rule does not apply; what no rule needs may be missing."""
    texts = [rule.partition(" ") for rule in rules]
    written = [
        f'{{id: r{number}, effect: {effect}, from: anyone, when: "{when.removesuffix(" @")}"'
        + (", answer: {set_headers: {x-a: string(body.level)}}}" if when.endswith("@") else "}")
        for number, (effect, _, when) in enumerate(texts)
    ]
    policy = f"kind: service\nname: s\nhosts: ['*']\nbody: json\nrules: [{', '.join(written)}]\n"
    snapshot = snapshot_of(plan_of(tmp_path, s=policy))
    asked = replace(request("POST", "/", headers=SHOWN), body=b'{"level": 1}')
    assert check(replace(asked, extensions=KNOWN), snapshot, 0.0).reason is whole
    decision = check(asked, snapshot, 0.0)
    assert (decision.reason, decision.rule) == (cut, None if named is None else f"s/r{named}")
    assert not any(name.startswith("body") for name in decision.inputs)


def test_a_body_that_is_incomplete_comes_behind_a_stronger_authentication_and_before_none(tmp_path: Path) -> None:
    """The order of the reasons, where nothing allows."""
    policy = """
        kind: service
        name: s
        hosts: ["*"]
        body: json
        rules:
          - {id: a-user, effect: allow, from: [{users: any}], to: [{paths: [/user]}]}
          - {id: body, effect: allow, from: anyone, when: body.level == 1}
    """
    snapshot = snapshot_of(plan_of(tmp_path, s=policy))
    assert check(request("POST", "/user"), snapshot, 0.0).reason is B
    known = replace(request("POST", "/user"), extensions=KNOWN)
    assert check(known, snapshot, 0.0).reason is Reason.UNAUTHENTICATED


def test_the_record_has_of_the_body_what_rules_have_read(tmp_path: Path) -> None:
    """Only named members, and nothing of it where no rule had to look."""
    policy = """
        kind: service
        name: s
        hosts: ["*"]
        body: json
        rules:
          - {id: get, effect: allow, from: anyone, to: [{methods: [GET]}]}
          - {id: post, effect: allow, from: anyone, to: [{methods: [POST]}],
             when: 'body.order.amount < 10 && "sku" in body && size(body) > 1'}
    """
    snapshot = snapshot_of(plan_of(tmp_path, s=policy))
    body = b'{"order": {"amount": 3, "card": "4111"}, "order.amount": 9, "sku": ["a", "b"], "secret": "x"}'
    asked = replace(request("POST", "/", headers=SHOWN), body=body, extensions=KNOWN)
    assert check(asked, snapshot, 0.0).inputs == {"body.order.amount": 3, "body.sku": ["a", "b"]}
    assert check(replace(asked, method="GET"), snapshot, 0.0).inputs == {}
    assert check(replace(asked, body=b"{"), snapshot, 0.0).inputs == {}
