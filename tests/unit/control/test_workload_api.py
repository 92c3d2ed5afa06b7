"""Trust bundles from the Workload API."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authz_server.control.fetch_schedule import LONGEST_RETRY_S
from authz_server.control.fetching import FetchFailed
from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.control.workload_api import WorkloadApiBundles
from authz_server.control.workload_bundle import certificates_of, keys_of
from authz_server.dev.ca import create_ca
from authz_server.identity.bundle import MAX_CERTIFICATES, Bundle, InvalidBundle, parse_bundle
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.identity.tokens import SigningKey, jwks
from tests.workload_api_server import WorkloadApi, workload_api

SHOP, OTHER = "shop.example", "other.example"
MAX_AGE_S = 60.0
PATIENCE_S = 20.0


def der(domain: str = SHOP) -> bytes:
    """A fresh CA certificate."""
    return PEM_cert_to_DER_cert(create_ca(domain).bundle_pem)


@pytest.fixture(name="api")
def _api(tmp_path: Path) -> Iterator[WorkloadApi]:
    with workload_api(tmp_path / "api.sock") as served:
        yield served


class Followed:
    """Bundles that are followed, with a clock that a test sets."""

    def __init__(self, socket: Path, *, with_keys: bool = False) -> None:
        self.now = 1000.0
        self.news: list[tuple[str, bool]] = []
        self.changes = 0
        self._happened = asyncio.Event()
        self.bundles = WorkloadApiBundles(
            f"unix://{socket}",
            {SHOP: MAX_AGE_S, OTHER: 2 * MAX_AGE_S},
            with_keys=with_keys,
            on_change=self._changed,
            on_news=self._heard,
            clock=lambda: self.now,
        )

    def _changed(self) -> None:
        self.changes += 1
        self._happened.set()

    def _heard(self, domain: str, good: bool) -> None:
        self.news.append((domain, good))
        self._happened.set()

    def bundle(self, domain: str = SHOP) -> Bundle:
        """As a worker reads it."""
        return parse_bundle(self.bundles.documents[domain])

    def later(self) -> bool:
        """Let some time pass."""
        self.now += LONGEST_RETRY_S
        return True

    async def wait(self, there: Callable[[], bool]) -> None:
        """Return when something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not there():
                self._happened.clear()
                # The clock of the test does not tell anybody that it was set.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._happened.wait(), 0.1)

    async def wait_for(self, *counts: int) -> None:
        """Return when the domains have so many authorities."""
        await self.wait(lambda: [len(self.bundle(domain).authorities) for domain in (SHOP, OTHER)] == list(counts))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow while the block runs."""
        task = asyncio.create_task(self.bundles.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_bundles_follow_what_the_api_tells(api: WorkloadApi, tmp_path: Path) -> None:
    """At first, with every change, and when a domain is no longer named: then nobody of it is trusted."""

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock")
        assert followed.bundles.empty() == [SHOP, OTHER]
        one, two = der(), der()
        api.certificates = {SHOP: one, "stranger.example": der()}
        async with followed.running():
            await followed.wait_for(1, 0)
            assert followed.bundles.empty() == [OTHER]
            api.tell({SHOP: one + two, OTHER: der(OTHER)})
            await followed.wait_for(2, 1)
            api.tell({SHOP: two, OTHER: der(OTHER)})
            await followed.wait_for(1, 1)
            api.tell({OTHER: der(OTHER)})
            await followed.wait_for(0, 1)
            assert followed.bundles.empty() == [SHOP]
        assert api.unmarked == 0
        assert set(followed.bundles.documents) == {SHOP, OTHER}

    asyncio.run(scenario())


def test_the_same_again_is_no_change(api: WorkloadApi, tmp_path: Path) -> None:
    """Workers are told of what is different."""

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock")
        api.certificates = {SHOP: der()}
        async with followed.running():
            await followed.wait_for(1, 0)
            heard = len(followed.news)
            api.tell()
            await followed.wait(lambda: len(followed.news) > heard)
            assert followed.changes == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "bad",
    [b"\x30", b"garbage", b"\x30\x82\xff\xff", der()[:-1], der() + b"\0", b"\x30\x03\x02\x01\x01"],
    ids=["cut", "text", "longer", "cut certificate", "something behind", "no certificate"],
)
def test_a_bad_bundle_changes_nothing_of_its_domain(api: WorkloadApi, tmp_path: Path, bad: bytes) -> None:
    """And of others, what is good is taken."""

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock")
        api.certificates = {SHOP: der()}
        async with followed.running():
            await followed.wait_for(1, 0)
            before = followed.bundles.documents[SHOP]
            api.tell({SHOP: bad, OTHER: der(OTHER)})
            await followed.wait_for(1, 1)
            assert followed.bundles.documents[SHOP] == before
            assert (SHOP, False) in followed.news

    asyncio.run(scenario())


def test_what_is_known_serves_while_the_api_is_gone(tmp_path: Path) -> None:
    """Each domain until its own age; and when it is back, it is believed at once."""

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock")
        api = WorkloadApi()
        api.certificates = {SHOP: der(), OTHER: der(OTHER)}
        async with followed.running():
            with workload_api(tmp_path / "api.sock", api):
                await followed.wait_for(1, 1)
                assert followed.bundles.age_s(SHOP) == 0
            await followed.wait(lambda: (SHOP, False) in followed.news)
            followed.now += MAX_AGE_S - 1
            assert len(followed.bundle().authorities) == 1
            assert followed.bundles.age_s(SHOP) == MAX_AGE_S - 1
            followed.now += 1
            await followed.wait_for(0, 1)
            assert followed.bundles.age_s(SHOP) is None
            followed.now += MAX_AGE_S
            await followed.wait_for(0, 0)
            with workload_api(tmp_path / "api.sock", api):
                await followed.wait(lambda: followed.later() and not followed.bundles.empty())

    asyncio.run(scenario())


def test_who_is_not_known_there_gets_nothing(
    api: WorkloadApi, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And is told to be registered, until it is."""

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock")
        api.refusal, api.certificates = grpc.StatusCode.PERMISSION_DENIED, {SHOP: der()}
        async with followed.running():
            await followed.wait(lambda: (SHOP, False) in followed.news)
            assert followed.bundles.empty() == [SHOP, OTHER]
            api.refusal = None
            await followed.wait(lambda: followed.later() and followed.bundles.empty() == [OTHER])

    asyncio.run(scenario())
    captured = capfd.readouterr()
    assert "register one" in captured.out + captured.err


