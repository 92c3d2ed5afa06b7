"""Attacks on tokens that are bound to a key of the client, and with the proofs of that key (DPoP)."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from authz_server.errors import Reason
from authz_server.identity.settings import Dpop
from authz_server.worker.replays import ReplayTable, prepare_replays
from tests.security.server import HOST, SECRET, Ask, Server, assert_denied
from tests.unit.identity.proofs import bound_to, proof, proof_key
from tests.unit.identity.tokens import SigningKey, encoded

TOKEN, PROOF = Reason.TOKEN_INVALID, Reason.PROOF_INVALID
SETTINGS = Dpop(("ES256",), max_age_s=60, skew_s=5)
URI = f"https://{HOST}/me"


class Client(Struct, frozen=True, eq=False):
    """Somebody with a key, and a token that is bound to it."""

    key: SigningKey
    token: str

    def proof(self, header: dict[str, Any] | None = None, **changes: object) -> str:
        """A fresh proof for `GET /me`."""
        fresh = {"htu": URI, "iat": time.time(), "jti": str(time.time_ns())}
        return proof(self.key, self.token, header, **{**fresh, **changes})

    def ask(self, *proofs: str, scheme: str = "DPoP", **fields: Any) -> Ask:
        """A request with the token and these proofs."""
        headers = [("authorization", f"{scheme} {self.token}"), *[("dpop", text) for text in proofs]]
        return Ask(**{"path": "/me", "headers": headers, **fields})


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("proofs")
    # Made long ago, so that it knows of every proof that is good now.
    prepare_replays(directory / "proofs.table", 10_000, SETTINGS, lambda: time.time() - 1000)
    table = ReplayTable(directory / "proofs.table")
    server = Server(directory / "policies")
    server.load(dpop=SETTINGS, replays=table)
    yield server
    table.close()


@pytest.fixture(name="client")
def _client(server: Server) -> Client:
    key = proof_key()
    return Client(key, server.key.token(server.claims(cnf=bound_to(key))))


def test_the_honest_proof_is_good(server: Server, client: Client) -> None:
    """What every attack here differs from; and the next proof is good as well."""
    for _ in range(2):
        outcome = server.ask(client.ask(client.proof()))
        assert outcome.allowed
        assert outcome.record["user"]["issuer"] == "corp"


def test_jwt_10_a_stolen_token_is_worth_nothing(server: Server, client: Client) -> None:
    """As a bearer token, without a proof, with one of the thief's key; all thefts look like a bad token or proof."""
    thief = Client(proof_key(), client.token)
    assert_denied(server.ask(client.ask(scheme="Bearer")), TOKEN)
    assert_denied(server.ask(client.ask(client.proof(), scheme="Bearer")), TOKEN)
    assert_denied(server.ask(client.ask()), PROOF)
    assert_denied(server.ask(thief.ask(thief.proof())), TOKEN)
    # With the public key of the victim, which is in every proof.
    jwk = client.key.jwk(alg=None, use=None)
    assert_denied(server.ask(thief.ask(thief.proof({"jwk": jwk}))), PROOF)


def test_jwt_10_a_stolen_proof_is_worth_nothing(server: Server, client: Client) -> None:
    """Replayed, for another method, host, path or token, before its time, too late."""
    used = client.proof()
    assert server.ask(client.ask(used)).allowed
    for _ in range(2):
        assert_denied(server.ask(client.ask(used)), PROOF)
    assert_denied(server.ask(client.ask(client.proof(), method="POST")), PROOF)
    assert_denied(server.ask(client.ask(client.proof(), path="/list")), PROOF)
    assert_denied(server.ask(client.ask(client.proof(), host="billing.shop.example")), PROOF)
    other = Client(client.key, server.key.token(server.claims(cnf=bound_to(client.key), jti="other")))
    assert_denied(server.ask(other.ask(client.proof())), PROOF)
    for seconds in (-66, 7):
        assert_denied(server.ask(client.ask(client.proof(iat=time.time() + seconds))), PROOF)


def test_jwt_10_the_other_signature_of_a_used_proof_is_no_new_proof(server: Server, client: Client) -> None:
    """With (r, s) so is (r, n - s) a good ECDSA signature of the same text."""
    used = client.proof()
    content, _, text = used.rpartition(".")
    assert server.ask(client.ask(used)).allowed
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signature = base64.urlsafe_b64decode(text + "==")
    other = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    outcome = server.ask(client.ask(f"{content}.{encoded(other)}"))
    assert_denied(outcome, PROOF)
    assert "used before" in outcome.record["detail"]


def test_jwt_10_a_proof_is_no_token_and_a_token_is_no_proof(server: Server, client: Client) -> None:
    """Nor is a proof that has everything of a token good for one."""
    both = proof(server.key, client.token, {"kid": "k1"}, **server.claims(cnf=bound_to(client.key)))
    for shown in (client.proof(), both):
        assert_denied(server.ask(Ask(path="/me", headers=[("authorization", f"Bearer {shown}")])), TOKEN)
    as_token = Client(client.key, both)
    assert_denied(server.ask(as_token.ask(as_token.proof())), TOKEN)
    for text in (client.token, client.key.token(server.claims(), {"typ": "at+jwt"})):
        assert_denied(server.ask(client.ask(text)), PROOF)


