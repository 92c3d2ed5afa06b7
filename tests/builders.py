"""Builders for tests: policies from text, snapshots and requests."""

import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from textwrap import dedent
from typing import Any

from authz_server.dev.ca import DevelopmentCa
from authz_server.envoy.service import CheckService
from authz_server.identity.cache import BoundedCache
from authz_server.identity.dpop import Replays
from authz_server.identity.introspection import OpaqueTokens
from authz_server.identity.keys import KeySet
from authz_server.identity.settings import IdentitySettings, TrustDomain
from authz_server.model import Request
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.policy.plan import Plan
from authz_server.snapshot import Caches, Snapshot, build_verifiers

PRINCIPALS_ARE_BELIEVED = IdentitySettings(
    trust_domains=(TrustDomain(name="shop.example"),), certificate="principal", identity_headers=("x-user",)
)


class Call:
    """A call's context, perhaps with a deadline; keeps what is answered later."""

    def __init__(self, remaining_s: float | None = None) -> None:
        self._remaining_s = remaining_s
        self.answered: bytes | None = None

    def time_remaining(self) -> float | None:
        """Seconds left."""
        return self._remaining_s

    def answer(self, answer: bytes) -> None:
        """Keep what is answered later."""
        self.answered = answer


def answer_to(service: CheckService, payload: bytes, remaining_s: float | None = None) -> CheckResponse:
    """What a service answers at once."""
    answer = service.check(payload, Call(remaining_s))
    assert answer is not None
    return CheckResponse.FromString(answer)


@contextmanager
def clock_at(now: float) -> Iterator[None]:
    """The time is this, in seconds since the epoch, while the block runs; a mock costs more than a check."""
    real = time.time
    time.time = lambda: now
    try:
        yield
    finally:
        time.time = real


def write_policies(directory: Path, files: Mapping[str, str]) -> Path:
    """Write policy files, indented as they stand in a test."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return directory


def plan_of(directory: Path, **files: str) -> Plan:
    """The compiled plan of policy texts; keyword `shop__orders` is the file `shop/orders.yaml`."""
    names = {name.replace("__", "/") + ".yaml": text for name, text in files.items()}
    loaded = load_policies(write_policies(directory, names))
    assert loaded.plan is not None, "\n".join(map(str, loaded.problems))
    return loaded.plan


def spiffe_bundle(ca: DevelopmentCa, *keys: Mapping[str, Any], **members: object) -> dict[str, Any]:
    """A trust domain's bundle in SPIFFE's format: its CA, and keys of JWT-SVIDs as JWKs."""
    der = PEM_cert_to_DER_cert(ca.bundle_pem)
    authority = {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": [b64encode(der).decode()]}
    return {"keys": [authority, *({**key, "use": "jwt-svid"} for key in keys)], **members}


def caches() -> Caches:
    """Caches as a worker has them."""
    return Caches(
        certificates=BoundedCache(max_entries=100, max_bytes=1_000_000),
        tokens=BoundedCache(max_entries=100, max_bytes=1_000_000),
    )


def snapshot_of(
    plan: Plan,
    settings: IdentitySettings = PRINCIPALS_ARE_BELIEVED,
    *,
    keys: Mapping[str, KeySet] | None = None,
    opaque: OpaqueTokens | None = None,
    replays: Replays | None = None,
) -> Snapshot:
    """A snapshot without trust bundles."""
    verifiers = build_verifiers(
        1,
        settings,
        keys or {},
        {},
        caches(),
        hash_key=b"k" * 32,
        on_unknown_key=lambda issuer: None,
        opaque=opaque,
        replays=replays,
    )
    return Snapshot(1, PolicyIndex(plan, ConditionRuntime(), settings.identity_headers), verifiers)


def request(
    method: str = "GET",
    path: str = "/",
    *,
    host: str = "orders.shop.example",
    workload: str = "",
    headers: Mapping[str, str] | None = None,
    client_address: str = "",
    destination_port: int | None = None,
    extensions: Mapping[str, str] | None = None,
    id: str = "",
) -> Request:
    """A request as a proxy would report it."""
    return Request(
        method=method,
        target=path,
        host=host,
        headers=tuple((name, value.encode()) for name, value in (headers or {}).items()),
        principal=workload,
        protocol="HTTP/1.1",
        client_address=client_address,
        destination_port=destination_port,
        extensions=extensions or {},
        id=id,
    )
