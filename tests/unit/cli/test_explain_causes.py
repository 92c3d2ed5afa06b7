"""`authz explain` names the cause of each denial: one is planted in each request, over all reasons."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from typer.testing import CliRunner

from authz_server import pipeline
from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.cli import app
from authz_server.control.revisions import Revisions
from authz_server.control.revocations import parse_revocations
from authz_server.errors import Reason, Refused
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import Dpop, IdentitySettings, Issuer, TrustDomain
from authz_server.model import Decision, Request
from authz_server.policy.compiler import KnownNames
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.files import read_directory
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.snapshot import Snapshot, build_verifiers
from tests.builders import caches, request, write_policies
from tests.unit.identity.tokens import CORP, NOW, SigningKey, jwks

WEB = "spiffe://shop.example/ns/front/sa/web"
POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example, admin.shop.example]
    body: json
    rules:
      - {id: scope, effect: allow, from: [{users: {issuer: corp, scopes: [read, write]}}], to: [{paths: [/scope]}]}
      - {id: role, effect: allow, from: [{users: {issuer: corp, roles: [admin]}}], to: [{paths: [/role]}]}
      - {id: group, effect: allow, from: [{users: {issuer: corp, groups: [support]}}], to: [{paths: [/group]}]}
      - {id: claim, effect: allow, from: [{users: {issuer: corp, claims: {tenant: t1}}}], to: [{paths: [/claim]}]}
      - {id: subject, effect: allow, from: [{users: {issuer: corp, subjects: [ann]}}], to: [{paths: [/subject]}]}
      - {id: issuer, effect: allow, from: [{users: {issuer: partner}}], to: [{paths: [/issuer]}]}
      - id: actor
        effect: allow
        from: [{users: {issuer: corp, actors: ["spiffe://shop.example/ns/jobs/**"]}}]
        to: [{paths: [/actor]}]
      - {id: named, effect: allow, from: [{roles: [staff]}], to: [{paths: [/named]}]}
      - id: workload
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/back/**"]}]
        to: [{paths: [/workload]}]
      - {id: network, effect: allow, from: [{networks: [10.0.0.0/8]}], to: [{paths: [/network]}]}
      - {id: anonymous, effect: allow, from: [{anonymous: true}], to: [{paths: [/anonymous]}]}
      - {id: method, effect: allow, from: anyone, to: [{paths: [/method], methods: [PUT, PATCH]}]}
      - {id: path, effect: allow, from: anyone, to: [{paths: ["/path/{id}/lines"], methods: [GET]}]}
      - {id: host, effect: allow, from: anyone, to: [{paths: [/host], hosts: [admin.shop.example]}]}
      - {id: port, effect: allow, from: anyone, to: [{paths: [/port], ports: [8443]}]}
      - {id: upgrade, effect: allow, from: anyone, to: [{paths: [/upgrade]}]}
      - {id: grpc, effect: allow, from: anyone, to: [{grpc: {service: orders.v1.Refunds, methods: [Create]}}]}
      - {id: header, effect: allow, from: anyone, to: [{paths: [/header]}], when: 'request.headers["x-team"] == "a"'}
      - {id: query, effect: allow, from: anyone, to: [{paths: [/query]}], when: 'request.query["size"] == ["1"]'}
      - {id: capture, effect: allow, from: anyone, to: [{paths: ["/capture/{id}"]}], when: 'path.id == "c7"'}
      - id: value
        effect: allow
        from: [{users: {issuer: corp}}]
        to: [{paths: [/value]}]
        when: user.claims.limit > 5
      - id: answer
        effect: allow
        from: [{users: {issuer: corp}}]
        to: [{paths: [/answer]}]
        answer: {set_headers: {x-user: string(user.claims.customer)}}
      - id: past
        effect: allow
        from: anyone
        to: [{paths: [/past]}]
        valid: {until: "2026-01-01T00:00:00Z"}
      - id: night
        effect: allow
        from: anyone
        to: [{paths: [/night]}]
        schedule: {days: [sat], hours: 22:00-06:00, zone: Europe/Zurich}
      - {id: acr, effect: allow, from: [{users: {issuer: corp}}], to: [{paths: [/acr]}], requires: {acr: [mfa]}}
      - id: age
        effect: allow
        from: [{users: {issuer: corp}}]
        to: [{paths: [/age]}]
        requires: {max_auth_age: 5m}
      - {id: body, effect: allow, from: anyone, to: [{paths: [/body]}], when: body.amount < 5}
      - {id: shut, effect: deny, from: anyone, to: [{paths: [/shut]}]}
      - {id: debug, effect: deny, from: anyone, to: [{paths: [/debug]}], when: 'request.headers["x-debug"] == "1"'}
      - {id: broken, effect: deny, from: anyone, to: [{paths: [/broken]}], when: 'request.headers["x-debug"] == "1"'}
      - {id: bad-body, effect: deny, from: anyone, to: [{paths: [/bad-body]}], when: body.amount > 5}
      - {id: rest, effect: allow, from: anyone, to: [{paths: [/debug, /broken, /bad-body, /good]}]}
"""
MORE = {
    "roles.yaml": "kind: roles\nroles: {staff: [{users: {issuer: corp, groups: [staff]}}]}\n",
    "guardrails.yaml": "kind: guardrails\nrules: [{id: no-trace, effect: deny, to: [{methods: [TRACE]}]}]\n",
    "files.yaml": """\
        kind: service
        name: files
        hosts: [files.shop.example]
        paths: lenient
        rules: [{id: one, effect: allow, from: anyone, to: [{paths: ["/one/{name}"]}]}]
    """,
    "part.yaml": """\
        kind: service
        name: part
        hosts: [part.shop.example]
        path_prefix: /api
        rules: [{id: r, effect: allow, from: anyone}]
    """,
}
REVOKED = b"issuers: {corp: {subjects: [mallory]}}\nworkloads: [spiffe://shop.example/ns/front/sa/old]\n"
KEY = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k")
OTHER_KEY = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k")
PARTNER = "https://login.partner.example/"
SETTINGS = IdentitySettings(
    issuers=(
        Issuer(name="corp", issuer=CORP, audiences=("shop",), algorithms=("ES256",)),
        Issuer(name="partner", issuer=PARTNER, audiences=("shop",), algorithms=("ES256",)),
        Issuer(name="late", issuer="https://late.example/", audiences=("shop",), algorithms=("ES256",)),
    ),
    trust_domains=(TrustDomain("shop.example"),),
    certificate="principal",
    dpop=Dpop(),
    identity_headers=("x-user",),
)


