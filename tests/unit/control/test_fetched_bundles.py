"""Trust bundles from endpoints over time: fetched as often as they ask, kept while the endpoint is down."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.key_source import UrlSource
from authz_server.control.keys import NO_KEYS, Fetched
from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.dev.ca import create_ca
from authz_server.identity.bundle import parse_bundle
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.builders import spiffe_bundle
from tests.unit.control.issuer_server import IssuerServer, answer, issuer_server
from tests.unit.control.test_keys import Clock

DAY = 86400.0
DOMAIN = "shop.example"


class Kept:
    """A bundle with a clock of its own, and what was told."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.changes: list[bytes] = []
        self.fetches: list[bool] = []
        self.schedule = FetchSchedule(refresh_s=300.0, max_age_s=DAY)
        self.bundle = Fetched(
            DOMAIN,
            UrlSource(url),
            self.schedule,
            on_change=lambda: self.changes.append(self.bundle.document),
            on_fetch=lambda _name, ok: self.fetches.append(ok),
            kind="bundle",
            clock=self.clock,
        )

    def after(self, seconds: float) -> "Kept":
        """What is due after so many more seconds has been done."""
        self.clock.now += seconds
        asyncio.run(self.bundle.step())
        return self


@pytest.fixture(name="endpoint")
def _endpoint() -> Iterator[IssuerServer]:
    with issuer_server() as server:
        server.serve("/bundle", spiffe_bundle(create_ca(DOMAIN)))
        yield server


@pytest.fixture(name="kept")
def _kept(endpoint: IssuerServer) -> Kept:
    return Kept(f"{endpoint.url}/bundle")


def test_before_the_first_fetch_the_bundle_is_empty(kept: Kept) -> None:
    """ID-12: everybody of the domain is refused, and nothing waits."""
    assert kept.bundle.document == NO_KEYS
    assert not kept.bundle.usable
    assert not parse_bundle(kept.bundle.document).usable


def test_a_fetched_bundle_is_told_of_once(kept: Kept) -> None:
    """Every fetch counts, only a change is told."""
    kept.after(0).after(300)
    assert kept.fetches == [True, True]
    assert len(kept.changes) == 1
    assert len(parse_bundle(kept.bundle.document).authorities) == 1


@pytest.mark.parametrize(
    ("hint", "refresh_s"), [(None, 300.0), (60, 60.0), (1, 10.0), (7200, 3600.0), (0, 300.0), ("soon", 300.0)]
)
def test_a_bundle_says_how_often_it_is_fetched(
    kept: Kept, endpoint: IssuerServer, hint: object, refresh_s: float
) -> None:
    """Within bounds: neither a hint of zero nor one of years is followed."""
    endpoint.serve("/bundle", spiffe_bundle(create_ca(DOMAIN), spiffe_refresh_hint=hint))
    kept.after(0)
    assert kept.schedule.refresh_s == refresh_s
    begun = len(endpoint.asked)
    kept.after(0.8 * refresh_s)
    assert len(endpoint.asked) == begun
    kept.after(0.2 * refresh_s)
    assert len(endpoint.asked) == begun + 1


@pytest.mark.parametrize("hint_s", [3600.0, None])
def test_a_bundle_is_fetched_before_it_is_too_old(hint_s: float | None) -> None:
    """Half of the time of trust is the longest pause."""
    schedule = FetchSchedule(refresh_s=300.0, max_age_s=60.0)
    schedule.hint(hint_s)
    assert schedule.refresh_s == 30.0


FAILURES = {
    "an error": answer(b"", 503),
    "a redirect": answer(b"", 302, location="/other"),
    "nothing": answer(b""),
    "no JSON": answer(b"<html>"),
    "no bundle": answer(b"{}"),
    "PEM": answer(create_ca(DOMAIN).bundle_pem.encode()),
    "a bad certificate": answer(json.dumps({"keys": [{"use": "x509-svid", "x5c": ["AAAA"]}]}).encode()),
    "too much": answer(b" " * (1024 * 1024 + 1)),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_known_bundle_serves_while_its_endpoint_is_down(kept: Kept, endpoint: IssuerServer, failure: str) -> None:
    """Whatever comes instead of a bundle changes nothing up to its age; then everybody is refused."""
    kept.after(0)
    known = kept.bundle.document
    endpoint.answers["/bundle"] = FAILURES[failure]
    kept.after(DAY - 1)
    assert kept.fetches == [True, False]
    assert kept.bundle.document == known
    assert "/other" not in endpoint.asked
    kept.after(1)
    assert not kept.bundle.usable
    assert kept.changes == [known, NO_KEYS]


def test_a_domain_that_withdraws_its_authorities_is_believed(kept: Kept, endpoint: IssuerServer) -> None:
    """An empty bundle is a bundle."""
    kept.after(0)
    endpoint.serve("/bundle", {"keys": []})
    kept.after(300)
    assert kept.fetches == [True, True]
    assert not kept.bundle.usable


def test_a_dark_domain_is_named(endpoint: IssuerServer, tmp_path: Path) -> None:
    """By readiness and metrics, until its bundle comes; the other domain's bundle is its own."""
    dark = "http://127.0.0.1:1/bundle"
    domains = {DOMAIN: {"bundle": {"url": f"{endpoint.url}/bundle"}}, "dark.example": {"bundle": {"url": dark}}}
    settings = Settings.model_validate({"workloads": {"trust_domains": domains}}, context={"base": tmp_path})
    metrics, changed = ControlMetrics(tmp_path / "metrics"), asyncio.Event()
    trust = Trust(settings, metrics, changed.set)
    assert trust.missing() == {f"bundle {name} has no certificates": False for name in domains}

    async def one_change() -> None:
        running = asyncio.create_task(trust.run())
        await asyncio.wait_for(changed.wait(), 10)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(one_change())
    assert trust.missing() == {"bundle dark.example has no certificates": False}
    assert trust.troubled() == {"bundle dark.example"}
    bundles = {domain: parse_bundle(document) for domain, document in trust.bundles().items()}
    assert {domain: len(bundle.authorities) for domain, bundle in bundles.items()} == {DOMAIN: 1, "dark.example": 0}
    text = metrics.render().decode()
    assert f'authz_bundle_fetches_total{{result="ok",trust_domain="{DOMAIN}"}} 1.0' in text
    assert 'authz_bundle_age_seconds{trust_domain="dark.example"} NaN' in text


def test_a_token_with_an_unknown_key_causes_a_fetch(tmp_path: Path, endpoint: IssuerServer) -> None:
    """Of its own trust domain alone; a name that nobody has is ignored."""
    bundle = {"url": f"{endpoint.url}/bundle"}
    settings = Settings.model_validate(
        {"workloads": {"trust_domains": {DOMAIN: {"bundle": bundle}}}}, context={"base": tmp_path}
    )
    trust = Trust(settings, ControlMetrics(tmp_path / "metrics"), lambda: None)
    for name in (f"spiffe://{DOMAIN}", "spiffe://other.example", DOMAIN):
        trust.ask(name)
