"""Keeps the keys of an issuer fresh: one fetch at a time, ahead of need, old keys while the issuer is down."""

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from authz_server.control.key_schedule import KeySchedule
from authz_server.control.key_source import FetchFailed, KeySource
from authz_server.identity.keys import InvalidKeySet, parse_jwks

NO_KEYS = b'{"keys": []}'
"""The JWKS of an issuer whose keys are not known."""


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(
        self,
        name: str,
        source: KeySource,
        schedule: KeySchedule,
        *,
        on_change: Callable[[], None],
        on_fetch: Callable[[str, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` is called when `document` has changed, `on_fetch` with the name and success of each fetch."""
        self.name = name
        self.document = NO_KEYS
        """What the workers should have."""
        self.usable = False
        """Whether there is a key to verify with."""
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
            structlog.get_logger().error("keys_expired", issuer=self.name)
            self._replace(NO_KEYS, False)

    async def _fetch(self) -> None:
        self._schedule.begin(self._clock())
        try:
            document = await self._source.fetch()
            keys = parse_jwks(document)
        except (FetchFailed, InvalidKeySet) as error:
            self._schedule.fail(self._clock())
            self._on_fetch(self.name, False)
            structlog.get_logger().error("keys_fetch_failed", issuer=self.name, problem=str(error))
            return
        self._schedule.succeed(self._clock(), random.random())  # noqa: S311  # spreads load, protects nothing
        self._on_fetch(self.name, True)
        if document != self.document:
            for warning in keys.warnings:
                structlog.get_logger().warning("key_unusable", issuer=self.name, problem=warning)
            self._replace(document, bool(keys.keys))

    def _replace(self, document: bytes, usable: bool) -> None:
        self.document = document
        self.usable = usable
        self._on_change()
