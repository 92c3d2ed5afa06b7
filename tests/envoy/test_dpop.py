"""Tokens that are bound to a key of the client (DPoP), through a real Envoy, with two workers that share one memory."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1, http2
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, running_stack, server_process
from tests.unit.identity.proofs import bound_to, proof, proof_key
from tests.unit.identity.tokens import SigningKey

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: users, effect: allow, from: [{users: any}], to: [{paths: ["/orders/**"]}]}
          - {id: careful, effect: allow, from: [{users: any}], to: [{paths: [/refunds]}], requires: {bound_token: true}}
    """,
}
SETTINGS = {"dpop": {"max_age": "60s", "skew": "0s", "replay_entries": 1000}}
HERE = "/orders/1?page=2"


class Client(Struct, frozen=True, eq=False):
    """Somebody with a key, and a token that is bound to it."""

    stack: Stack
    key: SigningKey
    token: str

    def proof(self, target: str = HERE, **changes: object) -> str:
        """A fresh proof."""
        path = target.partition("?")[0]
        fresh = {"htu": f"https://orders.shop.example{path}", "iat": time.time(), "jti": str(time.time_ns())}
        return proof(self.key, self.token, **{**fresh, **changes})

    def ask(self, *proofs: str, scheme: str = "DPoP", target: str = HERE, method: str = "GET") -> Ask:
        """A request with these proofs."""
        headers = [("authorization", f"{scheme} {self.token}"), *[("dpop", text) for text in proofs]]
        return Ask(method, target, headers=headers)

    def send(self, *proofs: str, **fields: Any) -> Reply:
        """What comes of it."""
        return http1(self.stack.identities.caller("web"), self.stack.port, self.ask(*proofs, **fields))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that takes proofs, whose table is old enough to know all of them."""
    with running_stack(tmp_path_factory.mktemp("dpop"), POLICIES, Variant(settings=SETTINGS)) as running:
        client = new_client(running)
        wait_until(lambda: client.send(client.proof()).status == 200, EVENT_TIMEOUT_S, "proofs to be good")
        yield running


def new_client(stack: Stack) -> Client:
    """With a key that nobody has used."""
    key = proof_key()
    return Client(stack, key, stack.token("ann", cnf=bound_to(key)))


@pytest.fixture(scope="module")
def later(stack: Stack) -> Iterator[ExitStack]:
    """What ends before the stack does."""
    with ExitStack() as held:
        yield held


@pytest.fixture
def client(stack: Stack) -> Client:
    """A new one."""
    return new_client(stack)


def test_a_token_with_its_proof_is_good(client: Client) -> None:
    """Over HTTP/1.1 and HTTP/2, and where the rule requires that the token is bound."""
    assert client.send(client.proof()).status == 200
    web = client.stack.identities.caller("web")
    assert http2(web, client.stack.port, client.ask(client.proof())).status == 200
    assert client.send(client.proof("/refunds"), target="/refunds").status == 200
    assert client.stack.record(rule="orders/careful")["user"] == {"issuer": "corp", "subject": "ann"}


def test_a_proof_is_used_once_whichever_worker_it_meets(client: Client) -> None:
    """Twenty requests at once with the same proof: one of them passes."""
    ask, web = client.ask(client.proof()), client.stack.identities.caller("web")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: http1(web, client.stack.port, ask), range(20)))
    assert Counter(reply.status for reply in replies)[200] == 1
    refused = [reply for reply in replies if reply.reason == "proof_invalid"]
    record = client.stack.record(decision_id=refused[0].decision_id)
    assert "it was used before" in record["detail"]


def test_what_is_stolen_is_worth_nothing(client: Client) -> None:
    """The token alone, the token with another key, the proof for another request."""
    thief = Client(client.stack, proof_key(), client.token)
    replies = {
        "as a bearer token": (client.send(scheme="Bearer"), "token_invalid"),
        "with another key": (thief.send(thief.proof()), "token_invalid"),
        "without a proof": (client.send(), "proof_invalid"),
        "with two": (client.send(client.proof(), client.proof()), "proof_invalid"),
        "for another method": (client.send(client.proof(), method="POST"), "proof_invalid"),
        "for another path": (client.send(client.proof("/orders/2")), "proof_invalid"),
        "for another scheme": (client.send(client.proof(htu="http://orders.shop.example/orders/1")), "proof_invalid"),
        "of yesterday": (client.send(client.proof(iat=time.time() - 86400)), "proof_invalid"),
    }
    for name, (reply, reason) in replies.items():
        assert (reply.status, reply.reason) == (401, reason), name


def test_the_challenge_says_what_a_client_can_do(client: Client) -> None:
    """RFC 9449 section 7."""
    web, port = client.stack.identities.caller("web"), client.stack.port
    assert http1(web, port, Ask(target=HERE)).headers["www-authenticate"] == 'Bearer, DPoP algs="ES256"'
    assert client.send("x").headers["www-authenticate"] == 'DPoP error="invalid_dpop_proof", algs="ES256"'
    bearer = [("authorization", f"Bearer {client.stack.token('ann')}")]
    challenge = http1(web, port, Ask(target="/refunds", headers=bearer)).headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert challenge.endswith(', DPoP algs="ES256"')


def test_no_proof_stays_anywhere(client: Client) -> None:
    """Neither in the records nor in the logs."""
    good, bad = client.proof(), client.proof(htm="POST")
    client.send(good)
    reply = client.send(bad)
    client.stack.record(decision_id=reply.decision_id)
    text = client.stack.log() + (client.stack.directory / "decisions.jsonl").read_text()
    for part in (*good.split("."), *bad.split(".")):
        assert part not in text


def test_what_came_of_proofs_is_counted(client: Client) -> None:
    """Over all workers."""
    before = client.stack.metric("authz_dpop_proofs_total", result="again")
    used = client.proof()
    for _ in range(3):
        client.send(used)
    wait_until(
        lambda: client.stack.metric("authz_dpop_proofs_total", result="again") == before + 2, EVENT_TIMEOUT_S, "counts"
    )


def test_a_server_that_is_killed_and_started_again_forgets_no_proof(client: Client, later: ExitStack) -> None:
    """Its workers finish on their own, with the table that their successors have."""
    used = client.proof()
    assert client.send(used).status == 200
    stack = client.stack
    os.kill(stack.server.pid, signal.SIGKILL)
    stack.server.wait()
    later.enter_context(server_process(stack.directory))
    wait_until(lambda: client.send(client.proof()).status == 200, EVENT_TIMEOUT_S, "the server")
    reply = client.send(used)
    assert (reply.status, reply.reason) == (401, "proof_invalid")
    assert "it was used before" in stack.record(decision_id=reply.decision_id)["detail"]
