"""`envoy.service.auth.v3.Authorization/Check`: bytes in, bytes out, and RPC status OK whatever happens.

To Envoy an RPC error is not a denial: `failure_mode_allow` would let it pass. So nothing raises out of here.
"""

import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import structlog

from authz_server import pipeline
from authz_server.envoy.request import read_request
from authz_server.envoy.response import ResponseWriter
from authz_server.errors import Reason, Refused
from authz_server.identity.introspection import IntrospectionNeeded
from authz_server.model import Decision, Request
from authz_server.snapshot import Snapshot

SERVICE_NAME = "envoy.service.auth.v3.Authorization"
MINIMUM_TIME_LEFT_S = 0.005
"""With less than this until the caller's deadline, an answer would come too late to be one."""
LONGEST_DECISION_S = 0.1
"""After so long no further condition is begun: others wait, half of the time that Envoy gives a check by default."""
NO_REQUEST = Request()

Recorder = Callable[[Decision, int], None]
"""Takes a decision and its latency in microseconds, before the answer leaves.

Raises Refused (`audit_unavailable`) where it allows, and its record can be kept nowhere."""
GoOn = Callable[[Refused | None], None]
Introspect = Callable[[IntrospectionNeeded, int, float | None, GoOn], None]
"""Asks about a token for a request of so many bytes with so many seconds left, and goes on later: with None when the
answer is there, or with the denial. Raises Refused (`overloaded`)."""


class CallContext(Protocol):
    """What the check asks of the transport."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        ...

    def answer(self, answer: bytes) -> None:
        """Answer a call for which `check` gave None; from any thread."""
        ...


class CheckService:
    """Answers Check with the snapshot of the moment, which is replaced by one assignment."""

    def __init__(
        self,
        record: Recorder,
        introspect: Introspect | None = None,
        proof_algorithms: Iterable[str] = (),
        metadata: tuple[str, ...] = (),
        *,
        failures_are_errors: bool = False,
    ) -> None:
        """`metadata` are the namespaces of metadata that rules may read."""
        self.snapshot: Snapshot | None = None
        self._introspect = introspect
        self._metadata = metadata
        self._record = record
        self._responses = ResponseWriter(proof_algorithms, failures_are_errors=failures_are_errors)
        self._log = structlog.get_logger()
        # To Envoy a failure to answer is no denial: what is sent then must not have to be made.
        self._last_resort = self._responses.write(pipeline.refused(NO_REQUEST, Reason.INTERNAL_ERROR, "", 0.0))

    def check(self, payload: bytes, context: CallContext) -> bytes | None:
        """Decide one serialized CheckRequest; every failure inside is an explicit denial.

        None: the answer comes later, when the issuer of the token has been asked.
        """
        started = time.perf_counter_ns()
        now = time.time()
        try:
            return self._recorded(self._decide(payload, context, now), started, payload)
        except IntrospectionNeeded as needed:
            return self._later(needed, payload, context, started)
        except BaseException as error:  # noqa: BLE001  # the border: whatever is wrong with us must deny
            return self._failed(error, now)

    def shed(self, reason: Reason, calls: int) -> bytes:
        """Deny so many calls unread, for a failure of ours: with one answer, and one record."""
        now = time.time()
        try:
            return self._recorded(pipeline.shed(calls, reason, now), time.perf_counter_ns())
        except BaseException as error:  # noqa: BLE001  # the border, as above
            return self._failed(error, now)

    def refuse(self, reason: Reason, detail: str) -> bytes:
        """Deny a call whose request must not even be read."""
        started = time.perf_counter_ns()
        now = time.time()
        try:
            return self._recorded(pipeline.refused(NO_REQUEST, reason, detail, now), started)
        except BaseException as error:  # noqa: BLE001  # the border, as above
            return self._failed(error, now)

    def _later(self, needed: IntrospectionNeeded, payload: bytes, context: CallContext, started: int) -> bytes | None:
        def go_on(refusal: Refused | None) -> None:
            context.answer(self._resumed(payload, context, started, refusal))

        try:
            if self._introspect is None:
                raise Refused(Reason.ISSUER_UNAVAILABLE, "nobody asks the issuer about the token")
            self._introspect(needed, len(payload), context.time_remaining(), go_on)
        except Refused as refusal:
            return self._resumed(payload, context, started, refusal)
        except BaseException as error:  # noqa: BLE001  # the border, as above
            return self._failed(error, time.time())
        return None

    def _resumed(self, payload: bytes, context: CallContext, started: int, refusal: Refused | None) -> bytes:
        """The answer to a request that had to wait, by the snapshot and the time of now."""
        now = time.time()
        try:
            try:
                decision = self._decide(payload, context, now, refusal)
            except IntrospectionNeeded:
                lost = Refused(Reason.OVERLOADED, "what the issuer said about the token was not kept")
                decision = self._decide(payload, context, now, lost)
            return self._recorded(decision, started, payload)
        except BaseException as error:  # noqa: BLE001  # the border, as above
            return self._failed(error, now)

    def _recorded(self, decision: Decision, started_ns: int, payload: bytes = b"") -> bytes:
        """The answer, which leaves only after the record is safe."""
        response = self._responses.write(decision)
        try:
            self._record(decision, (time.perf_counter_ns() - started_ns) // 1000)
        except Refused as refusal:
            denial = pipeline.unrecorded(decision, read_request(payload, self._metadata), refusal)
            response = self._responses.write(denial)
            self._record(denial, (time.perf_counter_ns() - started_ns) // 1000)
        return response

    def _decide(self, payload: bytes, context: CallContext, now: float, refusal: Refused | None = None) -> Decision:
        # One read: a snapshot that is replaced meanwhile does not change this decision.
        snapshot = self.snapshot
        request = NO_REQUEST
        try:
            request = read_request(payload, self._metadata)
            if snapshot is None:
                raise Refused(Reason.NOT_READY, "no policies have been loaded yet")
            remaining = context.time_remaining()
            if remaining is not None and remaining < MINIMUM_TIME_LEFT_S:
                raise Refused(Reason.DEADLINE, "the caller's deadline is too near")
            if refusal is not None:
                raise refusal
        except Refused as refused:
            return pipeline.refused(request, refused.reason, refused.detail, now, snapshot)
        time_left = (
            LONGEST_DECISION_S if remaining is None else min(LONGEST_DECISION_S, remaining - MINIMUM_TIME_LEFT_S)
        )
        until = time.monotonic() + time_left
        return pipeline.check(request, snapshot, now, lambda: time.monotonic() > until)

    def _failed(self, error: BaseException, now: float) -> bytes:
        try:
            decision = pipeline.refused(NO_REQUEST, Reason.INTERNAL_ERROR, type(error).__name__, now)
            response = self._responses.write(decision)
        except BaseException:  # noqa: BLE001  # the border, as above
            return self._last_resort
        # The denial leaves even if it cannot be recorded.
        with suppress(BaseException):
            # Where it happened, never the error's text, which could hold what the request held.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename}:{place.lineno}"
            self._log.error("check_failed", decision_id=decision.id, error=type(error).__name__, where=where)
            self._record(decision, 0)
        return response
