"""How much memory hostile callers can make a worker take: unique requests, and a check of each in this process.

python -m tests.steady.hostile_memory              a million requests of every kind, at most 64 MiB
python -m tests.steady.hostile_memory --kinds certificates,hosts --count 20000
"""

import argparse
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import structs

from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingConsumer, RingProducer, create_ring
from authz_server.control.server import RING_BYTES
from authz_server.envoy.service import CheckService, GoOn
from authz_server.errors import Reason
from authz_server.identity.api_keys import ApiKey, make_secret
from authz_server.identity.introspection import IntrospectionNeeded, opaque_tokens
from authz_server.identity.settings import (
    ApiKeySettings,
    Dpop,
    IdentitySettings,
    Introspection,
    Issuer,
    JwtSvids,
    TrustDomain,
)
from authz_server.model import Decision
from authz_server.policy.packing import pack
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.messages import Prepare
from authz_server.worker.replays import ReplayTable, prepare_replays
from authz_server.worker.snapshots import Snapshots
from authz_server.worker.unknown_keys import UnknownKeys
from tests.builders import Call, plan_of
from tests.fuzz.target import FILES
from tests.security.server import POLICY, message_of
from tests.steady.hostile_callers import BELIEVED, VERIFIED, HostileCallers
from tests.unit.identity.tokens import CORP, jwks
from tests.unit.worker.test_server import SETTINGS as ANY_WORKER

COUNT = 1_000_000
MOST_MIB = 64.0
_WARM_UP = 50
"""Requests of each kind before the baseline: what is loaded with the first ones is not what is measured."""
_LOOK_EVERY = 2_000
_TELL_EVERY_S = 10.0
_DRAIN_EVERY = 1_000

IDENTITY = IdentitySettings(
    issuers=(
        Issuer("corp", CORP, ("shop",), algorithms=("EdDSA",)),
        Issuer("opaque", "https://opaque.example/", ("shop",), introspection=Introspection("http://[::1]/", "c", "s")),
    ),
    trust_domains=(TrustDomain(VERIFIED, verify=True), TrustDomain(BELIEVED)),
    jwt_svids=JwtSvids("x-jwt-svid", ("orders",)),
    api_keys=ApiKeySettings("api-keys", "x-api-key"),
    dpop=Dpop(),
    proxies=("10.0.0.0/8",),
    identity_headers=("x-user", "x-workload"),
)
PATTERNS = """
    kind: service
    name: patterns
    hosts: ["*"]
    rules:
""" + "\n".join(
    f"      - {{id: r{number}, effect: allow, to: [{{paths: [/a/{number}, /a]}}],"
    f" from: [{{workloads: ['spiffe://{BELIEVED}/ns/*/sa/*', 'spiffe://{BELIEVED}/{number}/**']}}]}}"
    for number in range(20)
)


class Worker:
    """All that a worker has but its transport, and an issuer that calls every opaque token not active."""

    def __init__(self, directory: Path, callers: HostileCallers, now: float) -> None:
        create_ring(directory / "0.ring", RING_BYTES)
        prepare_replays(directory / "replays", 10_000, Dpop())
        settings = structs.replace(
            ANY_WORKER, ring=str(directory / "0.ring"), metrics_directory=str(directory), identity=IDENTITY
        )
        self.metrics = WorkerMetrics(directory, 0)
        self.reasons: set[Reason] = set()
        self._records = RingConsumer(directory / "0.ring")
        self._recorder = Recorder(RingProducer(directory / "0.ring"), 0, Redaction((), settings.hash_key))
        opaque = opaque_tokens(IDENTITY, settings.hash_key)
        assert opaque is not None
        unknown_keys = UnknownKeys(self.metrics.unknown_key, lambda _issuer: None)
        snapshots = Snapshots(settings, unknown_keys, opaque, ReplayTable(directory / "replays"))

        def introspect(needed: IntrospectionNeeded, _size: int, _time_left_s: float | None, go_on: GoOn) -> None:
            opaque.take(needed, b'{"active": false}', time.time())
            go_on(None)

        self.service = CheckService(self._record, introspect, IDENTITY.dpop.algorithms if IDENTITY.dpop else ())
        plan = plan_of(directory / "policies", orders=POLICY, files=FILES, patterns=PATTERNS)
        _, secret = make_secret("k3v9x0q2m7ab")
        snapshots.prepare(
            Prepare(
                1,
                pack(plan),
                {"corp": jwks(callers.key.jwk())},
                {VERIFIED: callers.bundle()},
                api_keys=(ApiKey("k3v9x0q2m7ab", "nightly", now - 60, now + 60, (secret,)),),
            )
        )
        self.service.snapshot = snapshots.activate(1)

    def check(self, payload: bytes) -> None:
        """Answer a request, at once or when the issuer has been asked."""
        call = Call()
        assert self.service.check(payload, call) or call.answered

    def drain(self) -> None:
        """What the control process does with the records."""
        while (batch := self._records.read()).records:
            self._records.advance(batch)

    def _record(self, decision: Decision, latency_us: int) -> None:
        self._recorder(decision, latency_us)
        self.metrics.decided(decision, latency_us)
        self.reasons.add(decision.reason)


def resident_mib() -> float:
    """Memory of this process that is in RAM."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 where it was too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.steady.hostile_memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=COUNT, help=f"how many requests (default: {COUNT:,})")
    parser.add_argument("--most", type=float, default=MOST_MIB, help=f"MiB over the baseline (default: {MOST_MIB:g})")
    parser.add_argument("--kinds", help="only these, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, default=None, help="by default of the time")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with TemporaryDirectory() as directory:
        callers = HostileCallers(seed, time.time())
        kinds = options.kinds.split(",") if options.kinds else list(callers.kinds)
        worker = Worker(Path(directory), callers, time.time())
        most = _measure(worker, callers, kinds, options.count)
        print(f"reasons: {', '.join(sorted(worker.reasons))}")
    verdict = "within" if most <= options.most else "OVER"
    print(f"{options.count:,} requests: at most {most:.1f} MiB over the baseline, {verdict} {options.most:g} MiB")
    return 0 if most <= options.most else 1


def _measure(worker: Worker, callers: HostileCallers, kinds: Sequence[str], count: int) -> float:
    """The most that the process took over its baseline, in MiB."""
    for kind in callers.kinds:
        for _ in range(_WARM_UP):
            worker.check(message_of(callers.ask(kind)).SerializeToString())
    worker.drain()
    gc.collect()
    baseline, most, told = resident_mib(), 0.0, time.monotonic()
    print(f"baseline {baseline:.1f} MiB", flush=True)
    for number in range(count):
        worker.check(message_of(callers.ask(callers.random.choice(kinds))).SerializeToString())
        if number % _DRAIN_EVERY == 0:
            worker.drain()
        if number % _LOOK_EVERY == 0 or number == count - 1:
            most = max(most, resident_mib() - baseline)
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            print(f"{number:,} of {count:,} requests, {resident_mib() - baseline:.1f} MiB over", flush=True)
    return most


if __name__ == "__main__":
    sys.exit(main())
