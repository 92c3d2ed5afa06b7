"""Replicas behind Envoy are restarted, and workers killed, while requests go on: no client sees anything of it."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from authz_server.dev.waiting import wait_until
from authz_server.envoy.config_settings import Address
from tests.envoy.stack import LOOPBACK
from tests.steady.rate import requests_at
from tests.steady.replicas import WORKERS, Replicas, envoy_before, free_ports, prepared

RATE = 100
"""Requests a second: the machine is shared."""
TIMEOUT_S = 5.0


@pytest.mark.parametrize("transport", ["lean", "grpcio"])
def test_a_rolling_restart_loses_no_request(tmp_path_factory: pytest.TempPathFactory, transport: str) -> None:
    """One replica after the other drains, ends and comes back; the other one serves, and each decision is on record."""
    directory = tmp_path_factory.mktemp("two")
    ports = free_ports(2)
    servers = tuple(
        prepared(directory / str(port), listen={"address": f"{LOOPBACK}:{port}", "transport": transport}, workers=1)
        for port in ports
    )
    addresses = tuple(Address(LOOPBACK, port) for port in ports)
    with ExitStack() as stack:
        running = [stack.enter_context(ExitStack()) for _ in servers]
        for server, its in zip(servers, running, strict=True):
            its.enter_context(server.running())
        replicas = stack.enter_context(envoy_before(directory, servers, addresses, timeout_s=TIMEOUT_S))
        with requests_at(RATE, replicas.port) as answers:
            answers.wait_for_more(RATE)
            for server, its in zip(servers, running, strict=True):
                its.close()
                answers.wait_for_more(RATE)
                its.enter_context(server.running())
                replicas.wait_until_healthy(WORKERS)
        assert answers.others() == 0, str(answers)
        wait_until(lambda: replicas.told() <= replicas.recorded(), 20, "every decision on record")


@pytest.fixture(name="one", scope="module")
def _one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """A server with two workers, which Envoy finds by the endpoints file."""
    directory = tmp_path_factory.mktemp("one")
    server = prepared(directory / "server", listen="unix:c-{worker}.sock", workers=2)
    with server.running(), envoy_before(directory, (server,), timeout_s=TIMEOUT_S) as replicas:
        yield replicas


def test_a_killed_worker_loses_no_request(one: Replicas) -> None:
    """Envoy asks another one, even for the calls that were in flight."""
    [server] = one.servers
    with requests_at(RATE, one.port) as answers:
        for _ in range(3):
            before = server.workers()
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: len(server.workers()) == 2 and server.workers() != before, 30, "another")  # noqa: B023
            one.wait_until_healthy(WORKERS)
    assert answers.others() == 0, str(answers)
    wait_until(lambda: one.told() <= one.recorded(), 20, "every decision on record")
