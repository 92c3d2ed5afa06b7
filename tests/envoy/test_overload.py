"""More requests than a worker can decide in time: what clients see, and what Envoy answers in the worker's stead."""

import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx2
import pytest

from authz_server.dev.waiting import wait_until
from authz_server.dev.workers import worker_pids
from tests.envoy.clients import LOOPBACK, SERVER_NAME, TIMEOUT_S, Ask, Caller, Reply, http1
from tests.envoy.stack import Stack, Variant, running_stack

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
CONNECTIONS, STREAMS = 20, 100
PATIENCE_S = 60.0
ERRORS = r"cluster\..*\.ext_authz\.error"


on_each_transport = pytest.mark.parametrize("transport", ["lean", "grpcio"])


@contextmanager
def one_worker(directory: Path, transport: str, check_timeout_s: float) -> Iterator[Stack]:
    """A stack in which tries that take long are not made again: what the worker is asked is what clients ask."""
    listen = {"address": f"{LOOPBACK}:0", "endpoints_file": "state/endpoints.yaml", "transport": transport}
    once = {"max_interval: 0.250s": "max_interval: 5s"}
    variant = Variant({"workers": 1, "listen": listen}, envoy=once, check_timeout_s=check_timeout_s)
    with running_stack(directory, POLICIES, variant) as running:
        yield running


@on_each_transport
def test_a_burst_beyond_the_bound_is_denied_explicitly_or_decided(tmp_path: Path, transport: str) -> None:
    """Nobody gets anything else, nothing passes undecided, and every denial is on record."""
    with one_worker(tmp_path, transport, check_timeout_s=5.0) as stack:
        ask_too_much(stack)


def ask_too_much(stack: Stack) -> None:
    """While the worker stands still, so that it reads all at once."""
    web = stack.identities.caller("web")
    assert http1(web, stack.port, READ_ORDERS).status == HTTPStatus.OK
    seen, asked = len(stack.http.seen()), stat(stack, "cluster.authz.upstream_rq_total")
    with ThreadPoolExecutor(CONNECTIONS) as pool, held(worker_pids(stack.server.pid)):
        burst = [pool.submit(ask_at_once, web, stack.port, READ_ORDERS, STREAMS) for _ in range(CONNECTIONS)]
        count = CONNECTIONS * STREAMS
        wait_until(lambda: stat(stack, "cluster.authz.upstream_rq_total") - asked >= count, PATIENCE_S, "all calls")
        # Before the worker is let go: what is read in one go must be more than may wait.
        held_now = stat(stack, "cluster.authz.upstream_rq_active")
    replies = [reply for each in burst for reply in each.result()]
    assert held_now > 0
    outcomes = Counter((reply.status, reply.reason) for reply in replies)
    assert set(outcomes) == {(HTTPStatus.OK, None), (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded")}, outcomes
    shed = [reply for reply in replies if reply.reason == "overloaded"]
    assert {reply.headers["retry-after"] for reply in shed} == {"1"}
    assert len(stack.http.seen()) - seen == outcomes[HTTPStatus.OK, None]
    told = {reply.decision_id for reply in shed}

    def on_record() -> bool:
        records = [record for record in stack.records() if record["decision_id"] in told]
        counts: list[int] = [record["calls"] for record in records]
        return sum(counts) == len(shed)

    wait_until(on_record, PATIENCE_S, "every denial on record")
    assert stack.metric("authz_shed_calls_total", reason="overloaded") == len(shed)


@on_each_transport
def test_a_worker_that_answers_nobody_is_given_up_by_envoy(tmp_path: Path, transport: str) -> None:
    """Envoy denies in its stead, and counts it; the lean transport forgets such calls, and counts them."""
    # Much less than the five seconds after which the worker would be replaced, and with it its counts.
    with one_worker(tmp_path, transport, check_timeout_s=1.0) as stack:
        ask_nobody(stack)
        if transport == "lean":
            wait_until(lambda: stack.metric("authz_given_up_calls_total") > 0, PATIENCE_S, "them to be counted")


def ask_nobody(stack: Stack) -> None:
    """While the worker stands still, for longer than Envoy waits."""
    web = stack.identities.caller("web")
    wait_until(lambda: http1(web, stack.port, READ_ORDERS).status == HTTPStatus.OK, PATIENCE_S, "requests to pass")
    errors = stat(stack, ERRORS)
    seen = len(stack.http.seen())
    with ThreadPoolExecutor(4) as pool, held(worker_pids(stack.server.pid)):
        replies = list(pool.map(lambda _: http1(web, stack.port, READ_ORDERS), range(4)))
    assert {reply.status for reply in replies} == {HTTPStatus.SERVICE_UNAVAILABLE}
    assert {reply.decision_id for reply in replies} == {None}
    assert stat(stack, ERRORS) - errors == len(replies)
    assert len(stack.http.seen()) == seen
    wait_until(lambda: http1(web, stack.port, READ_ORDERS).status == HTTPStatus.OK, PATIENCE_S, "requests to pass")


@contextmanager
def held(pids: Sequence[int]) -> Iterator[None]:
    """Processes that do nothing while the block runs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    # One thread takes the signal and stops the others: until it has its turn, they go on.
    wait_until(lambda: all(map(_stands_still, pids)), PATIENCE_S, "processes to stand still")
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """Whether none of its threads runs (proc(5), the state behind the name)."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def stat(stack: Stack, name: str) -> int:
    """The sum of Envoy's counters and gauges whose names match."""
    admin = (stack.directory / "envoy-admin.txt").read_text()
    text = httpx2.get(f"http://{admin}/stats", params={"filter": f"^{name}$"}, trust_env=False).text
    return sum(int(line.partition(": ")[2]) for line in text.splitlines())


def ask_at_once(caller: Caller, port: int, ask: Ask, streams: int) -> Sequence[Reply]:
    """So many requests at once over an HTTP/2 connection of their own."""
    protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    pseudo = [(":method", ask.method), (":scheme", "https"), (":authority", ask.authority), (":path", ask.target)]
    replies: dict[int, Reply] = {}
    with (
        socket.create_connection((LOOPBACK, port), TIMEOUT_S) as plain,
        caller.context("h2").wrap_socket(plain, server_hostname=SERVER_NAME) as tls,
    ):
        protocol.initiate_connection()
        for number in range(streams):
            protocol.send_headers(1 + 2 * number, pseudo, end_stream=True)
        tls.sendall(protocol.data_to_send())
        ended = 0
        while ended < streams:
            ended += _take(protocol, tls, replies)
    return list(replies.values())


def _take(protocol: h2.connection.H2Connection, tls: ssl.SSLSocket, replies: dict[int, Reply]) -> int:
    """Read what has come; returns how many replies have ended with it."""
    received = tls.recv(65536)
    assert received, "the connection ended before the answers"
    ended = 0
    for event in protocol.receive_data(received):
        assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated), event
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            replies[event.stream_id] = Reply(int(headers.pop(":status")), headers, b"")
        elif isinstance(event, h2.events.DataReceived):
            reply = replies[event.stream_id]
            replies[event.stream_id] = Reply(reply.status, reply.headers, reply.body + event.data)
            protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            ended += 1
    tls.sendall(protocol.data_to_send())
    return ended
