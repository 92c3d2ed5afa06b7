"""Tokens that are bound to a key within the whole check: when a proof is used up, and what it is good for."""

from pathlib import Path

import msgspec
import pytest

from authz_server.errors import Reason
from authz_server.identity.dpop import Claimed
from authz_server.identity.introspection import IntrospectionNeeded, OpaqueTokens, opaque_tokens
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import Dpop, Introspection, Issuer
from authz_server.model import Decision
from authz_server.pipeline import check
from authz_server.policy.plan import Plan
from authz_server.snapshot import Snapshot
from tests.builders import PRINCIPALS_ARE_BELIEVED, plan_of, request, snapshot_of
from tests.unit.identity.proofs import bound_to, proof, proof_key
from tests.unit.identity.tokens import CORP, NOW, SigningKey, jwks

POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: bound, effect: allow, from: [{users: any}], to: [{paths: [/orders/1]}], requires: {bound_token: true}}
      - {id: any, effect: allow, from: [{users: any}], to: [{paths: [/any]}]}
"""
ISSUER = Issuer("corp", CORP, ("shop",), algorithms=("ES256",), introspection=Introspection("https://x/", "a", "s"))
SETTINGS = msgspec.structs.replace(PRINCIPALS_ARE_BELIEVED, issuers=(ISSUER,), dpop=Dpop())
CLIENT = proof_key()


class Memory:
    """Remembers proofs as the table does."""

    def __init__(self) -> None:
        self.used: set[bytes] = set()

    def claim(self, digest: bytes, until: float, now: float) -> Claimed:
        """Whether it is the first time."""
        if digest in self.used:
            return "again"
        self.used.add(digest)
        return "first"


class World:
    """A snapshot, and what it knows."""

    def __init__(self, plan: Plan, issuer_key: SigningKey) -> None:
        tokens = opaque_tokens(SETTINGS, b"k" * 32)
        assert tokens is not None
        self.opaque: OpaqueTokens = tokens
        self.memory = Memory()
        keys = {"corp": parse_jwks(jwks(issuer_key.jwk()))}
        self.snapshot: Snapshot = snapshot_of(plan, SETTINGS, keys=keys, opaque=tokens, replays=self.memory)

    def decide(self, token: str, *, scheme: str = "DPoP", path: str = "/orders/1", **changes: object) -> Decision:
        """The decision about a request with this token and a proof for it."""
        text = proof(CLIENT, token, **{"htu": f"https://orders.shop.example{path}", **changes})
        headers = {"authorization": f"{scheme} {token}", "dpop": text}
        return check(request(path=path, headers=headers), self.snapshot, NOW)


@pytest.fixture
def world(tmp_path: Path, es256: SigningKey) -> World:
    """With an empty memory."""
    return World(plan_of(tmp_path, orders=POLICY), es256)


@pytest.fixture(scope="session")
def es256() -> SigningKey:
    """The issuer's key."""
    return SigningKey(proof_key().private_key, "ES256", "k1")


def test_a_proved_token_is_a_bound_one(world: World, es256: SigningKey) -> None:
    """`requires: {bound_token: true}` holds."""
    decision = world.decide(es256.token(cnf=bound_to(CLIENT)))
    assert (decision.reason, decision.rule) == (Reason.ALLOWED, "orders/bound")
    assert decision.user is not None
    assert decision.user.bound


def test_a_bearer_token_is_not_proved_by_a_proof_beside_it(world: World, es256: SigningKey) -> None:
    """It is a bearer token, and lacks what the rule requires."""
    assert world.decide(es256.token(), scheme="Bearer").reason is Reason.STEP_UP_REQUIRED
    assert world.decide(es256.token(), scheme="Bearer", path="/any").reason is Reason.ALLOWED
    assert world.decide(es256.token(), path="/any").reason is Reason.TOKEN_INVALID
    assert world.memory.used == set()


def test_only_what_is_good_otherwise_uses_a_proof_up(world: World, es256: SigningKey) -> None:
    """Whatever else is wrong, the proof can still be used."""
    ours = bound_to(CLIENT)
    for token in (es256.token(cnf=ours, exp=NOW - 100), es256.token(cnf=bound_to(proof_key())), es256.token(), "a.b.c"):
        assert not world.decide(token).allowed
    good = es256.token(cnf=bound_to(CLIENT))
    for changes in ({"htm": "POST"}, {"iat": 1}, {"ath": "x"}, {"htu": "https://orders.shop.example/"}):
        assert world.decide(good, **changes).reason is Reason.PROOF_INVALID
    assert world.memory.used == set()
    assert world.decide(good).reason is Reason.ALLOWED
    assert world.decide(good).reason is Reason.PROOF_INVALID


def test_a_request_that_waits_for_its_issuer_uses_its_proof_once(world: World) -> None:
    """It is decided twice; the first time nothing is used up."""
    for _ in range(2):
        with pytest.raises(IntrospectionNeeded) as needed:
            world.decide("opaque")
    assert world.memory.used == set()
    answer = {
        "active": True,
        "aud": "shop",
        "sub": "zoe",
        "exp": NOW + 60,
        "token_type": "DPoP",
        "cnf": bound_to(CLIENT),
    }
    world.opaque.take(needed.value, msgspec.json.encode(answer), NOW)
    assert world.decide("opaque").reason is Reason.ALLOWED
    again = world.decide("opaque")
    assert (again.reason, again.with_proof) == (Reason.PROOF_INVALID, True)
    assert world.decide("opaque", scheme="Bearer").reason is Reason.TOKEN_INVALID


def test_nobody_is_asked_about_the_token_of_a_bad_proof(world: World) -> None:
    """What can be told from the request alone comes first."""
    for changes in ({"htm": "POST"}, {"iat": 1}, {"ath": "x"}):
        assert world.decide("opaque", **changes).reason is Reason.PROOF_INVALID


def test_the_scheme_is_read_in_any_case(world: World, es256: SigningKey) -> None:
    """RFC 9110 section 11.1."""
    for number, scheme in enumerate(("DPoP", "dpop", "DPOP")):
        assert world.decide(es256.token(cnf=bound_to(CLIENT)), scheme=scheme, jti=str(number)).allowed


def test_a_service_in_audit_lets_a_bad_proof_pass_and_records_it(tmp_path: Path, es256: SigningKey) -> None:
    """As every credential of a user that fails."""
    world = World(plan_of(tmp_path, orders=f"{POLICY}    mode: audit\n"), es256)
    decision = world.decide(es256.token(cnf=bound_to(CLIENT)), htm="POST")
    assert (decision.reason, decision.allowed, decision.would_deny) == (Reason.PROOF_INVALID, True, True)
