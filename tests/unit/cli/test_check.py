"""`authz check`."""

import json
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from tests.builders import write_policies
from tests.unit.identity.proofs import bound_to, proof, proof_key
from tests.unit.identity.tokens import SigningKey, jwks

WEB = "spiffe://shop.example/ns/front/sa/web"
POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: read
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
        to: [{methods: [GET]}]
        when: '!("x-debug" in request.headers)'
        answer: {set_headers: {x-from: workload.id}}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with policies and nothing else, and in it we are."""
    monkeypatch.chdir(write_policies(tmp_path, {"policies/orders.yaml": POLICY}))
    return tmp_path


def run(*arguments: str, stdin: str = "") -> Result:
    """Run `authz check`."""
    return CliRunner().invoke(app, ["check", *arguments], input=stdin)


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "{KNOWN}\nissuers: {a: {issuer: 'https://x/', audiences: [a], keys: {file: no.jwks}}}",
            "no keys of the issuer `a`: no.jwks",
        ),
        (
            "workloads: {trust_domains: {shop.example: {bundle: no.pem}}}",
            "no bundle of the trust domain `shop.example`: no.pem",
        ),
        ("{KNOWN}\napi_keys: {file: no.yaml}", "no API keys: no.yaml"),
        ("{KNOWN}\nrevocations: no.yaml", "no.yaml"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_words(settings: str, said: str) -> None:
    """By its path as seen from here, without numbers of the operating system."""
    Path("authz.yaml").write_text(settings.replace("{KNOWN}", "workloads: {trust_domains: {shop.example: {}}}"))
    result = run("--workload", WEB, "--host", "orders.shop.example", "--path", "/orders/1")
    assert f"authz: {said} cannot be read: No such file or directory" in result.stderr


@pytest.mark.usefixtures("directory")
def test_an_allowed_request_is_explained() -> None:
    """Exit code 0, with the rule, and what it sets."""
    result = run("--workload", WEB, "--host", "orders.shop.example", "--path", "/orders/1")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == "ALLOW"
    assert "  rule      orders/read" in result.output
    assert f"  sets      x-from: {WEB}" in result.output


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--host", "orders.shop.example"), "no_rule_allows"),
        (("--workload", WEB, "--host", "orders.shop.example", "--method", "POST"), "no_rule_allows"),
        (("--workload", WEB, "--host", "orders.shop.example", "--header", "X-Debug: 1"), "no_rule_allows"),
        (("--host", "orders.shop.example", "--path", "/a/../b"), "ambiguous_path"),
        (("--host", "other.example"), "no_service"),
        (("--host", "orders.shop.example", "--token", "a.b.c"), "token_invalid"),
    ],
)
def test_a_denied_request_is_explained(arguments: tuple[str, ...], reason: str) -> None:
    """Exit code 3, with the reason."""
    result = run(*arguments)
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("DENY")
    assert f"  reason    {reason}" in result.stdout


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "workload: none came, wanted is one of `spiffe://shop.example/ns/front/**`"),
        (("--method", "POST"), "method: POST is none of `GET`"),
        (("--workload", WEB, "--header", "X-Debug: 1"), "the condition is false"),
        (("--workload", WEB, "--header", "Upgrade: websocket"), "upgrade: `websocket` came, the rule names none"),
    ],
)
def test_where_nothing_allows_each_allow_rule_says_what_it_lacked(arguments: tuple[str, ...], why: str) -> None:
    """Unasked where they are few."""
    result = run("--host", "orders.shop.example", *arguments)
    assert f"\n  allow rules\n    orders/read  {why}" in result.output


def test_many_rules_are_explained_only_when_asked(directory: Path) -> None:
    """They would hide the decision."""
    rules = "".join(f"      - {{id: r{n}, effect: allow, from: anyone, to: [{{methods: [PUT]}}]}}\n" for n in range(11))
    write_policies(directory, {"policies/orders.yaml": POLICY + rules})
    request = ("--workload", WEB, "--host", "orders.shop.example", "--method", "POST")
    result = run(*request)
    assert "--explain says what each of the 12 allow rules lacked" in result.output
    assert run(*request, "--explain").output.count("allow orders/r") == 12


def test_a_denial_is_explained_with_phases_nearest_rules_and_what_would_allow_it(directory: Path) -> None:
    """In words, and the same for machines."""
    request = ("--workload", WEB, "--host", "orders.shop.example", "--header", "X-Debug: 1", "--explain")
    said = run(*request).output
    assert said.partition("\n\n")[2].splitlines() == [
        "  phases",
        "    request     GET orders.shop.example /",
        f"    workload    {WEB}, known by its name",
        "    user        none",
        "    service     orders",
        "    rules     ! none allows",
        "",
        "  rules",
        "    allow orders/read  the condition is false",
        "",
        "  nearest allow rules",
        "    orders/read  (policies/orders.yaml:5:9)",
        "      the condition is false",
        '      when: !("x-debug" in request.headers)',
        "",
        "  what would make it allow",
        "    make one of the allow rules fit",
        "    orders/read: send what the condition wants, or change it (`when`)",
    ]
    told = json.loads(run(*request, "--json").output)
    assert [phase["name"] for phase in told["phases"] if phase["failed"]] == ["rules"]
    assert told["nearest"][0]["lacks"] == [{"demand": "when", "found": "the condition is false", "known": True}]
    assert len(told["changes"]) == 2


@pytest.mark.usefixtures("directory")
def test_json_has_the_rules_only_when_asked() -> None:
    """Each with what came of it; else it is the record as it is written."""
    request = ("--workload", WEB, "--host", "orders.shop.example", "--json")
    assert "rules" not in json.loads(run(*request).output)
    explained = json.loads(run(*request, "--explain").output)
    assert explained["rules"] == [{"rule": "orders/read", "effect": "allow", "outcome": "fits"}]
    assert explained["decision"] == "allow"


@pytest.mark.usefixtures("directory")
def test_what_is_refused_before_the_rules_has_none_to_explain() -> None:
    """Such as an ambiguous path."""
    result = run("--host", "orders.shop.example", "--path", "/a/../b", "--json", "--explain")
    assert json.loads(result.output)["rules"] == []


LENIENT = """\
    kind: service
    name: store
    hosts: [store.example]
    paths: lenient
    rules:
      - {id: files, effect: allow, from: anyone, to: [{paths: ["/files/{name}"]}]}