class Scene:
    """A server's directory: policies, their revision, an audit file."""

    def __init__(self, directory: Path) -> None:
        write_policies(directory / "policies", {"orders.yaml": POLICY, **MORE})
        loaded = load_policies(directory / "policies")
        assert loaded.plan is not None, "\n".join(map(str, loaded.problems))
        files, _ = read_directory(directory / "policies")
        Revisions(directory / "run" / "revisions", directory / "policies", 9, 1 << 20).write(files, NOW)
        self.audit = directory / "audit" / "decisions.jsonl"
        self.audit.parent.mkdir()
        keys = parse_jwks(jwks(KEY.jwk()))
        known = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))
        verifiers = build_verifiers(
            1,
            SETTINGS,
            {"corp": keys, "partner": keys},
            {},
            caches(),
            hash_key=b"k" * 32,
            on_unknown_key=lambda _issuer: None,
            revocations=parse_revocations(REVOKED, known),
        )
        self.snapshot = Snapshot(1, PolicyIndex(loaded.plan, ConditionRuntime(), SETTINGS.identity_headers), verifiers)

    def decide(self, asked: Request) -> Decision:
        """As a worker does, at the time of the tokens."""
        return pipeline.check(asked, self.snapshot, NOW)

    def recorded(self, decision: Decision) -> str:
        """Write the record of a decision, among others; gives its id."""
        others = [self.decide(request(path="/good")) for _ in range(2)]
        with self.audit.open("ab") as file:
            for each in (others[0], decision, others[1]):
                file.write(encode(each, worker=0, latency_us=1, redaction=Redaction((), b"k")) + b"\n")
        return decision.id


