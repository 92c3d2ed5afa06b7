"""What docs/operations.md promises about issuers that are down, and keys that nobody knows; hours pass at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs

from authz_server.control.fetch_schedule import COOLDOWN_S, LONGEST_RETRY_S, FetchSchedule
from authz_server.control.key_source import DiscoverySource, UrlSource
from authz_server.control.keys import NO_KEYS, Fetched
from authz_server.envoy.service import CheckService
from authz_server.errors import Reason, Refused
from authz_server.identity.introspection import FAILED_S, IntrospectionNeeded, OpaqueTokens
from authz_server.identity.settings import IdentitySettings, Introspection, Issuer
from authz_server.model import Decision
from authz_server.policy.packing import pack
from authz_server.worker.messages import Prepare
from authz_server.worker.snapshots import Snapshots
from authz_server.worker.unknown_keys import UnknownKeys
from tests.builders import Call, clock_at, plan_of
from tests.security.server import Ask, message_of
from tests.unit.control.issuer_server import IssuerServer, answer, issuer_server
from tests.unit.identity.tokens import CLAIMS, NOW, SigningKey, encoded_json
from tests.unit.worker.test_server import SETTINGS as ANY_WORKER

MINUTE, HOUR = 60.0, 3600.0
POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: users, effect: allow, from: [{users: any}], to: [{paths: [/me]}]}
"""
KID_FLOOD, FLOOD_S = 10_000, 10.0


class Time:
    """Seconds since all began, which a test moves; wall clock and monotonic clock go together."""

    passed = 0.0

    def __call__(self) -> float:
        """The monotonic clock."""
        return 1000.0 + self.passed


def key(kid: str) -> SigningKey:
    """A fresh key of the issuer."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", kid)


class Worker:
    """The Check of a worker, and what it tells the control process."""

    def __init__(self, directory: Path, time: Time) -> None:
        self.reason: Reason | None = None
        self.told: list[str] = []
        identity = IdentitySettings(issuers=(Issuer("corp", str(CLAIMS["iss"]), ("shop",)),))
        settings = structs.replace(ANY_WORKER, identity=identity)
        self._snapshots = Snapshots(settings, UnknownKeys(lambda _issuer: None, self.told.append, time))
        self._service = CheckService(self._record)
        self._plan = pack(plan_of(directory, orders=POLICY))
        self._generation = 0
        self._time = time

    def take(self, keys: bytes) -> None:
        """Decide with these keys of the issuer from now on, as after a reload."""
        self._generation += 1
        self._snapshots.prepare(Prepare(self._generation, self._plan, {"corp": keys}, {}))
        self._service.snapshot = self._snapshots.activate(self._generation)

    def ask(self, token: str) -> Reason | None:
        """What becomes of a request with this token."""
        payload = message_of(Ask(path="/me", headers=[("authorization", f"Bearer {token}")])).SerializeToString()
        with clock_at(NOW + self._time.passed):
            assert self._service.check(payload, Call()) is not None
        return self.reason

    def _record(self, decision: Decision, _latency_us: int) -> None:
        self.reason = decision.reason


class Control:
    """The part of the control process that keeps an issuer's keys, and the workers that get them."""

    def __init__(
        self, source: UrlSource | DiscoverySource, workers: list[Worker], time: Time, max_age_s: float
    ) -> None:
        self.fetches: list[bool] = []
        self._workers = workers
        self._time = time
        for worker in workers:
            worker.take(NO_KEYS)
        self._schedule = FetchSchedule(refresh_s=min(max_age_s / 2, 600.0), max_age_s=max_age_s)
        self.keys = Fetched(
            "corp",
            source,
            self._schedule,
            on_change=self._publish,
            on_fetch=lambda _name, ok: self.fetches.append(ok),
            clock=time,
        )

    def pass_time(self, seconds: float) -> None:
        """Do all that is due within so many seconds, at its time."""
        end = self._time() + seconds
        while (due := max(self._time(), self._schedule.next_event())) <= end:
            self._time.passed += due - self._time()
            asyncio.run(self.keys.step())
        self._time.passed += end - self._time()

    def listen(self) -> None:
        """Take what the workers have told."""
        for worker in self._workers:
            for _ in worker.told:
                self.keys.ask()
            worker.told.clear()

    def _publish(self) -> None:
        for worker in self._workers:
            worker.take(self.keys.document)


class Scene:
    """An issuer over HTTP, two workers, and the time."""

    def __init__(
        self, server: IssuerServer, directory: Path, max_age_s: float = HOUR, *, discovery: bool = False
    ) -> None:
        self.server, self.time = server, Time()
        self.known, self.fresh = key("known"), key("fresh")
        self.workers = [Worker(directory / str(number), self.time) for number in range(2)]
        server.serve("/jwks", {"keys": [self.known.jwk()]})
        metadata = {"issuer": server.url, "jwks_uri": f"{server.url}/jwks"}
        server.serve("/.well-known/openid-configuration", metadata)
        source = DiscoverySource(server.url) if discovery else UrlSource(f"{server.url}/jwks")
        self.control = Control(source, self.workers, self.time, max_age_s)
        self.control.pass_time(0)

    def go_down(self) -> None:
        """The issuer answers nothing that can be used from now on."""
        self.server.answers["/jwks"] = answer(b"", 503)

    def come_back(self) -> None:
        """It answers again, and signs with a fresh key."""
        self.server.serve("/jwks", {"keys": [self.known.jwk(), self.fresh.jwk()]})

    def ask(self, by: SigningKey) -> set[Reason | None]:
        """What becomes of a token that has just been issued, on each worker; what they tell is heard."""
        now = NOW + self.time.passed
        token = by.token({**CLAIMS, "iat": now, "exp": now + 300, "jti": str(now)})
        reasons = {worker.ask(token) for worker in self.workers}
        self.control.listen()
        return reasons