"""


def test_the_readings_of_a_lenient_path_are_told(directory: Path) -> None:
    """Each with what came of it, and the rules with what they lacked in the one that was denied."""
    write_policies(directory, {"policies/store.yaml": LENIENT})
    request = ("--host", "store.example", "--path", "/files/a%2Fb")
    said = run(*request).output
    assert "  detail    the path read decoded\n" in said
    assert "/files/a%2Fb  as sent                           allowed: store/files\n" in said
    assert "/files/a/b    decoded                           no_rule_allows\n" in said
    assert "store/files  path: `/files/a/b` fits none of `/files/{name}`" in said
    explained = json.loads(run(*request, "--explain", "--json").output)
    assert [reading["path"] for reading in explained["readings"]] == ["/files/a%2Fb", "/files/a/b", "/files/a%2Fb"]
    assert [reading["reason"] for reading in explained["readings"]] == ["allowed", "no_rule_allows", "allowed"]


@pytest.mark.parametrize("path", ["/files/a", "/files/a%2500", "/files/a%2fb%2f..%5c..;//%252e%252e%3f%23"])
def test_where_there_are_no_readings_none_are_told(directory: Path, path: str) -> None:
    """A path with one reading, and those that are refused."""
    write_policies(directory, {"policies/store.yaml": LENIENT})
    assert "readings of the path" not in run("--host", "store.example", "--path", path, "--explain").output


@pytest.mark.usefixtures("directory")
def test_json_is_the_audit_record() -> None:
    """Machines read the same names as in the audit file."""
    result = run("--workload", WEB, "--host", "orders.shop.example", "--json")
    record = json.loads(result.output)
    assert (record["decision"], record["rule"], record["workload"]) == ("allow", "orders/read", WEB)


@pytest.mark.usefixtures("directory")
def test_a_token_can_come_from_standard_input() -> None:
    """So that no process list shows it; it is verified all the same."""
    result = run("--host", "orders.shop.example", "--token", "-", stdin="a.b.c\n")
    assert "token_invalid" in result.output
    assert "a.b.c" not in result.output


def test_a_check_request_is_read_from_a_file(directory: Path) -> None:
    """Protobuf's JSON form of what Envoy sends; its certificate must prove the workload."""
    http = {"method": "GET", "path": "/orders/1", "host": "orders.shop.example"}
    attributes = {"source": {"principal": WEB}, "request": {"http": http}}
    (directory / "request.json").write_text(json.dumps({"attributes": attributes}))
    result = run("--request", "request.json")
    assert result.exit_code == 3
    assert "workload_refused" in result.output
    assert "include_peer_certificate" in result.output


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--host"),
        (("--host", "h", "--header", "no-colon"), "NAME: VALUE"),
        (("--host", "h", "--workload", "not a spiffe id"), "--workload"),
        (("--host", "h", "--client-ip", "localhost"), "`localhost` is no IP address"),
        (("--request", "missing.json"), "missing.json cannot be read: No such file or directory"),
        (("--request", "."), ". cannot be read: Is a directory"),
        (("--request", "policies/orders.yaml"), "is no CheckRequest in JSON form"),
        (("--request", "binary"), "binary is not UTF-8 text"),
        (("--request", "request.json", "--host", "h", "--client-ip", "::1"), "leave out --host, --client-ip"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_wrong_usage_says_what_to_give(arguments: tuple[str, ...], message: str) -> None:
    """Exit code 2."""
    Path("binary").write_bytes(b"\xff\xfe")
    result = run(*arguments)
    assert result.exit_code == 2
    # Long sentences are wrapped.
    assert message in " ".join(result.output.split())


@pytest.mark.usefixtures("directory")
def test_a_token_that_nobody_can_verify_is_explained() -> None:
    """Without a configuration no issuer is known; a token that is sent anyway is invalid."""
    result = run("--host", "orders.shop.example", "--token", "a.b.c")
    assert result.exit_code == 3
    assert "no issuer is known" in result.stderr
    assert "--config" in result.stderr


def test_policies_that_the_server_would_refuse_decide_nothing(directory: Path) -> None:
    """With a configuration, a trust domain that it does not have is an error in a policy; without one it is not."""
    (directory / "other.yaml").write_text("workloads: {trust_domains: {other.example: {}}}\n")
    request = ("--host", "orders.shop.example", "--workload", WEB)
    assert run(*request).exit_code == 0
    result = run(*request, "--config", "other.yaml")
    assert result.exit_code == 1
    assert "policies/orders.yaml:7:" in result.stderr


def test_broken_policies_are_explained(directory: Path) -> None:
    """Exit code 1, with every error and its place."""
    (directory / "policies/orders.yaml").write_text("kind: service\nnaem: orders\n")
    result = run("--host", "orders.shop.example")
    assert result.exit_code == 1
    assert "orders.yaml:2:1: unknown field `naem`" in result.output


def test_an_opaque_token_is_not_asked_about(directory: Path) -> None:
    """Neither allowed nor denied: nobody but the issuer can say whose it is. Exit code 2."""
    introspection = "introspection: {url: 'http://127.0.0.1:1/', client_id: a, client_secret_file: none}"
    issuer = f"{{issuer: 'https://login.example/', audiences: [a], keys: {{none: true}}, {introspection}}}"
    (directory / "authz.yaml").write_text(
        f"issuers: {{corp: {issuer}}}\nworkloads: {{trust_domains: {{shop.example: {{}}}}}}"
    )
    result = run("--config", "authz.yaml", "--host", "orders.shop.example", "--token", "opaque")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == ("authz: whose this token is only its issuer can say, and this command asks nobody\n")
    assert run("--config", "authz.yaml", "--host", "orders.shop.example", "--token", "a.b.c").exit_code == 3


def test_a_proof_is_verified_and_not_used_up(directory: Path) -> None:
    """By the engine that serves; whether it was used before only a server knows, and that is said."""
    issuer, client = SigningKey(proof_key().private_key, "ES256", "k1"), proof_key()
    (directory / "jwks.json").write_bytes(jwks(issuer.jwk()))
    policy = POLICY.replace('workloads: ["spiffe://shop.example/ns/front/**"]', "users: any")
    write_policies(directory, {"policies/orders.yaml": policy.replace("workload.id", "user.subject")})
    (directory / "authz.yaml").write_text(
        "dpop: {}\nissuers: {corp: {issuer: 'https://login.example/', audiences: [a], keys: {file: jwks.json}}}\n"
    )
    now = time.time()
    claims = {"iss": "https://login.example/", "aud": "a", "sub": "ann", "exp": now + 60, "cnf": bound_to(client)}
    token = issuer.token(claims)

    def checked(shown: str) -> Result:
        headers = ["--header", f"authorization: DPoP {token}", "--header", f"dpop: {shown}"]
        return run("--config", "authz.yaml", "--host", "orders.shop.example", *headers)

    good = proof(client, token, htu="https://orders.shop.example/", iat=now)
    for _ in range(2):
        result = checked(good)
        assert result.stderr == "authz: whether the DPoP proof was used before is known to a server only\n"
        assert result.stdout.startswith("ALLOW")
        assert "ann of corp" in result.stdout
    assert "its `htu` has another path" in checked(proof(client, token, iat=now)).stdout


READS_BODY = """
    kind: service
    name: pay
    hosts: [pay.shop.example]
    body: json
    rules:
      - {id: small, effect: allow, from: anyone, to: [{methods: [POST]}], when: body.amount < 10}
      - {id: gold, effect: allow, from: anyone, to: [{methods: [GET]}], when: 'metadata["a.b"].tier == "gold"'}
"""


@pytest.mark.parametrize(
    ("body", "header", "allowed"),
    [
        ('{"amount": 3}', "x-a: b", True),
        ('{"amount": 30}', "x-a: b", False),
        ('{"amount": 3}', "content-type: text/plain", False),
        ('{"amount": 3}', "content-length: 5", False),
        (None, "x-a: b", False),
    ],
)
def test_a_body_is_read_from_a_file(directory: Path, body: str | None, header: str, allowed: bool) -> None:
    """It is JSON unless a header says otherwise, and all that there is."""
    write_policies(directory / "policies", {"pay.yaml": READS_BODY})
    (directory / "order.json").write_text(body or "")
    given = () if body is None else ("--body", "order.json")
    result = run("--host", "pay.shop.example", "--method", "POST", "--header", header, *given)
    assert result.exit_code == (0 if allowed else 3)
    if body is None:
        assert "there is no body" in result.output
    if header == "content-length: 5":
        assert "body_incomplete" in result.output
    assert run("--host", "pay.shop.example", "--body", "none.json").exit_code == 2


def test_a_check_request_has_body_and_metadata(directory: Path) -> None:
    """As Envoy sends them; metadata of the namespaces that the configuration lists."""
    write_policies(directory / "policies", {"pay.yaml": READS_BODY})
    (directory / "authz.yaml").write_text(
        "metadata: {namespaces: [a.b]}\nworkloads: {trust_domains: {shop.example: {}}}\n"
    )
    http = {"method": "POST", "path": "/", "host": "pay.shop.example", "size": 13}
    raw = b64encode(b'{"amount": 3}').decode()
    headers = {"content-type": "application/json", "content-length": "13"}
    posted: dict[str, Any] = {"attributes": {"request": {"http": http | {"rawBody": raw, "headers": headers}}}}
    assert _decided(directory, posted) == 0
    posted["attributes"]["request"]["http"]["rawBody"] = b64encode(b'{"amount": 9').decode()
    assert _decided(directory, posted) == 3
    asked = {"request": {"http": {"method": "GET", "path": "/", "host": "pay.shop.example"}}}
    assert _decided(directory, {"attributes": asked | {"metadataContext": _written("a.b")}}) == 0
    assert _decided(directory, {"attributes": asked | {"metadataContext": _written("a.c")}}) == 3


def _written(namespace: str) -> dict[str, object]:
    return {"filterMetadata": {namespace: {"tier": "gold"}}}


def _decided(directory: Path, message: object) -> int:
    (directory / "request.json").write_text(json.dumps(message))
    return run("--request", "request.json", "--config", "authz.yaml").exit_code
