"""Keeps keys and bundles fresh: one fetch at a time, ahead of need, the old ones while their source is down."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Literal

import structlog

from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.fetching import FetchFailed
from authz_server.control.key_source import KeySource
from authz_server.identity.bundle import Bundle, InvalidBundle, parse_spiffe_bundle
from authz_server.identity.keys import InvalidKeySet, KeySet, parse_jwks

NO_KEYS = b'{"keys": []}'
"""The JWKS of an issuer whose keys are not known, and the bundle of a trust domain that is not."""


class Fetched:
    """The keys of one issuer, or the bundle of one trust domain."""

    def __init__(
        self,
        name: str,
        source: KeySource,
        schedule: FetchSchedule,
        *,
        on_change: Callable[[], None],
        on_fetch: Callable[[str, bool], None],
        kind: Literal["keys", "bundle"] = "keys",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` is called when `document` has changed, `on_fetch` with the name and success of each fetch."""
        self.name = name
        self.document = NO_KEYS
        """What the workers should have."""
        self.usable = False
        """Whether there is a key to verify with."""
        self._kind = kind
        self._log = structlog.get_logger().bind(**{"issuer" if kind == "keys" else "trust_domain": name})
        self._source = source
        self._schedule = schedule
        self._schedule.due = clock()
        self._on_change = on_change
        self._on_fetch = on_fetch
        self._clock = clock
        self._asked = asyncio.Event()

    @property
    def age_s(self) -> float | None:
        """Seconds since the keys were fetched; None where there are none."""
        return None if self._schedule.fetched is None else self._clock() - self._schedule.fetched

    def ask(self) -> None:
        """Fetch soon: a token named a key that is not known."""
        self._schedule.ask(self._clock())
        self._asked.set()

    async def run(self) -> None:
        """Fetch whenever it is due, until cancelled."""
        while True:
            await self.step()
            wait = self._schedule.next_event() - self._clock()
            self._asked.clear()
            try:
                async with asyncio.timeout(max(0.01, wait)):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Do what is due now."""
        if self._clock() >= self._schedule.due:
            await self._fetch()
        if self._schedule.expire(self._clock()):
            self._log.error(f"{self._kind}_expired")
            self._replace(NO_KEYS, False)

    async def _fetch(self) -> None:
        self._schedule.begin(self._clock())
        try:
            document = await self._source.fetch()
            parsed: KeySet | Bundle = (parse_jwks if self._kind == "keys" else parse_spiffe_bundle)(document)
        except (FetchFailed, InvalidKeySet, InvalidBundle) as error:
            self._schedule.fail(self._clock())
            self._on_fetch(self.name, False)
            self._log.error(f"{self._kind}_fetch_failed", problem=str(error))
            return
        if isinstance(parsed, Bundle):
            self._schedule.hint(parsed.refresh_hint_s)
        self._schedule.succeed(self._clock(), random.random())  # noqa: S311  # spreads load, protects nothing
        self._on_fetch(self.name, True)
        if document != self.document:
            for warning in parsed.warnings:
                self._log.warning("key_unusable", problem=warning)
            self._replace(document, parsed.usable)

    def _replace(self, document: bytes, usable: bool) -> None:
        self.document = document
        self.usable = usable
        self._on_change()