def test_keys_of_jwt_svids_come_from_the_other_stream(api: WorkloadApi, tmp_path: Path) -> None:
    """Beside the certificates; either may come first or alone."""
    key = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1")

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock", with_keys=True)
        api.keys = {
            SHOP: jwks(key.jwk(use=None), key.jwk(kid="k2", use="jwt-svid"), key.jwk(kid="k3", use="x509-svid"))
        }
        async with followed.running():
            await followed.wait(lambda: len(followed.bundle().keys.keys) == 2)
            api.tell({SHOP: der()})
            await followed.wait(lambda: len(followed.bundle().authorities) == 1)
            assert len(followed.bundle().keys.keys) == 2
            api.tell(keys={})
            await followed.wait(lambda: not followed.bundle().keys.keys)
            assert len(followed.bundle().authorities) == 1

    asyncio.run(scenario())


def test_the_first_answer_can_be_had_alone(api: WorkloadApi, tmp_path: Path) -> None:
    """As a command wants it."""
    api.certificates = {SHOP: der()}

    async def scenario() -> None:
        followed = Followed(tmp_path / "api.sock", with_keys=True)
        await followed.bundles.first()
        assert len(followed.bundle().authorities) == 1
        nobody = Followed(tmp_path / "none.sock")
        with pytest.raises(FetchFailed):
            await nobody.bundles.first()

    asyncio.run(scenario())


def settings(directory: Path) -> dict[str, object]:
    """A domain with a bundle from the API."""
    domains = {SHOP: {"bundle": {"workload_api": True}}}
    return {"workloads": {"trust_domains": domains, "workload_api": f"unix://{directory}/api.sock"}}


def test_the_workers_get_them_as_all_other_bundles(api: WorkloadApi, tmp_path: Path) -> None:
    """And an empty one is named where the server says what it lacks."""
    api.certificates = {SHOP: der()}

    async def scenario() -> None:
        changed = asyncio.Event()
        trust = Trust(Settings.model_validate(settings(tmp_path)), ControlMetrics(tmp_path), changed.set)
        assert trust.missing() == {f"bundle {SHOP} has no certificates": False}
        task = asyncio.create_task(trust.run())
        async with asyncio.timeout(PATIENCE_S):
            await changed.wait()
        assert parse_bundle(trust.bundles()[SHOP]).usable
        assert trust.missing() == {}
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_what_comes_is_bounded() -> None:
    """In certificates, and in work for what only looks like them."""
    with pytest.raises(InvalidBundle, match="more than"):
        certificates_of(b"\x30\x00" * (MAX_CERTIFICATES + 1))
    with pytest.raises(InvalidBundle, match="larger than"):
        certificates_of(b"\x30" * 2_000_000)
    assert len(certificates_of(der() * 3)) == 3


@pytest.mark.parametrize(
    "bad", [b"x", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', json.dumps({"keys": ["a"]}).encode()]
)
def test_what_is_no_key_set_is_refused(bad: bytes) -> None:
    """Nothing at all is no key."""
    with pytest.raises(InvalidBundle):
        keys_of(bad)
    assert keys_of(b"") == []
