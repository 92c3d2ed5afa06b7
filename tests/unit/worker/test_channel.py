"""The worker's end of the socket to the control process."""

import socket
import threading
from collections.abc import Iterator

import pytest

from authz_server.worker.channel import Channel
from authz_server.worker.messages import (
    LENGTH_BYTES,
    Ping,
    Pong,
    Prepare,
    ToControl,
    ToWorker,
    UnknownKey,
    frame,
    read_by_control,
)

Ends = tuple[Channel, socket.socket]


@pytest.fixture(name="ends")
def _ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield Channel(ours), theirs


def test_messages_arrive_whole_and_in_order(ends: Ends) -> None:
    """However the socket cuts them."""
    channel, control = ends
    messages: list[ToWorker] = [Ping(1), Prepare(2, None, {"corp": b"x" * 500_000}, {}), Ping(3)]
    sender = threading.Thread(target=lambda: control.sendall(b"".join(frame(message) for message in messages)))
    sender.start()
    assert [channel.receive() for _ in messages] == messages
    sender.join()


def test_the_end_of_the_control_process_is_the_end_of_messages(ends: Ends) -> None:
    """Also in the middle of one."""
    channel, control = ends
    control.sendall(frame(Ping(1))[:-1])
    control.close()
    assert channel.receive() is None


def test_receiving_can_be_stopped(ends: Ends) -> None:
    """As a signal does."""
    channel, _ = ends
    channel.stop_receiving()
    assert channel.receive() is None


def test_an_offer_waits_for_nobody(ends: Ends) -> None:
    """What does not fit is dropped, and what was sent before and after stays readable."""
    channel, control = ends
    for _ in range(100_000):
        channel.offer(UnknownKey("corp"))
    threading.Thread(target=channel.send, args=[Pong(1)]).start()
    received: list[ToControl] = []
    while not received or received[-1] != Pong(1):
        length = int.from_bytes(control.recv(LENGTH_BYTES, socket.MSG_WAITALL), "big")
        received.append(read_by_control(control.recv(length, socket.MSG_WAITALL)))
    assert 0 < len(received) - 1 < 100_000
    assert set(received[:-1]) == {UnknownKey("corp")}


def test_sending_to_nobody_is_no_error(ends: Ends) -> None:
    """That the control process is gone is noticed when receiving."""
    channel, control = ends
    control.close()
    channel.send(Pong(1))
    channel.offer(UnknownKey("corp"))
    assert channel.receive() is None
