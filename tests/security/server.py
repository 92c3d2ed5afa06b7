"""A whole Check in this process: bytes in, bytes out, with real policies, certificates, keys and records."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.envoy.service import CheckService
from authz_server.errors import OUTCOMES, PUBLIC_REASON, Reason
from authz_server.identity.bundle import parse_bundle
from authz_server.identity.dpop import Replays
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import Dpop, ForwardedCallers, IdentitySettings, Issuer, TrustDomain
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.model import Decision
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.request.body import DEFAULT_MAX_BYTES, SENT_EXTENSION
from authz_server.snapshot import Snapshot, build_verifiers
from tests.builders import answer_to, caches, plan_of
from tests.unit.identity.certificates import WEB, Authority, pem, url_encoded
from tests.unit.identity.tokens import CORP, SigningKey, jwks

HOST = "orders.shop.example"
PARTNER = "https://partner.example/"
SECRET = "s3cr3t-of-the-caller"
POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    body: json
    rules:
      - {id: public, effect: allow, from: anyone, to: [{methods: [GET], paths: ["/public/**"]}]}
      - {id: exact, effect: allow, from: anyone, to: [{methods: [GET], paths: [/exact]}]}
      - {id: web, effect: allow, from: [{workloads: ["spiffe://shop.example/ns/front/sa/web"]}],
         to: [{methods: [GET], paths: [/list]}], answer: {set_headers: {x-workload: workload.id}}}
      - {id: ns-a, effect: allow, from: [{workloads: ["spiffe://shop.example/ns/a/**"]}], to: [{paths: [/a]}]}
      - {id: users, effect: allow, from: [{users: any}], to: [{paths: [/me]}],
         answer: {set_headers: {x-user: user.subject}}}
      - {id: tenant, effect: allow, from: anyone, to: [{paths: [/tenant]}], when: 'request.headers["x-tenant"] == "t1"'}
      - {id: tagged, effect: allow, from: anyone, to: [{paths: [/tagged]}]}
      - {id: search, effect: allow, from: anyone, to: [{paths: [/search]}], when: 'request.query["a"] == ["1"]'}
      - {id: rpc, effect: allow, from: anyone, to: [{grpc: {service: orders.v1.Orders, methods: [Get]}}]}
      - {id: pay, effect: allow, from: anyone, to: [{paths: [/pay]}], when: body.amount <= 100}
      - {id: pay-nothing, effect: allow, from: anyone, to: [{paths: [/pay]}], when: "!has_body"}
      - {id: upload, effect: allow, from: anyone, to: [{paths: [/upload]}]}
      - {id: no-millions, effect: deny, to: [{paths: [/upload]}],
         when: "has_body && has(body.amount) && body.amount >= 1000000"}
      - {id: gold, effect: allow, from: anyone, to: [{paths: [/gold]}], when: 'metadata["tier.filter"].tier == "gold"'}
      - {id: not-banned, effect: deny, to: [{paths: [/gold]}], when: 'metadata["tier.filter"].banned == true'}
      - {id: inner, effect: allow, from: [{networks: [10.0.0.0/8]}], to: [{paths: [/inner]}]}
      - {id: no-admin, effect: deny, to: [{paths: [/admin, "/admin/**"]}]}
      - {id: no-wipe, effect: deny, to: [{grpc: {service: orders.v1.Orders, methods: [Wipe]}}]}
      - {id: no-guests, effect: deny, to: [{paths: [/tagged]}],
         when: '"x-role" in request.header_values && "guest" in request.header_values["x-role"]'}
"""
ISSUERS = (
    Issuer("corp", CORP, ("shop",), algorithms=("ES256", "RS256")),
    Issuer("partner", PARTNER, ("shop",), algorithms=("ES256",)),
)


class Ask(Struct, frozen=True, kw_only=True):
    """What Envoy says of a request."""

    method: str = "GET"
    path: str = "/public/a"
    host: str = HOST
    headers: Sequence[tuple[str, str | bytes]] = ()
    certificate: str = ""
    principal: str = ""
    protocol: str = "HTTP/1.1"
    address: str = "192.0.2.7"
    body: bytes | None = None
    """What Envoy sends of it; None where it sends none."""
    announced: bool = True
    """The route says that bodies are sent."""
    change: Callable[[CheckRequest], None] | None = None
    """Whatever else is to be done to the message."""


class Outcome(Struct, frozen=True):
    """What came of it: the answer, and the record."""

    response: CheckResponse
    record: Mapping[str, Any]

    @property
    def allowed(self) -> bool:
        """What Envoy understands."""
        return bool(self.response.status.code == 0)

    @property
    def reason(self) -> str:
        """The reason on record."""
        return str(self.record["reason"])

    def request_headers(self) -> dict[str, str]:
        """What the upstream gets from us."""
        return {option.header.key: option.header.value for option in self.response.ok_response.headers}