@pytest.fixture(name="server")
def _server() -> Iterator[IssuerServer]:
    with issuer_server() as server:
        yield server


def test_an_issuer_that_is_down_for_half_an_hour_is_not_noticed(server: IssuerServer, tmp_path: Path) -> None:
    """Tokens by known keys are good all the time; those by fresh keys are denied, and good 30 s after its return."""
    scene = Scene(server, tmp_path)
    scene.go_down()
    for _ in range(30):
        scene.control.pass_time(MINUTE)
        assert scene.ask(scene.known) == {Reason.ALLOWED}
        assert scene.ask(scene.fresh) == {Reason.TOKEN_INVALID}
    assert scene.control.keys.usable
    scene.come_back()
    scene.control.pass_time(LONGEST_RETRY_S)
    assert scene.ask(scene.fresh) == scene.ask(scene.known) == {Reason.ALLOWED}


def test_an_issuer_that_is_down_is_asked_ever_more_rarely(server: IssuerServer, tmp_path: Path) -> None:
    """Every 30 s in the end, however many tokens name keys that are not known."""
    scene = Scene(server, tmp_path)
    scene.go_down()
    scene.control.pass_time(10 * MINUTE)
    before = len(server.asked)
    for _ in range(int(20 * MINUTE / 5)):
        scene.control.pass_time(5.0)
        scene.ask(scene.fresh)
    asked = len(server.asked) - before
    assert 30 <= asked <= 20 * MINUTE / LONGEST_RETRY_S + 5
    assert scene.control.fetches.count(True) == 1


def test_keys_that_are_too_old_are_given_up_and_come_back(server: IssuerServer, tmp_path: Path) -> None:
    """After `keys_max_age` every token of the issuer is denied as `issuer_unavailable`, until 30 s after its return."""
    scene = Scene(server, tmp_path, max_age_s=10 * MINUTE)
    scene.go_down()
    scene.control.pass_time(10 * MINUTE - 1)
    assert scene.ask(scene.known) == {Reason.ALLOWED}
    scene.control.pass_time(1)
    assert scene.ask(scene.known) == {Reason.ISSUER_UNAVAILABLE}
    assert not scene.control.keys.usable
    scene.control.pass_time(20 * MINUTE)
    scene.come_back()
    scene.control.pass_time(LONGEST_RETRY_S)
    assert scene.ask(scene.known) == {Reason.ALLOWED}


@pytest.mark.parametrize(("discovery", "requests_of_a_fetch"), [(False, 1), (True, 2)])
def test_ten_thousand_unknown_kids_in_ten_seconds_cost_the_issuer_one_fetch(
    server: IssuerServer, tmp_path: Path, discovery: bool, requests_of_a_fetch: int
) -> None:
    """The control process hears of them once a second and worker; the issuer is asked once, and 30 s later again."""
    scene = Scene(server, tmp_path, discovery=discovery)
    scene.control.pass_time(COOLDOWN_S)
    server.asked.clear()
    rest, heard = scene.fresh.token(CLAIMS).partition(".")[2], 0
    for number in range(KID_FLOOD):
        worker = scene.workers[number % 2]
        header = encoded_json({"alg": "ES256", "kid": f"made-up-{number}"})
        assert worker.ask(f"{header}.{rest}") is Reason.TOKEN_INVALID
        heard += len(worker.told)
        scene.control.listen()
        scene.control.pass_time(FLOOD_S / KID_FLOOD)
    assert len(server.asked) == requests_of_a_fetch
    assert 10 <= heard <= 2 * (FLOOD_S + 1)
    scene.control.pass_time(COOLDOWN_S)
    assert len(server.asked) <= 2 * requests_of_a_fetch


def test_a_key_that_is_new_is_fetched_at_once(server: IssuerServer, tmp_path: Path) -> None:
    """With its first token, not with the next regular fetch."""
    scene = Scene(server, tmp_path)
    scene.control.pass_time(MINUTE)
    scene.come_back()
    assert scene.ask(scene.fresh) == {Reason.TOKEN_INVALID}
    scene.control.pass_time(0)
    assert scene.ask(scene.fresh) == {Reason.ALLOWED}


def test_an_issuer_of_opaque_tokens_that_is_down_is_asked_once_a_second_about_a_token() -> None:
    """For half an hour: the token is denied as `issuer_unavailable` meanwhile, and good at once when it is back."""
    settings = Introspection("http://127.0.0.1:1/", "c", "s", max_age_s=30.0)
    issuer = Issuer("corp", str(CLAIMS["iss"]), ("shop",), introspection=settings)
    time, asked, digest = Time(), 0, b"d" * 32
    tokens, reasons = OpaqueTokens(issuer, settings, b"k" * 32, clock=time), set()
    for tenth in range(int(30 * MINUTE * 10)):
        time.passed = tenth / 10
        try:
            tokens.find("opaque", digest, NOW + time.passed)
        except IntrospectionNeeded as needed:
            asked += 1
            tokens.fail(needed)
        except Refused as refused:
            reasons.add(refused.reason)
    assert asked <= 30 * MINUTE / FAILED_S + 1
    assert reasons == {Reason.ISSUER_UNAVAILABLE}
    time.passed += 2 * FAILED_S
    back = NOW + time.passed
    with pytest.raises(IntrospectionNeeded) as again:
        tokens.find("opaque", digest, back)
    said = b'{"active": true, "sub": "zoe", "aud": "shop", "exp": %d}' % (back + 300)
    assert tokens.take(again.value, said, back) == "accepted"
    assert tokens.find("opaque", digest, back).verified.user.subject == "zoe"
