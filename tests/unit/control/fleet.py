"""Real worker processes under a real supervisor, for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from authz_server.audit.rings import Rings
from authz_server.control.process import HEARTBEAT_S
from authz_server.control.publisher import Content, Publisher
from authz_server.control.supervisor import Patience, Supervisor
from authz_server.identity.settings import IdentitySettings, Issuer
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.policy.plan import Plan
from authz_server.worker.address import Address, TcpAddress
from authz_server.worker.messages import WorkerSettings
from tests.builders import plan_of

CHECK = "/envoy.service.auth.v3.Authorization/Check"
PATIENCE_S = 20.0
HOST = "orders.shop.example"


class Fleet:
    """Workers, and what was heard of them."""

    def __init__(
        self,
        directory: Path,
        workers: int,
        patience: Patience,
        address: Address,
        answer_s: float,
        heartbeat_s: float,
    ) -> None:
        self.rings = Rings(directory / "rings", 1 << 16)
        (directory / "metrics").mkdir()
        self.settings = settings = [
            WorkerSettings(
                slot=slot,
                address=address,
                ring=str(self.rings.create(slot)),
                metrics_directory=str(directory / "metrics"),
                identity=IdentitySettings(issuers=(Issuer("corp", "https://login.example/", ("shop",)),)),
                hash_key=b"k" * 32,
                log_level="error",
                log_format="json",
            )
            for slot in range(workers)
        ]
        self.unknown_keys: list[str] = []
        self.endpoints: list[set[int]] = []
        """The slots that listened, at each change."""
        self.restarts: list[int] = []
        self.switches: list[str] = []
        """The revisions to which workers were about to switch."""
        self.publisher = Publisher(
            answer_s,
            on_switch=lambda content: self.switches.append(content.plan.revision),
            heartbeat_s=heartbeat_s,
            sign_s=patience.answer,
        )
        self.supervisor = Supervisor(
            settings,
            self.publisher,
            on_unknown_key=self.unknown_keys.append,
            on_endpoints=lambda addresses: self.endpoints.append(set(addresses)),
            on_restart=self.restarts.append,
            patience=patience,
        )

    async def check(self, slot: int, request: CheckRequest) -> CheckResponse:
        """Ask a worker."""
        return await asyncio.to_thread(ask, self.supervisor.addresses[slot], request)

    async def serving(self, slot: int) -> bool:
        """Whether a worker says SERVING, for the server as a whole and for Check."""
        return await asyncio.to_thread(says_serving, self.supervisor.addresses[slot])

    async def revision(self, slot: int) -> str:
        """What a worker decides by."""
        response = await self.check(slot, request())
        return response.dynamic_metadata.fields["revision"].string_value

    async def until(self, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def fleet(
    directory: Path,
    workers: int = 2,
    *,
    patience: Patience | None = None,
    address: Address | None = None,
    answer_s: float = PATIENCE_S,
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[Fleet]:
    """A running fleet, ended in the end; `heartbeat_s` is that of workers which prepare and activate."""
    made = Fleet(
        directory,
        workers,
        patience or Patience(first_pause=0.01, heartbeat=0.05),
        address or TcpAddress("127.0.0.1", 0),
        answer_s,
        heartbeat_s,
    )
    await made.supervisor.start()
    try:
        yield made
    finally:
        await made.supervisor.drain(PATIENCE_S)


def run(scenario: Callable[[Fleet], Awaitable[None]], directory: Path, workers: int = 2) -> None:
    """Run a scenario with a fleet."""

    async def all_of_it() -> None:
        async with fleet(directory, workers) as made:
            await scenario(made)

    asyncio.run(all_of_it())


def content(directory: Path, revision: str, keys: bytes = b'{"keys": []}') -> Content:
    """Policies by which everybody may read orders, under a name of their own."""
    text = f"""
        kind: service
        name: orders
        hosts: [{HOST}]
        rules:
          - id: everybody-reads
            effect: allow
            from: anyone
            to: [{{methods: [GET]}}]
    """
    plan = plan_of(directory / "policies", orders=text)
    return Content(Plan(revision, plan.services), {"corp": keys}, {})


def request(method: str = "GET", **headers: str) -> CheckRequest:
    """A request for an order."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host = method, "/orders/1", HOST
    http.headers.update(headers)
    return check


def ask(address: Address, check: CheckRequest) -> CheckResponse:
    """Call Check over gRPC."""
    with grpc.insecure_channel(str(address)) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        return CheckResponse.FromString(call(check.SerializeToString(), timeout=PATIENCE_S, wait_for_ready=True))


def says_serving(address: Address) -> bool:
    """Ask for the health of the server and of Check."""
    with grpc.insecure_channel(str(address)) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        said = {
            health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S, wait_for_ready=True).status
            for name in ("", "envoy.service.auth.v3.Authorization")
        }
    assert len(said) == 1
    return bool(said == {health_pb2.HealthCheckResponse.SERVING})
