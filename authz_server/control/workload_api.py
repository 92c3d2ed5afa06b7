"""Trust bundles from the SPIFFE Workload API, such as that of a SPIRE agent: streams that tell of every change.

SPIFFE Workload API standard, sections 4.1 to 4.3, 5.2.2 and 6.2.2.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

import structlog

from authz_server.control.fetch_schedule import FIRST_RETRY_S, LONGEST_RETRY_S
from authz_server.control.fetching import FetchFailed
from authz_server.control.keys import NO_KEYS
from authz_server.control.workload_bundle import bundle_document, certificates_of, keys_of
from authz_server.identity.bundle import InvalidBundle, parse_spiffe_bundle
from authz_server.identity.spiffe import SCHEME
from authz_server.pb.spiffe import workload_pb2 as messages

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc  # reads the variable above

Kind = Literal["certificates", "keys"]

# Section 4.1: so that no browser or proxy can be made to ask.
_METADATA = (("workload.spiffe.io", "true"),)
# Our own pauses are the longer ones.
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 1000))
_FIRST_S = 10.0
_METHODS: dict[Kind, tuple[str, Any, Any]] = {
    "certificates": ("FetchX509Bundles", messages.X509BundlesRequest, messages.X509BundlesResponse),
    "keys": ("FetchJWTBundles", messages.JWTBundlesRequest, messages.JWTBundlesResponse),
}
_READERS: dict[Kind, Callable[[bytes], list[dict[str, Any]]]] = {"certificates": certificates_of, "keys": keys_of}


class WorkloadApiBundles:
    """The bundles of those trust domains that get them from the Workload API; `max_ages` are in seconds by domain.

    While nothing is heard, what is known serves until it is that old.
    """

    def __init__(
        self,
        address: str,
        max_ages: Mapping[str, float],
        *,
        with_keys: bool,
        on_change: Callable[[], None],
        on_news: Callable[[str, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` is called when `documents` have changed, `on_news` with domain and success of each update."""
        self.documents: dict[str, bytes] = dict.fromkeys(max_ages, NO_KEYS)
        """Bundles in SPIFFE's format, for the workers."""
        self._address = address
        self._max_ages = max_ages
        self._kinds: tuple[Kind, ...] = ("certificates", "keys") if with_keys else ("certificates",)
        self._known: dict[Kind, dict[str, list[dict[str, Any]]]] = {kind: {} for kind in self._kinds}
        self._lost: dict[Kind, float | None] = dict.fromkeys(self._kinds, clock())
        """Since when nothing is heard; None while something is."""
        self._on_change = on_change
        self._on_news = on_news
        self._clock = clock
        self._log = structlog.get_logger()

    def empty(self) -> list[str]:
        """The domains without anything to verify with."""
        return [domain for domain, document in self.documents.items() if document == NO_KEYS]

    def age_s(self, domain: str) -> float | None:
        """Seconds since it was last sure that the bundle is the latest; None where there is none."""
        if self.documents[domain] == NO_KEYS:
            return None
        return max([0.0, *(self._clock() - lost for lost in self._lost.values() if lost is not None)])

    async def run(self) -> None:
        """Follow the API until cancelled."""
        async with _channel(self._address) as channel, asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._follow(channel, kind))

    async def first(self) -> None:
        """Take one answer of each kind. Raises FetchFailed."""
        try:
            async with asyncio.timeout(_FIRST_S), _channel(self._address) as channel:
                for kind in self._kinds:
                    self._take(kind, await anext(_updates(channel, kind)))
        except TimeoutError:
            raise FetchFailed(f"no answer within {_FIRST_S:g} s") from None
        except (grpc.aio.AioRpcError, StopAsyncIteration) as error:
            raise FetchFailed(_in_words(error)) from None

    async def _follow(self, channel: grpc.aio.Channel, kind: Kind) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            problem: Exception | None = None
            try:
                async for bundles in _updates(channel, kind):
                    retry_s = FIRST_RETRY_S
                    self._take(kind, bundles)
            except grpc.aio.AioRpcError as error:
                problem = error
            self._lose(kind, _in_words(problem))
            due = self._clock() + retry_s
            while (wait := due - self._clock()) > 0:
                self._expire(kind)
                await asyncio.sleep(min(wait, 1.0))
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    def _take(self, kind: Kind, bundles: Mapping[str, bytes]) -> None:
        """One update tells everything: a domain that it does not name is not trusted any more."""
        self._lost[kind] = None
        for domain in self.documents:
            try:
                entries = _READERS[kind](bundles.get(f"{SCHEME}{domain}", b""))
                # Before it replaces what is known: the workers must be able to read it.
                parse_spiffe_bundle(bundle_document([entries]))
            except InvalidBundle as error:
                self._on_news(domain, False)
                self._log.error("workload_api_bundle_refused", trust_domain=domain, problem=str(error))
                continue
            self._known[kind][domain] = entries
            self._on_news(domain, True)
        self._publish()

    def _lose(self, kind: Kind, problem: str) -> None:
        if self._lost[kind] is None:
            self._lost[kind] = self._clock()
        for domain in self.documents:
            self._on_news(domain, False)
        self._log.error("workload_api_failed", problem=f"{kind}: {problem}")

    def _expire(self, kind: Kind) -> None:
        lost = self._lost[kind]
        if lost is None:
            return
        for domain, max_age_s in self._max_ages.items():
            if self._clock() - lost >= max_age_s and self._known[kind].get(domain):
                del self._known[kind][domain]
                self._log.error("bundle_expired", trust_domain=domain)
        self._publish()

    def _publish(self) -> None:
        documents = {}
        for domain in self.documents:
            entries = [self._known[kind].get(domain, []) for kind in self._kinds]
            documents[domain] = bundle_document(entries) if any(entries) else NO_KEYS
        if documents != self.documents:
            self.documents = documents
            self._on_change()


async def _updates(channel: grpc.aio.Channel, kind: Kind) -> AsyncIterator[Mapping[str, bytes]]:
    """The bundles by the SPIFFE IDs of trust domains, again and again. Raises grpc.aio.AioRpcError."""
    method, request, response = _METHODS[kind]
    stub: Any = channel.unary_stream(
        f"/SpiffeWorkloadAPI/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    call = stub(request(), metadata=_METADATA)
    try:
        async for answer in call:
            yield answer.bundles
    finally:
        call.cancel()


def _in_words(problem: Exception | None) -> str:
    if not isinstance(problem, grpc.aio.AioRpcError):
        return "the stream has ended"
    if problem.code() is grpc.StatusCode.PERMISSION_DENIED:
        return "it knows no identity of this process: register one"
    return f"{problem.code().name}: {problem.details()}"


def _channel(address: str) -> grpc.aio.Channel:
    """To `unix:///path` or `tcp://127.0.0.1:8000` (SPIFFE Workload Endpoint standard section 4)."""
    return grpc.aio.insecure_channel(address.removeprefix("tcp://"), _OPTIONS)