def test_jwt_10_a_proof_makes_no_token_a_bound_one(server: Server, client: Client) -> None:
    """RFC 9449 section 7.1: the scheme is for tokens that are bound to the key, and to nothing that was not proved."""
    certificate = {"x5t#S256": "A" * 43}
    for cnf in (None, certificate, {**bound_to(client.key), **certificate}, {"jkt": "x"}, {"kid": "k"}):
        other = Client(client.key, server.key.token(server.claims(cnf=cnf)))
        assert_denied(server.ask(other.ask(other.proof())), TOKEN)


def test_hdr_01_one_proof_comes_with_a_request(server: Server, client: Client) -> None:
    """Two headers, two in one header, none in an empty one; in every encoding."""
    first, second = client.proof(), client.proof()
    for proofs in ((first, second), (first, first), (f"{first},{second}",), (f"{first}, {first}",), ("",), ("", first)):
        assert_denied(server.ask(client.ask(*proofs)), PROOF)
    # None of them was used up.
    assert server.ask(client.ask(first)).allowed


@pytest.mark.parametrize(
    "header",
    [
        *[{"alg": value} for value in ("none", "None", "HS256", "RS256", "", 1, None)],
        *[{"typ": value} for value in ("JWT", "at+jwt", "", None)],
        *[{"jwk": value} for value in (None, 1, "x")],
        *[{"jwk": {}}, {"jwk": {"kty": "oct", "k": "AAAA"}}],
        *[{"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"x": "y" * 3000}],
    ],
)
def test_jwt_01_a_proof_chooses_a_key_and_no_way_out(server: Server, client: Client, header: dict[str, Any]) -> None:
    """Its key comes with it, so everything else has to be right."""
    assert_denied(server.ask(client.ask(client.proof(header))), PROOF)


def test_jwt_02_a_private_key_in_a_proof_is_no_secret_any_more(server: Server, client: Client) -> None:
    """RFC 9449 section 4.3, 7: although its signature is good."""
    numbers = client.key.private_key.private_numbers().private_value.to_bytes(32, "big")
    jwk = client.key.jwk(alg=None, use=None, d=encoded(numbers))
    assert_denied(server.ask(client.ask(client.proof({"jwk": jwk}))), PROOF)


@pytest.mark.parametrize("path", ["/me/../me", "//me", "/me;a", "/%2e/me", "/me%2f"])
def test_path_03_a_proof_for_an_odd_path_is_for_none(server: Server, client: Client, path: str) -> None:
    """Nothing is resolved."""
    assert_denied(server.ask(client.ask(client.proof(htu=f"https://{HOST}{path}"))), PROOF)


def test_host_03_the_scheme_is_the_operators_word(server: Server, client: Client) -> None:
    """`:scheme` says nothing."""
    ask = client.ask(client.proof(htu=f"http://{HOST}/me"))
    headers = [*ask.headers, (":scheme", "http"), ("x-forwarded-proto", "http")]
    assert_denied(server.ask(Ask(path="/me", headers=headers)), PROOF)


def test_jwt_14_proofs_that_are_no_good_take_no_place(server: Server, client: Client, tmp_path: Path) -> None:
    """Nobody fills the table with tokens and proofs that are refused; full, it denies and forgets nothing."""
    settings = Dpop(("ES256",), max_age_s=60, skew_s=5)
    prepare_replays(tmp_path / "small", 1, settings, lambda: time.time() - 1000)
    table = ReplayTable(tmp_path / "small")
    small = Server(tmp_path / "policies")
    small.load(dpop=settings, replays=table)
    honest = Client(client.key, small.key.token(small.claims(cnf=bound_to(client.key))))
    expired = Client(client.key, small.key.token(small.claims(cnf=bound_to(client.key), exp=time.time() - 100)))
    for _ in range(100):
        assert_denied(small.ask(expired.ask(expired.proof())), Reason.TOKEN_EXPIRED)
        assert_denied(small.ask(honest.ask(honest.proof(iat=1))), PROOF)
    used = [honest.proof() for _ in range(63)]
    assert all(small.ask(honest.ask(text)).allowed for text in used)
    assert_denied(small.ask(honest.ask(honest.proof())), Reason.OVERLOADED)
    assert_denied(small.ask(honest.ask(used[0])), PROOF)
    table.close()


def test_without_the_setting_proofs_and_their_tokens_are_refused(tmp_path: Path, client: Client) -> None:
    """The scheme, and the binding."""
    server = Server(tmp_path)
    ours = Client(client.key, server.key.token(server.claims(cnf=bound_to(client.key))))
    for scheme in ("DPoP", "dpop", "Bearer"):
        assert_denied(server.ask(ours.ask(ours.proof(), scheme=scheme)), TOKEN)


def test_log_02_no_proof_is_in_a_record(server: Server, client: Client) -> None:
    """Neither of a good one nor of a bad one."""
    good, bad = client.proof(), client.proof(jti=SECRET * 10)
    server.ask(client.ask(good))
    server.ask(client.ask(bad))
    text = b"".join(server.records)
    for part in (*good.split("."), *bad.split(".")):
        assert part.encode() not in text
