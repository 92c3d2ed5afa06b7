"""The keys of an issuer over time: fetched ahead, kept while it is down, given up in the end."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.fetching import FetchFailed
from authz_server.control.key_source import UrlSource
from authz_server.control.keys import NO_KEYS, Fetched
from tests.unit.control.issuer_server import IssuerServer, answer, issuer_server

HOUR = 3600.0
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "1",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""The public key of RFC 7515 appendix A.3."""
KEYS = {"keys": [JWK]}


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds of no epoch in particular."""
        return self.now


class Kept:
    """An issuer's keys with a clock of their own, and what they told."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.changes: list[bytes] = []
        self.fetches: list[bool] = []
        self.keys = Fetched(
            "corp",
            UrlSource(url),
            FetchSchedule(refresh_s=600.0, max_age_s=HOUR),
            on_change=lambda: self.changes.append(self.keys.document),
            on_fetch=lambda _name, ok: self.fetches.append(ok),
            clock=self.clock,
        )

    def after(self, seconds: float) -> "Kept":
        """What is due after so many more seconds has been done."""
        self.clock.now += seconds
        asyncio.run(self.keys.step())
        return self


@pytest.fixture(name="issuer")
def _issuer() -> Iterator[IssuerServer]:
    with issuer_server() as server:
        server.serve("/jwks", KEYS)
        yield server


@pytest.fixture(name="kept")
def _kept(issuer: IssuerServer) -> Kept:
    return Kept(f"{issuer.url}/jwks")


def test_before_the_first_fetch_there_are_no_keys(kept: Kept) -> None:
    """An empty set: tokens are refused, and nothing waits."""
    assert kept.keys.document == NO_KEYS
    assert not kept.keys.usable
    assert kept.keys.age_s is None


def test_keys_are_fetched_ahead_of_their_end(kept: Kept, issuer: IssuerServer) -> None:
    """At the start, not again before the interval, and then again; only a change is told."""
    kept.after(0).after(300).after(300)
    assert issuer.asked == ["/jwks", "/jwks"]
    assert kept.fetches == [True, True]
    assert [json.loads(document) for document in kept.changes] == [KEYS]
    assert kept.keys.usable


def test_known_keys_serve_while_the_issuer_is_down(kept: Kept, issuer: IssuerServer) -> None:
    """KEY-05: up to their age, then an empty set is told, and the first good answer brings them back."""
    kept.after(0)
    issuer.answers["/jwks"] = answer(b"", 503)
    kept.after(HOUR - 1)
    assert kept.keys.usable
    kept.after(1)
    assert kept.keys.document == NO_KEYS
    assert not kept.keys.usable
    issuer.serve("/jwks", KEYS)
    kept.after(60)
    assert kept.keys.usable
    assert [json.loads(document) for document in kept.changes] == [KEYS, {"keys": []}, KEYS]


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"keys": {}}', b'{"keys": [], "keys": []}'])
def test_what_is_no_key_set_changes_nothing(kept: Kept, issuer: IssuerServer, body: bytes) -> None:
    """KEY-03: the old set stays."""
    kept.after(0)
    issuer.answers["/jwks"] = answer(body)
    kept.after(600)
    assert kept.fetches == [True, False]
    assert kept.keys.usable


def test_an_issuer_that_withdraws_its_keys_is_believed(kept: Kept, issuer: IssuerServer) -> None:
    """An empty set is a set."""
    kept.after(0)
    issuer.serve("/jwks", {"keys": []})
    kept.after(600)
    assert not kept.keys.usable


def test_unknown_keys_cause_one_fetch_in_a_cooldown(kept: Kept, issuer: IssuerServer) -> None:
    """KEY-04: a thousand tokens with made-up keys in 29 seconds cause none, the first after 30 seconds one."""
    kept.after(0)
    for _ in range(1000):
        kept.keys.ask()
        kept.clock.now += 0.029
    kept.after(0)
    assert len(issuer.asked) == 1
    kept.after(2)
    assert len(issuer.asked) == 2


def test_asking_wakes_the_task_that_waits(issuer: IssuerServer) -> None:
    """Keys that were rotated arrive without waiting for the interval; one task fetches at a time."""

    class Slow(UrlSource):
        under_way = most = 0

        async def fetch(self) -> bytes:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                return await super().fetch()
            finally:
                self.under_way -= 1

    async def scenario() -> int:
        source, clock = Slow(f"{issuer.url}/jwks"), Clock()
        changed = asyncio.Event()
        keys = Fetched(
            "corp",
            source,
            FetchSchedule(refresh_s=600.0, max_age_s=HOUR),
            on_change=changed.set,
            on_fetch=lambda _name, _ok: None,
            clock=clock,
        )
        task = asyncio.create_task(keys.run())
        await asyncio.wait_for(changed.wait(), 10)
        changed.clear()
        issuer.serve("/jwks", {"keys": [JWK, {**JWK, "kid": "2"}]})
        clock.now += 60
        for _ in range(10):
            keys.ask()
        await asyncio.wait_for(changed.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return source.most

    assert asyncio.run(scenario()) == 1


def test_a_source_that_fails_leaves_no_keys_at_start() -> None:
    """The server starts all the same."""

    class Down:
        async def fetch(self) -> bytes:
            raise FetchFailed("down")

    told: list[bool] = []
    keys = Fetched(
        "corp",
        Down(),
        FetchSchedule(refresh_s=600.0, max_age_s=HOUR),
        on_change=lambda: None,
        on_fetch=lambda _name, ok: told.append(ok),
        clock=Clock(),
    )
    asyncio.run(keys.step())
    assert told == [False]
    assert keys.document == NO_KEYS


@pytest.mark.parametrize("turns", range(4))
def test_a_cancellation_that_meets_an_event_is_not_lost(kept: Kept, turns: int) -> None:
    """Whatever the loop of the event is doing when it is told to end, it ends."""

    async def cancelled() -> bool:
        running = asyncio.create_task(kept.keys.run())
        while not kept.fetches:
            await asyncio.sleep(0)
        kept.keys.ask()
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=10)
        return running.cancelled()

    assert asyncio.run(cancelled())