class Server:
    """A worker's Check with everything that it decides with."""

    def __init__(self, directory: Path, policy: str = POLICY) -> None:
        self.ca, self.partner_ca = _authority("shop CA"), _authority("partner CA")
        self.key = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1")
        self.partner_key = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1")
        self.plan = plan_of(directory, orders=policy)
        self.records: list[bytes] = []
        self.unknown_keys: list[str] = []
        self.service = CheckService(self._record, metadata=("tier.filter",))
        self.load()

    def load(
        self,
        *,
        bundles: Mapping[str, bytes] | None = None,
        keys: Mapping[str, bytes] | None = None,
        forwarded: ForwardedCallers | None = None,
        dpop: Dpop | None = None,
        replays: Replays | None = None,
        generation: int = 1,
        signer: UpstreamTokenSigner | None = None,
    ) -> None:
        """Decide with these bundles and keys from now on; `signer` signs in the header `x-authz-token`."""
        settings = IdentitySettings(
            issuers=ISSUERS,
            trust_domains=(TrustDomain("shop.example", verify=True), TrustDomain("partner.example", verify=True)),
            identity_headers=("x-user", "x-workload", *([] if signer is None else ["x-authz-token"])),
            forwarded=forwarded,
            dpop=dpop,
        )
        ours = {"shop.example": pem(self.ca.certificate(start=_yesterday()))}
        ours["partner.example"] = pem(self.partner_ca.certificate(start=_yesterday()))
        published = {"corp": jwks(self.key.jwk()), "partner": jwks(self.partner_key.jwk())}
        verifiers = build_verifiers(
            generation,
            settings,
            {name: parse_jwks(document) for name, document in {**published, **(keys or {})}.items()},
            {domain: parse_bundle(text) for domain, text in {**ours, **(bundles or {})}.items()},
            caches(),
            hash_key=b"k" * 32,
            on_unknown_key=self.unknown_keys.append,
            replays=replays,
        )
        index = PolicyIndex(self.plan, ConditionRuntime(), settings.identity_headers)
        self.service.snapshot = Snapshot(generation, index, verifiers, signer)

    def ask(self, ask: Ask) -> Outcome:
        """Ask as Envoy does."""
        message = message_of(ask)
        if ask.change is not None:
            ask.change(message)
        return self.send(message.SerializeToString())

    def send(self, payload: bytes) -> Outcome:
        """Send a message as it is; there is exactly one record of it."""
        before = len(self.records)
        response = answer_to(self.service, payload)
        assert len(self.records) == before + 1
        return Outcome(response, json.loads(self.records[-1]))

    def as_web(self, certificate: str | None = None, **fields: Any) -> Ask:
        """A request of the workload `web`, or of whoever this certificate is."""
        shown = url_encoded(self.leaf()) if certificate is None else certificate
        fields = {"path": "/list", "principal": WEB} | fields
        return Ask(certificate=shown, **fields)

    def leaf(self, san: Any = WEB, *, authority: Authority | None = None, **fields: Any) -> Any:
        """A leaf of our CA that is valid now."""
        fields = {"start": datetime.now(UTC) - timedelta(minutes=5)} | fields
        return (authority or self.ca).leaf(san, **fields)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token; None takes one away."""
        now = time.time()
        claims = {"iss": CORP, "aud": "shop", "sub": SECRET, "iat": now - 60, "exp": now + 300} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def with_token(self, token: str | None = None, scheme: str = "Bearer") -> Ask:
        """A request of a user."""
        shown = self.key.token(self.claims()) if token is None else token
        return Ask(path="/me", headers=[("authorization", f"{scheme} {shown}")])

    def _record(self, decision: Decision, latency_us: int) -> None:
        self.records.append(encode(decision, worker=0, latency_us=latency_us, redaction=Redaction((), b"k" * 32)))


def message_of(ask: Ask) -> CheckRequest:
    """The message that Envoy makes of a request, with raw headers as our configuration has it."""
    message = CheckRequest()
    source, http = message.attributes.source, message.attributes.request.http
    source.certificate, source.principal = ask.certificate, ask.principal
    source.address.socket_address.address = ask.address
    if ask.announced:
        message.attributes.context_extensions[SENT_EXTENSION] = str(DEFAULT_MAX_BYTES + 1)
    if ask.body is not None:
        http.raw_body, http.size = ask.body, len(ask.body)
        http.header_map.headers.add(key="x-envoy-auth-partial-body", raw_value=b"false")
    http.method, http.path, http.host, http.protocol = ask.method, ask.path, ask.host, ask.protocol
    for name, value in ask.headers:
        http.header_map.headers.add(key=name, raw_value=value if isinstance(value, bytes) else value.encode())
    return message


def assert_denied(outcome: Outcome, *reasons: Reason | str) -> None:
    """An explicit denial with the codes of one of these reasons, which gives nothing away."""
    response = outcome.response
    assert outcome.reason in reasons, outcome.record
    reason = Reason(outcome.reason)
    assert response.status.code == OUTCOMES[reason].grpc_code != 0
    assert response.WhichOneof("http_response") == "denied_response"
    assert response.denied_response.status.code == OUTCOMES[reason].http_status >= 400
    assert SECRET not in str(response)
    # gRPC gets a line of text.
    if response.denied_response.body.startswith("{"):
        _assert_problem(response.denied_response.body, reason)


def _assert_problem(body: str, reason: Reason) -> None:
    told = json.loads(body)
    assert set(told) <= {"type", "title", "status", "reason", "decision_id", "hint"}
    assert told["reason"] == PUBLIC_REASON.get(reason, reason)


def _authority(name: str) -> Authority:
    return Authority(name, ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))


def _yesterday() -> datetime:
    return datetime.now(UTC) - timedelta(hours=12)
