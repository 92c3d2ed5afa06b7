"""Workloads that show a JWT-SVID, through a real Envoy."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from authz_server.dev.ca import load_ca
from authz_server.dev.files import write_file
from authz_server.dev.waiting import wait_until
from tests.builders import spiffe_bundle
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.identities import BATCH, TRUST_DOMAIN, WEB
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, running_stack

HEADER = "x-jwt-svid"
KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: front, effect: allow, from: [{workloads: ["spiffe://shop.example/ns/front/**"]}], to: [{paths: [/]}]}
          - id: with-certificate
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{paths: [/refunds]}]
            when: certificate.serial != ""
          - {id: anyone, effect: allow, from: anyone, to: [{paths: [/public]}]}
    """,
}
WORKLOADS = {
    "trust_domains": {TRUST_DOMAIN: {"bundle": {"file": "bundle.json"}}},
    "jwt_svid": {"header": HEADER, "audiences": ["orders"]},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose trust domain has a bundle in SPIFFE's format."""
    with running_stack(tmp_path_factory.mktemp("svids"), POLICIES, Variant({"workloads": WORKLOADS})) as running:
        jwk = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}
        jwk.pop("key_ops", None)
        bundle = spiffe_bundle(load_ca(running.identities.directory), jwk)
        write_file(running.directory / "bundle.json", json.dumps(bundle))
        wait_until(lambda: ask(running, None, svid()).status == 200, EVENT_TIMEOUT_S, "the bundle to be read")
        yield running


def svid(key: ec.EllipticCurvePrivateKey = KEY, kid: str = "k1", **claims: object) -> str:
    """A JWT-SVID of the web front, as SPIRE makes them."""
    now = int(time.time())
    everything: dict[str, Any] = {"sub": WEB, "aud": ["orders"], "exp": now + 300, "iat": now, **claims}
    return jwt.encode(everything, key, "ES256", headers={"kid": kid, "typ": "JWT"})


def ask(stack: Stack, caller: str | None, *tokens: str, target: str = "/") -> Reply:
    """The answer to somebody with a certificate or without, who shows these tokens."""
    headers = [(HEADER, token) for token in tokens]
    return http1(stack.identities.caller(caller), stack.port, Ask(target=target, headers=headers))


def test_a_good_one_names_the_workload_and_goes_no_further(stack: Stack) -> None:
    """The upstream never gets it, and the record says what proved the workload."""
    assert ask(stack, None).reason == "no_rule_allows"
    reply = ask(stack, None, svid())
    assert reply.status == 200
    assert HEADER not in reply.json()["headers"]
    record = stack.record(workload_by="jwt_svid", reason="allowed")
    assert (record["workload"], record["rule"]) == (WEB, "orders/front")
    # Where nobody has to be anybody it goes no further either.
    assert HEADER not in ask(stack, None, svid(), target="/public").json()["headers"]


BAD = {
    "expired": lambda: [svid(exp=int(time.time()) - 60)],
    "for another audience": lambda: [svid(aud=["billing"])],
    "without audience": lambda: [svid(aud=[])],
    "of another key": lambda: [svid(OTHER_KEY)],
    "of an unknown key": lambda: [svid(kid="k2")],
    "of another trust domain": lambda: [svid(sub="spiffe://other.example/web")],
    "no SPIFFE ID": lambda: [svid(sub="ann")],
    "cut": lambda: [svid()[:-4]],
    "nothing": lambda: [""],
    "two": lambda: [svid(), svid()],
}


@pytest.mark.parametrize("target", ["/", "/public"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_one_is_refused_and_never_as_if_none_had_come(stack: Stack, bad: str, target: str) -> None:
    """Whatever certificate comes with it, and also where no workload is needed."""
    for caller in (None, "web"):
        reply = ask(stack, caller, *BAD[bad](), target=target)
        assert (reply.status, reply.reason) == (401, "token_invalid")
        expected = "token_expired" if bad == "expired" else "token_invalid"
        assert stack.record(decision_id=reply.decision_id)["reason"] == expected


def test_certificate_and_token_must_name_one_workload(stack: Stack) -> None:
    """The certificate counts for more: what asks for one is not satisfied by a token."""
    reply = ask(stack, "batch", svid())
    assert (reply.status, reply.reason) == (403, "workload_refused")
    assert ask(stack, "batch", svid(sub=BATCH)).reason == "no_rule_allows"
    assert ask(stack, "web", svid(), target="/refunds").status == 200
    assert stack.record(rule="orders/with-certificate")["workload_by"] == "certificate"
    assert ask(stack, None, svid(), target="/refunds").reason == "no_rule_allows"


def test_it_is_no_token_of_a_user_nor_the_other_way_round(stack: Stack) -> None:
    """Each is verified with its own keys, where it stands."""
    web = stack.identities.caller("web")
    bearer = Ask(headers=[("authorization", f"Bearer {svid()}")])
    assert http1(web, stack.port, bearer).reason == "token_invalid"
    assert ask(stack, "web", stack.token(WEB)).reason == "token_invalid"
    both = Ask(headers=[("authorization", f"Bearer {stack.token('ann')}"), (HEADER, svid())])
    assert http1(stack.identities.caller(None), stack.port, both).status == 200
    record = stack.record(workload=WEB, user={"issuer": "corp", "subject": "ann"})
    assert record["workload_by"] == "jwt_svid"
