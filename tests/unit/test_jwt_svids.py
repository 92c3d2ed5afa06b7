"""JWT-SVIDs within the whole check."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authz_server.errors import Reason
from authz_server.identity.bundle import Bundle
from authz_server.identity.keys import usable_keys
from authz_server.identity.settings import IdentitySettings, JwtSvids, TrustDomain
from authz_server.model import Decision, Request
from authz_server.pipeline import check
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.snapshot import Snapshot, build_verifiers
from tests.builders import caches, plan_of, request
from tests.unit.identity.tokens import NOW, SigningKey

WEB = "spiffe://shop.example/ns/front/sa/web"
KEY = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1")
POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: front, effect: allow, from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]}
"""
SETTINGS = IdentitySettings(
    trust_domains=(TrustDomain("shop.example", verify=True),),
    jwt_svids=JwtSvids("authorization", ("orders",)),
    identity_headers=("authorization",),
)


def decide(directory: Path, settings: IdentitySettings, asked: Request, policy: str = POLICY) -> Decision:
    """The decision about a request."""
    bundles = {"shop.example": Bundle(keys=usable_keys([KEY.jwk(use="jwt-svid")], use="jwt-svid"))}
    verifiers = build_verifiers(
        1, settings, {}, bundles, caches(), hash_key=b"k" * 32, on_unknown_key=lambda issuer: None
    )
    policies = PolicyIndex(plan_of(directory, orders=policy), ConditionRuntime(), settings.identity_headers)
    return check(asked, Snapshot(1, policies, verifiers), NOW)


def with_authorization(value: str) -> Request:
    """A request with that header."""
    return request(headers={"authorization": value})


def svid(**claims: object) -> str:
    """A JWT-SVID."""
    return KEY.token({"sub": WEB, "aud": "orders", "exp": NOW + 60, **claims})


def test_where_there_are_no_issuers_it_can_come_as_a_bearer_token(tmp_path: Path) -> None:
    """JWT-SVID section 5.2; it goes no further."""
    decision = decide(tmp_path, SETTINGS, with_authorization(f"Bearer {svid()}"))
    assert decision.reason is Reason.ALLOWED
    assert decision.workload is not None
    assert decision.workload.known_by == "jwt_svid"
    assert decision.user is None
    assert decision.answer.remove_headers == ("authorization",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"Bearer {svid(exp=NOW - 60)}", Reason.TOKEN_EXPIRED),
        (f"Bearer {svid(aud='billing')}", Reason.TOKEN_INVALID),
        (f"DPoP {svid()}", Reason.TOKEN_INVALID),
        ("Bearer", Reason.TOKEN_INVALID),
        ("Basic YTpi", Reason.NO_RULE_ALLOWS),
    ],
)
def test_a_bad_bearer_token_is_no_absent_one(tmp_path: Path, value: str, reason: Reason) -> None:
    """Another scheme is somebody else's business, and names nobody."""
    assert decide(tmp_path, SETTINGS, with_authorization(value)).reason is reason


def test_a_service_in_audit_lets_no_bad_one_pass(tmp_path: Path) -> None:
    """Which workload calls is never rehearsed."""
    decision = decide(tmp_path, SETTINGS, with_authorization(f"Bearer {svid(aud='x')}"), f"{POLICY}    mode: audit\n")
    assert decision.reason is Reason.TOKEN_INVALID
    assert not decision.allowed


OWN_HEADER = msgspec.structs.replace(SETTINGS, jwt_svids=JwtSvids("x-svid", ("orders",)), identity_headers=("x-svid",))


def test_it_helps_no_principal_without_certificate(tmp_path: Path) -> None:
    """`workloads.certificate: required` stays what it is."""
    asked = request(workload=WEB, headers={"x-svid": svid()})
    assert decide(tmp_path, OWN_HEADER, asked).reason is Reason.WORKLOAD_REFUSED


def test_a_variant_of_the_header_is_refused(tmp_path: Path) -> None:
    """An upstream could take `x_svid` for it."""
    assert decide(tmp_path, OWN_HEADER, request(headers={"x-svid": svid()})).reason is Reason.ALLOWED
    both = request(headers={"x-svid": svid(), "x_svid": svid()})
    assert decide(tmp_path, OWN_HEADER, both).reason is Reason.HEADER_CONFLICT
