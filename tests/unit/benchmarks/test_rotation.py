"""The client whose messages take turns."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from benchmarks.load import Load
from benchmarks.payload import CHECK_PATH, framed
from benchmarks.rotation import rotating_load

_ANSWER = b"answer"


@pytest.fixture
def messages() -> Counter[bytes]:
    """What the server has been asked, and how often."""
    return Counter()


@pytest.fixture
def port(messages: Counter[bytes]) -> Iterator[int]:
    """Of a server that answers everything but `bad`."""

    def check(message: bytes, context: grpc.ServicerContext) -> bytes:
        messages[message] += 1
        if message == b"bad":
            context.abort(grpc.StatusCode.UNAVAILABLE, "bad")
        return _ANSWER

    _, service, method = CHECK_PATH.split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(check)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_registered_method_handlers(service, {method: handler})
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


def _rotate(port: int, messages: list[bytes], calls: int) -> Load:
    return rotating_load("127.0.0.1", port, messages, calls, in_flight=8)


def test_messages_take_turns(port: int, messages: Counter[bytes]) -> None:
    """Each is sent as often as the others, also when all in flight are more than the server's window."""
    sent = [bytes((65 + number,)) * 12_000 for number in range(4)]
    load = _rotate(port, sent, 40)
    assert messages == dict.fromkeys(sent, 10)
    assert (load.good, load.body_bytes, len(load.latencies_us)) == (40, 40 * len(framed(_ANSWER)), 40)


def test_errors_are_no_good_answers(port: int) -> None:
    """An end without a message is counted as none."""
    assert _rotate(port, [b"good", b"bad"], 20).good == 10
