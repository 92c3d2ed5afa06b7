"""Users who show an API key, through a real Envoy."""

import time
from collections.abc import Iterator

import pytest

from authz_server.control.api_key_file import ApiKeyFile
from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, running_stack
from tests.envoy.traffic import traffic

HEADER = "x-api-key"
HOUR = 3600.0
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: reports
            effect: allow
            from: [{users: {issuer: api-keys, scopes: ["orders:read"]}}]
            to: [{paths: [/]}]
            answer: {set_headers: {x-user: user.subject}}
          - {id: anyone, effect: allow, from: anyone, to: [{paths: [/public]}]}
    """,
}
# Until a revoked key is good no more, by the promise that we make; a machine that is busy may delay one, but not all.
WITHIN_S = 1.0
TRIES = 5


class Keys:
    """A stack, and the file of its keys."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.file = ApiKeyFile(stack.directory / "keys.yaml")

    def create(self, owner: str, *, network: str = "127.0.0.0/8", scope: str = "orders:read") -> tuple[str, str]:
        """A key that the server has taken, and its id."""
        networks, scopes = (network,), frozenset({scope})
        text, key = self.file.create(owner, scopes=scopes, networks=networks, lifetime_s=HOUR)
        # One that is always good, and came later.
        marker, _ = self.file.create("marker", scopes=frozenset({"orders:read"}), networks=(), lifetime_s=HOUR)
        self.wait_for(marker)
        return text, key.id

    def wait_for(self, text: str) -> None:
        """Return when every worker takes this key."""
        wait_until(lambda: {self.ask(text).status for _ in range(8)} == {200}, EVENT_TIMEOUT_S, "the keys to be read")

    def ask(self, *keys: str, target: str = "/", headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        """The answer to somebody who shows these keys."""
        shown = [*[(HEADER, key) for key in keys], *headers]
        return http1(self.stack.identities.caller(None), self.stack.port, Ask(target=target, headers=shown))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """A stack that takes API keys; there is no file of them at first."""
    variant = Variant({"api_keys": {"file": "keys.yaml"}})
    with running_stack(tmp_path_factory.mktemp("api-keys"), POLICIES, variant) as running:
        yield Keys(running)


def test_a_good_one_names_its_owner_and_goes_no_further(keys: Keys) -> None:
    """The upstream learns who it is from us, and the record has who, and not the key."""
    text, _ = keys.create("nightly")
    reply = keys.ask(text)
    assert reply.status == 200
    headers = reply.json()["headers"]
    assert headers["x-user"] == "nightly"
    assert HEADER not in headers
    record = keys.stack.record(rule="orders/reports", user={"issuer": "api-keys", "subject": "nightly"})
    assert record["token_hash"]
    assert text not in str(record)
    assert HEADER not in keys.ask(text, target="/public").json()["headers"]


def test_scopes_are_asked_for(keys: Keys) -> None:
    """A key is no more than what it is for."""
    text, _ = keys.create("writer", scope="orders:write")
    assert keys.ask(text).reason == "no_rule_allows"
    assert keys.ask(text, target="/public").status == 200


@pytest.mark.parametrize("target", ["/", "/public"])
def test_a_bad_one_is_refused_and_never_as_if_none_had_come(keys: Keys, target: str) -> None:
    """Wrong secret, unknown, from another network, twice, nothing, beside a token: one answer for all."""
    text, key_id = keys.create("nightly")
    elsewhere, _ = keys.create("elsewhere", network="192.0.2.0/24")
    bearer = (("authorization", f"Bearer {keys.stack.token('ann')}"),)
    replies = [
        keys.ask(text[:-10] + "AAAAAAAAAA", target=target),
        keys.ask(text.replace(key_id, "a" * 12), target=target),
        keys.ask(elsewhere, target=target),
        keys.ask(text, text, target=target),
        keys.ask("", target=target),
        keys.ask(text, target=target, headers=bearer),
    ]
    assert {(reply.status, reply.reason) for reply in replies} == {(401, "token_invalid")}
    assert len({reply.body.replace(str(reply.decision_id).encode(), b"") for reply in replies}) == 1
    reply = keys.ask(text, target=target, headers=(("x_api_key", text),))
    assert reply.status == 400


def test_a_revoked_one_is_denied_within_a_second_under_load(keys: Keys) -> None:
    """On all workers."""
    assert any(revoked(keys, f"leaver-{number}") < WITHIN_S for number in range(TRIES))


def revoked(keys: Keys, owner: str) -> float:
    """After how many seconds a key that is revoked is good no more."""
    text, key_id = keys.create(owner)
    caller = keys.stack.identities.caller(None)
    with traffic(caller, keys.stack.port, Ask(headers=[(HEADER, text)]), reconnect=True) as requests:
        at = time.monotonic()
        keys.file.revoke(key_id)
        late = requests.wait_for_change(at, lambda reply: reply.status != 200)
    assert requests.failures() == []
    assert {(reply.status, reply.reason) for reply in late.replies} == {(401, "token_invalid")}
    assert keys.stack.record(decision_id=late.replies[-1].decision_id)["reason"] == "token_revoked"
    return late.took_s


def test_a_rotated_one_has_two_secrets_for_a_while(keys: Keys) -> None:
    """And when the overlap ends, one."""
    before, key_id = keys.create("rotating")
    after, _ = keys.file.rotate(key_id, overlap_s=HOUR, lifetime_s=HOUR)
    keys.wait_for(after)
    assert keys.ask(before).status == 200
    latest, _ = keys.file.rotate(key_id, overlap_s=0, lifetime_s=HOUR)
    keys.wait_for(latest)
    assert {keys.ask(text).reason for text in (before, after)} == {"token_invalid"}
