"""What goes on when a part is gone: other workers serve, and without any worker nothing gets through."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.dev.waiting import wait_until
from authz_server.dev.workers import worker_pids
from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack, Variant, running_stack, server_process
from tests.envoy.traffic import traffic

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-front-reads-orders
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{paths: ["/orders"]}]
    """
}
READ_ORDERS = Ask("GET", "/orders")


@pytest.fixture(name="own_stack")
def _own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that the test may break."""
    with running_stack(tmp_path_factory.mktemp("own"), POLICIES, Variant()) as running:
        yield running


def command_line(pid: int) -> bytes:
    """Of a process; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_when_a_worker_is_killed_the_others_serve_and_it_comes_back(stack: Stack) -> None:
    """No request fails, none goes through unrecorded, and there are as many workers as before."""
    before = set(worker_pids(stack.server.pid))
    restarts = stack.metric("authz_worker_restarts_total")
    with traffic(stack.identities.caller("web"), stack.port, READ_ORDERS) as requests:
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(set(worker_pids(stack.server.pid)) - before) == 1, 20, "another worker")
        wait_until(lambda: stack.metric("authz_workers", state="serving") == len(before), 20, "it to serve")
        requests.wait_for_more()
    assert requests.failures() == []
    assert set(requests.statuses()) == {200}
    assert stack.metric("authz_worker_restarts_total") == restarts + 1
    wait_until(lambda: len(stack.accesses()) >= len(requests.sent()), 20, "Envoy's log")
    told = {line["decision_id"] for line in stack.accesses()}
    wait_until(lambda: told <= {line["decision_id"] for line in stack.records()}, 20, "every decision on record")


def test_without_a_server_envoy_answers_503_and_the_service_sees_nothing(own_stack: Stack) -> None:
    """Whatever cannot be decided does not pass; with the server back, requests pass again."""
    web = own_stack.identities.caller("web")
    assert http1(web, own_stack.port, READ_ORDERS).status == 200
    running = worker_pids(own_stack.server.pid)
    own_stack.server.kill()
    own_stack.server.wait()
    wait_until(lambda: not any(map(command_line, running)), 30, "the workers to end")
    seen = len(own_stack.http.seen())
    assert [http1(web, own_stack.port, READ_ORDERS).status for _ in range(5)] == [503] * 5
    assert len(own_stack.http.seen()) == seen
    with server_process(own_stack.directory):
        wait_until(lambda: http1(web, own_stack.port, READ_ORDERS).status == 200, 20, "requests to pass again")


def test_without_good_policies_nothing_passes_until_they_are_mended(own_stack: Stack) -> None:
    """A server that starts with bad policies says that it does not serve, and Envoy answers 503."""
    web, policy = own_stack.identities.caller("web"), own_stack.policies / "orders.yaml"
    good = policy.read_text()
    own_stack.server.terminate()
    own_stack.server.wait()
    policy.write_text(good.replace("effect:", "efect:"))
    with server_process(own_stack.directory, ready_at_once=False):
        wait_until(lambda: "did you mean `effect`" in own_stack.log(), 20, "the error")
        assert not own_stack.ready()
        assert [http1(web, own_stack.port, READ_ORDERS).status for _ in range(5)] == [503] * 5
        policy.write_text(good)
        wait_until(lambda: http1(web, own_stack.port, READ_ORDERS).status == 200, 20, "requests to pass")
        # One worker may decide a moment before the last one does.
        wait_until(own_stack.ready, 20, "the server to be ready")


def test_a_server_that_is_told_to_stop_answers_what_it_has_begun(own_stack: Stack) -> None:
    """SIGTERM: every request is answered, allowed before it and 503 by Envoy after it; exit code 0 in ten seconds."""
    with traffic(own_stack.identities.caller("web"), own_stack.port, READ_ORDERS) as requests:
        own_stack.server.terminate()
        assert own_stack.server.wait(10) == 0
        requests.wait_for_more(fits=lambda sent: sent.reply is not None and sent.reply.status == 503)
    assert requests.failures() == []
    assert set(requests.statuses()) == {200, 503}