def user(path: str, headers: dict[str, str] | None = None, **claims: Any) -> Request:
    """A request of a user with these claims beside the usual ones."""
    return request(path=path, headers={"authorization": f"Bearer {KEY.token(**claims)}", **(headers or {})})


def anyone(path: str, **more: Any) -> Request:
    """A request of nobody."""
    return request(path=path, **more)


def with_body(path: str, body: bytes, sent: str) -> Request:
    """A request with a body, of which the proxy sends so much."""
    asked = request(path=path, headers={"content-type": "application/json"}, extensions={"max_request_bytes": sent})
    return replace(asked, body=body, method="POST")


class Planted(NamedTuple):
    """A request with one thing wrong, what the decision says, and what the explanation has to name."""

    name: str
    request: Request | Callable[[Scene], Decision]
    reason: Reason
    causes: tuple[str, ...]


def unkept(scene: Scene) -> Decision:
    """What would be allowed, and cannot be recorded."""
    asked = anyone("/good")
    return pipeline.unrecorded(scene.decide(asked), asked, Refused(Reason.AUDIT_UNAVAILABLE, "the spool is full"))


NO = Reason.NO_RULE_ALLOWS
PLANTED = [
    Planted("scope", user("/scope", scope="read"), NO, ("orders/scope  ", "the scopes lack `write` (has `read`)")),
    Planted("role", user("/role", roles=["user"]), NO, ("the roles have none of `admin` (has `user`)",)),
    Planted("group", user("/group", groups=["sales"]), NO, ("the groups have none of `support` (has `sales`)",)),
    Planted("claim", user("/claim", tenant="t2"), NO, ("the claim `tenant` has none of the values wanted",)),
    Planted("missing claim", user("/claim"), NO, ("the claim `tenant` has none", "absent: ", "user.claims.tenant")),
    Planted("subject", user("/subject"), NO, ("the subject is none of `ann`",)),
    Planted("issuer", user("/issuer"), NO, ("the issuer is `corp`, not `partner`",)),
    Planted("no actor", user("/actor"), NO, ("nobody acts on their behalf",)),
    Planted("actor", user("/actor", act={"sub": "x"}), NO, ("who acts on their behalf is none of",)),
    Planted("named role", user("/named", groups=["x"]), NO, ("role: user: the groups have none of `staff`",)),
    Planted("workload", anyone("/workload", workload=WEB), NO, (f"workload: `{WEB}` fits none of",)),
    Planted("no workload", anyone("/workload"), NO, ("workload: none came",)),
    Planted("network", anyone("/network", client_address="192.0.2.1"), NO, ("192.0.2.1 is in none of `10.0.0.0/8`",)),
    Planted("no address", anyone("/network"), NO, ("the client's address is not known",)),
    Planted("identity", anyone("/anonymous", workload=WEB), NO, ("anonymous: the caller has an identity",)),
    Planted("method", anyone("/method"), NO, ("method: GET is none of `PUT`, `PATCH`",)),
    Planted("path", anyone("/path/7"), NO, ("path: `/path/7` fits none of `/path/{id}/lines`",)),
    Planted("host", anyone("/host"), NO, ("host: `orders.shop.example` fits none of `admin.shop.example`",)),
    Planted(
        "port",
        replace(anyone("/port", destination_port=80), destination_address="192.0.2.9"),
        NO,
        ("port: 80 is none of `8443`",),
    ),
    Planted("upgrade", anyone("/upgrade", headers={"upgrade": "websocket"}), NO, ("upgrade: `websocket` came",)),
    Planted(
        "grpc",
        replace(anyone("/orders.v1.Refunds/List", headers={"content-type": "application/grpc"}), method="POST"),
        NO,
        ("gRPC: `/orders.v1.Refunds/List` is no call of orders.v1.Refunds `Create`",),
    ),
    Planted(
        "header",
        anyone("/header", headers={"x-team": "b"}),
        NO,
        ("the condition is false", 'when: request.headers["x-team"] == "a"', 'request.headers[x-team]  "b"'),
    ),
    Planted("no header", anyone("/header"), NO, ("`request.headers[x-team]` is missing",)),
    Planted("query", anyone("/query?size=2"), NO, ("the condition is false", 'request.query[size]  ["2"]')),
    Planted("capture", anyone("/capture/c8"), NO, ("the condition is false", 'when: path.id == "c7"')),
    Planted("value", user("/value", limit=5), NO, ("the condition is false", "user.claims.limit  5")),
    Planted("no value", user("/value"), NO, ("`user.claims.limit` is missing",)),
    Planted("answer", user("/answer"), NO, ("the answer could not be evaluated", "`user.claims.customer` is missing")),
    Planted("past", anyone("/past"), NO, ("orders/past", "it does not exist at this time")),
    Planted("night", anyone("/night"), NO, ("orders/night", "it does not exist at this time")),
    Planted(
        "reading",
        anyone("/one/a%2Fb", host="files.shop.example"),
        NO,
        ("/one/a/b", "decoded", "path: `/one/a/b` fits none of `/one/{name}`"),
    ),
    Planted("no user", anyone("/scope"), Reason.UNAUTHENTICATED, ("user: no token came", "send a token")),
    Planted(
        "acr", user("/acr", acr="pwd"), Reason.STEP_UP_REQUIRED, ("orders/acr would allow", 'user.claims.acr  "pwd"')
    ),
    Planted("age", user("/age", auth_time=NOW - 900), Reason.STEP_UP_REQUIRED, ("orders/age would allow",)),
    Planted(
        "cut body", with_body("/body", b'{"amount": 3}', "13"), Reason.BODY_INCOMPLETE, ("orders/body needs the body",)
    ),
    Planted(
        "cut body, denied",
        with_body("/bad-body", b'{"amount": 3}', "13"),
        Reason.BODY_INCOMPLETE,
        ("orders/bad-body needs the body",),
    ),
    Planted(
        "large amount", with_body("/body", b'{"amount": 9}', "99"), NO, ("the condition is false", "body.amount  9")
    ),
    Planted("deny", anyone("/shut"), Reason.DENIED_BY_RULE, ("orders/shut denies", "no allow rule fits")),
    Planted(
        "deny by header",
        anyone("/debug", headers={"x-debug": "1"}),
        Reason.DENIED_BY_RULE,
        ("orders/debug denies", 'request.headers[x-debug]  "1"', "then orders/rest allows"),
    ),
    Planted(
        "deny by body",
        with_body("/bad-body", b'{"amount": 9}', "99"),
        Reason.DENIED_BY_RULE,
        ("orders/bad-body denies", "body.amount  9"),
    ),
    Planted(
        "guardrail", replace(anyone("/good"), method="TRACE"), Reason.DENIED_BY_RULE, ("guardrails/no-trace denies",)
    ),
    Planted(
        "deny error",
        anyone("/broken"),
        Reason.DENY_RULE_ERROR,
        ("orders/broken denies, because it cannot be evaluated", "`request.headers[x-debug]` is missing"),
    ),
    Planted("other host", anyone("/", host="no.example"), Reason.NO_SERVICE, ("! no service has this host and path",)),
    Planted(
        "prefix", anyone("/x", host="part.shop.example"), Reason.NO_SERVICE, ("! no service has this host and path",)
    ),
    Planted(
        "route",
        anyone("/good", extensions={"service": "gone"}),
        Reason.NO_SERVICE,
        ("! the route names a service without policy",),
    ),
    Planted(
        "trust domain", anyone("/good", workload="spiffe://other.example/x"), Reason.WORKLOAD_REFUSED, ("workload  !",)
    ),
    Planted(
        "no SPIFFE ID", anyone("/good", workload="spiffe://shop.example//x"), Reason.WORKLOAD_REFUSED, ("workload  !",)
    ),
    Planted(
        "revoked workload",
        anyone("/good", workload="spiffe://shop.example/ns/front/sa/old"),
        Reason.WORKLOAD_REFUSED,
        ("revoked",),
    ),
    Planted("audience", user("/good", aud="bank"), Reason.TOKEN_INVALID, ("user      !", "aud")),
    Planted(
        "signature",
        anyone("/good", headers={"authorization": f"Bearer {OTHER_KEY.token()}"}),
        Reason.TOKEN_INVALID,
        ("user      !", "signature"),
    ),
    Planted("no token", anyone("/good", headers={"authorization": "Bearer "}), Reason.TOKEN_INVALID, ("has no token",)),
    Planted("expired", user("/good", exp=NOW - 60), Reason.TOKEN_EXPIRED, ("expired", "send a fresh token")),
    Planted("revoked", user("/good", sub="mallory"), Reason.TOKEN_REVOKED, ("revoked", "have the user log in again")),
    Planted(
        "no proof",
        anyone("/good", headers={"authorization": f"DPoP {KEY.token(cnf={'jkt': 'x' * 43})}"}),
        Reason.PROOF_INVALID,
        ("user      !", "proof"),
    ),
    Planted("no keys", user("/good", iss="https://late.example/"), Reason.ISSUER_UNAVAILABLE, ("late",)),
    Planted("newline", anyone("/good", headers={"x-a": "1\n2"}), Reason.MALFORMED_REQUEST, ("line feed",)),
    Planted(
        "two tokens",
        anyone("/good", headers={"authorization": "Bearer a,b"}),
        Reason.MALFORMED_REQUEST,
        ("two Authorization headers",),
    ),
    Planted("dots", anyone("/a/../b"), Reason.AMBIGUOUS_PATH, ("request  ! GET orders.shop.example /a/../b: ",)),
    Planted("slash", anyone("/a%2fb"), Reason.AMBIGUOUS_PATH, ("request  ! GET orders.shop.example /a%2fb: ",)),
    Planted("bad host", anyone("/good", host="a b"), Reason.BAD_HOST, ("request  !", "host")),
    Planted("bad method", replace(anyone("/good"), method="get"), Reason.BAD_METHOD, ("request  ! get ", "upper case")),
    Planted(
        "contradiction",
        anyone("/good", headers={":path": "/x"}),
        Reason.HEADER_CONFLICT,
        ("the header :path contradicts",),
    ),
    Planted("variant", anyone("/good", headers={"x_user": "root"}), Reason.HEADER_CONFLICT, ("underscore variant",)),
    Planted("old", anyone("/good", extensions={"min_revision": "9"}), Reason.NOT_READY, ("server", "9")),
    Planted("shed", lambda _: pipeline.shed(7, Reason.OVERLOADED, NOW), Reason.OVERLOADED, ("run more workers",)),
    Planted("late", lambda _: pipeline.shed(1, Reason.DEADLINE, NOW), Reason.DEADLINE, ("raise the `timeout`",)),
    Planted("no room", unkept, Reason.AUDIT_UNAVAILABLE, ("the spool is full", "make room for records")),
    Planted(
        "defect",
        lambda _: pipeline.refused(Request(), Reason.INTERNAL_ERROR, "ZeroDivisionError", NOW),
        Reason.INTERNAL_ERROR,
        ("ZeroDivisionError", "look for the decision id in the log"),
    ),
]


@pytest.fixture(scope="module", name="scene")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("server"))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_the_cause_is_named(planted: Planted, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the phase that failed, or at the rule that is meant, and nothing is left open."""
    monkeypatch.chdir(scene.audit.parent.parent)
    decision = planted.request(scene) if callable(planted.request) else scene.decide(planted.request)
    assert decision.reason is planted.reason, decision.detail
    result = CliRunner().invoke(app, ["explain", scene.recorded(decision)])
    assert result.exit_code == 0, result.stdout
    said = result.stdout
    assert said.startswith("DENY  ")
    assert f"  reason    {planted.reason}\n" in said
    # Not only in the list of all rules, where somebody has to look for it.
    before, rules, rest = said.partition("\n  rules\n")
    told = before + rules + rest.partition("\n\n")[2]
    assert [cause for cause in planted.causes if cause not in told] == [], said
    assert "comes out otherwise" not in said


def test_a_cause_is_planted_for_every_reason() -> None:
    """At least forty of them."""
    assert {planted.reason for planted in PLANTED} == set(Reason) - {Reason.ALLOWED}
    assert len(PLANTED) >= 40
