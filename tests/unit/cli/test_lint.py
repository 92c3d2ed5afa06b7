"""`authz lint`, and what `authz validate` shows of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from tests.builders import write_policies

SHIPPED = Path(__file__).parents[3] / "policies"
CORP = "from: [{users: {issuer: corp}}]"
READ = "to: [{methods: [GET], paths: [/a]}]"


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def lint(*rules: str, options: tuple[str, ...] = ("--json",), **more: str) -> Result:
    """Lint a service of these rules, and what else stands beside it."""
    listed = "".join(f"\n  - {rule}" for rule in rules) or " []"
    files = {"orders.yaml": f"kind: service\nname: orders\nhosts: [orders.shop.example]\nrules:{listed}\n"}
    write_policies(Path("policies"), files | {f"{name}.yaml": text for name, text in more.items()})
    return CliRunner().invoke(app, ["lint", "policies", *options])


def codes(*rules: str, **more: str) -> list[str]:
    """The codes of what is found."""
    return [each["code"] for each in json.loads(lint(*rules, options=("--json",), **more).stdout)["findings"]]


def test_nothing_is_found_in_the_shipped_policies() -> None:
    """They are an example."""
    result = CliRunner().invoke(app, ["lint", str(SHIPPED)])
    assert (result.exit_code, result.stdout) == (0, "nothing found\n")


def test_a_finding_has_place_code_and_advice() -> None:
    """As errors have."""
    result = lint(f"{{id: x, effect: allow, {CORP}, {READ}, when: 'request.method == \"PUT\"'}}", options=())
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "policies/orders.yaml:5:104: the condition never holds, whatever the request [never_holds]\n    5 |   - {id"
    )
    assert "^ the rule does nothing\n" in result.stdout
    assert result.stdout.endswith("\n1 warning, 0 notices\n")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (f"{{id: x, effect: allow, {CORP}, {READ}, valid: {{until: '2020-01-01T00:00:00Z'}}}}", "expired"),
        (f"{{id: x, effect: allow, {CORP}, to: [{{methods: [GET], hosts: [a.b]}}]}}", "unreachable_host"),
        (
            "{id: x, effect: allow, from: [{workloads: ['spiffe://a.b/x'], roles: [batch]}], to: [{methods: [GET]}]}",
            "nobody_fits",
        ),
        (f"{{id: x, effect: allow, {CORP}, {READ}, when: 'has_user'}}", "always_holds"),
        (f"{{id: x, effect: allow, {CORP}, {READ}, when: 'true || request.id == \"a\"'}}", "always_holds"),
        (f"{{id: x, effect: allow, {CORP}, {READ}, when: 'user.issuer != \"corp\"'}}", "never_holds"),
        (
            f'{{id: x, effect: allow, {CORP}, {READ}, when: \'user.subject == "a" && user.subject in ["b", "c"]\'}}',
            "never_holds",
        ),
        (f'{{id: x, effect: deny, {CORP}, when: \'request.host == "a.b" && request.host == "c.d"\'}}', "never_holds"),
        (f"{{id: x, effect: allow, {CORP}, {READ}, when: 'user.claims.x != \"y\"'}}", "unguarded_negation"),
        (f'{{id: x, effect: deny, {CORP}, when: \'!(request.headers["x-a"] in ["y"])\'}}', "unguarded_negation"),
        ("{id: x, effect: deny, to: [{methods: [PUT]}], when: 'user.subject == \"ann\"'}", "unguarded_caller"),
        ("{id: x, effect: allow, from: anyone, to: [{paths: [/a]}]}", "open_to_anyone"),
        ("{id: x, effect: allow, from: [{workloads: ['spiffe://a.b/**']}], to: [{paths: [/a]}]}", "wide_grant"),
        (f"{{id: x, effect: allow, {CORP}}}", "wide_grant"),
        (f"{{id: x, effect: allow, {CORP}, to: [{{paths: ['/**']}}]}}", "wide_grant"),
    ],
)
def test_a_rule_is_found(rule: str, code: str) -> None:
    """One rule of each kind, and nothing else about it; accepted with a reason, it is not found."""
    roles = "kind: roles\nroles: {batch: [{workloads: ['spiffe://a.b/y']}], all: [{roles: [batch]}]}\n"
    assert [each for each in codes(rule, roles=roles) if each != "unused_role"] == [code]
    accepted = f"{rule[:-1]}, accepts: {{{code}: It is meant.}}}}"
    assert [each for each in codes(accepted, roles=roles) if each != "unused_role"] == []


@pytest.mark.parametrize(
    "rule",
    [
        f"{{id: x, effect: allow, {CORP}, {READ}, when: 'has_workload'}}",
        f"{{id: x, effect: allow, {CORP}, {READ}, when: 'user.issuer != \"partner\" && user.claims.level > 3'}}",
        f"{{id: x, effect: allow, {CORP}, {READ}, when: 'has(user.claims.x) && user.claims.x != \"y\"'}}",
        f'{{id: x, effect: deny, {CORP}, when: \'"x-a" in request.headers && request.headers["x-a"] != "y"\'}}',
        f"{{id: x, effect: deny, {CORP}, when: 'user.claims.x == \"y\"'}}",
        "{id: x, effect: deny, when: 'has_user && user.subject == \"ann\"'}",
        "{id: x, effect: deny, from: [{users: any}], when: 'user.subject == \"ann\"'}",
        "{id: x, effect: allow, from: anyone, to: [{methods: [GET, HEAD]}]}",
        "{id: x, effect: allow, from: [{workloads: ['spiffe://a.b/**'], users: any}], to: [{paths: [/a]}]}",
        "{id: x, effect: allow, from: [{workloads: ['spiffe://a.b/ns/*/sa/web']}], to: [{paths: ['/a/**']}]}",
        f'{{id: x, effect: allow, {CORP}, {READ}, when: \'request.path == "/a" || request.path.startsWith("/b")\'}}',
        f"{{id: x, effect: allow, {CORP}, to: [{{methods: [GET], hosts: ['*.shop.example']}}]}}",
    ],
)
def test_a_usual_rule_is_not_found(rule: str) -> None:
    """Nothing is said of what may be right."""
    assert codes(rule) == []


ALLOW = f"id: x, effect: allow, {CORP}, to: [{{methods: [GET], paths: ['/a/{{id}}', /b]}}]"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("{id: d, effect: deny, to: [{paths: ['/**']}]}", ["shadowed"]),
        ("{id: d, effect: deny, to: [{paths: ['/A/**']}, {methods: [GET], paths: [/B]}]}", ["shadowed"]),
        ("{id: d, effect: deny, from: [{users: any}], to: [{methods: [GET]}]}", ["shadowed"]),
        ("{id: d, effect: deny, to: [{paths: ['/a/**']}]}", []),
        ("{id: d, effect: deny, to: [{methods: [PUT]}]}", []),
        ("{id: d, effect: deny, when: 'has_workload'}", []),
        ("{id: d, effect: deny, mode: audit}", []),
        ("{id: d, effect: deny, from: [{networks: [10.0.0.0/8]}]}", []),
        (f"{{id: d, effect: allow, {CORP}, to: [{{methods: [GET], paths: ['/**']}}]}}", ["covered"]),
        (
            "{id: d, effect: allow, from: [{users: any}], to: [{methods: [GET, PUT], paths: ['/a/**', /b]}]}",
            ["covered"],
        ),
        (f"{{{ALLOW.replace('id: x', 'id: z')}}}", ["covered"]),
        (f"{{id: d, effect: allow, {CORP}, to: [{{methods: [GET], paths: ['/a/{{n:int}}', /c]}}]}}", []),
        (f"{{id: d, effect: allow, {CORP}, to: [{{methods: [GET]}}], answer: {{set_headers: {{x-a: \"'1'\"}}}}}}", []),
        (f"{{id: d, effect: allow, {CORP}, to: [{{methods: [GET]}}], requires: {{acr: [mfa]}}}}", []),
        (f"{{id: d, effect: allow, {CORP}, to: [{{methods: [GET], upgrade: websocket}}]}}", []),
        ("{id: d, effect: allow, from: [{users: {issuer: corp, scopes: [a]}}], to: [{methods: [GET]}]}", []),
    ],
)
def test_rules_that_decide_the_same_are_found(other: str, expected: list[str]) -> None:
    """What another rule denies or allows altogether, and of two that are alike one."""
    assert codes(f"{{{ALLOW}}}", other) == expected


def test_a_guardrail_shadows_as_well() -> None:
    """It stands in another file."""
    guardrails = "kind: guardrails\nrules: [{id: g, effect: deny, to: [{paths: ['/a/**', /b]}]}]\n"
    assert codes(f"{{{ALLOW}}}", guardrails=guardrails) == ["shadowed"]


def test_paths_of_another_service_are_found() -> None:
    """The one with the longer prefix speaks for them."""
    other = "kind: service\nname: api\nhosts: [orders.shop.example]\npath_prefix: /api\nrules: []\n"
    rule = f"{{id: x, effect: allow, {CORP}, to: [{{methods: [GET], paths: ['/api/{{id}}', /b]}}]}}"
    assert codes(rule, api=other) == ["unreachable_path"]


def test_roles_that_nobody_names_are_found() -> None:
    """One that another role names is used."""
    roles = "kind: roles\nroles: {one: [{users: any}], two: [{roles: [one]}], three: [{users: any}]}\n"
    rule = f"{{id: x, effect: allow, from: [{{roles: [three]}}], {READ}}}"
    found = json.loads(lint(rule, roles=roles).stdout)["findings"]
    assert [(each["code"], each["message"]) for each in found] == [("unused_role", "no rule and no role names `two`")]


def test_what_is_accepted_in_vain_is_found() -> None:
    """It hides what comes later."""
    assert codes(f"{{id: x, effect: allow, {CORP}, {READ}, accepts: {{expired: Once.}}}}") == ["needless_acceptance"]


def test_only_known_codes_are_accepted() -> None:
    """A slip of the finger is an error of the policies."""
    result = lint(f"{{id: x, effect: allow, {CORP}, {READ}, accepts: {{wide_grand: Meant.}}}}")
    assert result.exit_code == 2
    assert "did you mean `wide_grant`?" in result.stderr


def test_findings_can_be_left_out() -> None:
    """By their codes, which must be right."""
    rule = f"{{id: x, effect: allow, {CORP}}}"
    assert lint(rule, options=("--ignore", "wide_grant")).exit_code == 0
    assert lint(rule, options=("--ignore", "wide_grand")).exit_code == 2


def test_github_gets_annotations() -> None:
    """With file, line and column, and the severity as the kind."""
    result = lint(f"{{id: x, effect: allow, {CORP}}}", options=("--github",))
    assert result.stdout.startswith("::notice file=policies/orders.yaml,line=5,col=10,title=wide_grant::this is every")


def test_validate_shows_findings_and_does_not_fail() -> None:
    """They are no errors."""
    rule = f"{{id: x, effect: allow, {CORP}}}"
    lint(rule)
    result = CliRunner().invoke(app, ["validate", "policies"])
    assert result.exit_code == 0
    assert "this is every path, and more than reading [wide_grant]" in result.stdout
    found = json.loads(CliRunner().invoke(app, ["validate", "policies", "--json"]).stdout)
    assert [each["code"] for each in found["warnings"]] == ["wide_grant"]
    assert found["errors"] == []
