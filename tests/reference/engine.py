"""The engine, asked the same as the reference: bytes in, and what is on record."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.envoy.service import CheckService
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import ClaimNames, IdentitySettings, Issuer, TrustDomain
from authz_server.model import Decision
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.request.body import SENT_EXTENSION
from authz_server.snapshot import Snapshot, build_verifiers
from tests.builders import answer_to, caches, clock_at
from tests.reference.asked import Asked, Documents, Expected
from tests.reference.worlds import NOW, USERS
from tests.unit.identity.tokens import SigningKey, jwks

# Signatures that are the same each time make messages that are.
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32), "EdDSA", "k1")
ISSUERS = {"corp": "https://login.shop.example/", "partner": "https://login.partner.example/"}
SETTINGS = IdentitySettings(
    issuers=tuple(
        [Issuer(name, url, ("shop",), ("EdDSA",), ClaimNames(scopes="scopes")) for name, url in ISSUERS.items()]
    ),
    trust_domains=(TrustDomain("shop.example"), TrustDomain("partner.example")),
    certificate="principal",
)


def _token(user: Mapping[str, Any]) -> str:
    claims = {name: value for name, value in user.items() if name != "issuer"}
    return KEY.token({**claims, "iss": ISSUERS[user["issuer"]], "aud": "shop", "exp": NOW + 300, "iat": NOW - 60})


TOKENS = {json.dumps(user): _token(user) for user in USERS if user is not None}
BAD_TOKEN = SigningKey(Ed25519PrivateKey.from_private_bytes(b"x" * 32), "EdDSA", "k1").token({"iss": ISSUERS["corp"]})


class Answer:
    """What the engine says."""

    def __init__(self, response: CheckResponse, record: bytes) -> None:
        self.code: int = response.status.code
        self.record: dict[str, Any] = json.loads(record)
        own = self.record["decision_id"].encode()
        self.said = response.SerializeToString(deterministic=True).replace(own, b"")
        """All of the answer but the id of the decision."""

    @property
    def decided(self) -> Expected:
        """Reason and rule."""
        return Expected(self.record["reason"], self.record["rule"])


class Engine:
    """Check with the policies of one world."""

    def __init__(self, documents: Documents, runtime: ConditionRuntime | None = None) -> None:
        """Engines with one runtime share what their conditions read, as policies of one worker do."""
        self._records: list[bytes] = []
        self._service = CheckService(self._record, metadata=("tier.filter",))
        with TemporaryDirectory() as directory:
            for name, document in documents.items():
                file = Path(directory) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(document))
            loaded = load_policies(Path(directory))
        self.problems, self.plan = loaded.problems, loaded.plan
        if loaded.plan is not None:
            keys = {name: parse_jwks(jwks(KEY.jwk())) for name in ISSUERS}
            verifiers = build_verifiers(
                1, SETTINGS, keys, {}, caches(), hash_key=b"k" * 32, on_unknown_key=lambda _: None
            )
            index = PolicyIndex(loaded.plan, runtime or ConditionRuntime(), ())
            self._service.snapshot = Snapshot(1, index, verifiers)

    @property
    def snapshot(self) -> Snapshot | None:
        """What it decides with."""
        return self._service.snapshot

    @snapshot.setter
    def snapshot(self, snapshot: Snapshot) -> None:
        self._service.snapshot = snapshot

    def answer(self, asked: Asked) -> Answer:
        """Decide one request."""
        return self.send(message_of(asked).SerializeToString(), asked.now)

    def send(self, payload: bytes, now: float) -> Answer:
        """Send a message as it is."""
        with clock_at(now):
            response = answer_to(self._service, payload)
        return Answer(response, self._records.pop())

    def _record(self, decision: Decision, latency_us: int) -> None:
        self._records.append(encode(decision, worker=0, latency_us=latency_us, redaction=_REDACTION))


_REDACTION = Redaction((), b"k" * 32)


def message_of(asked: Asked) -> CheckRequest:
    """The message that Envoy would make of it."""
    message = CheckRequest()
    attributes = message.attributes
    http = attributes.request.http
    http.method, http.path, http.host = asked.method, asked.target, asked.host
    for name, value in asked.headers.items():
        http.header_map.headers.add(key=name, raw_value=value.encode())
    token = BAD_TOKEN if asked.bad_token else None if asked.user is None else TOKENS[json.dumps(asked.user)]
    if token is not None:
        http.header_map.headers.add(key="authorization", raw_value=f"Bearer {token}".encode())
    if asked.workload is not None:
        attributes.source.principal = asked.workload
    attributes.source.address.socket_address.address = asked.address
    if asked.port is not None:
        attributes.destination.address.socket_address.port_value = asked.port
    _add_body(message, asked)
    for namespace, members in asked.metadata.items():
        attributes.metadata_context.filter_metadata[namespace].update(members)
    if asked.service is not None:
        attributes.context_extensions["service"] = asked.service
    return message


def _add_body(message: CheckRequest, asked: Asked) -> None:
    """The body as Envoy sends it, or cut, or without a word on how much is sent."""
    http = message.attributes.request.http
    if asked.body is not None:
        cut = "false" if asked.body_is_whole else "true"
        http.raw_body, http.size = asked.body, len(asked.body)
        http.header_map.headers.add(key="x-envoy-auth-partial-body", raw_value=cut.encode())
    if asked.body_is_whole or asked.body is not None:
        message.attributes.context_extensions[SENT_EXTENSION] = "1000"
