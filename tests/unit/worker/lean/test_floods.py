"""Floods: what a peer may do that is no call, by the names that they are known by; and that honest peers do not."""

from collections.abc import Callable

import pytest

from authz_server.worker.lean import connection
from authz_server.worker.lean.allowance import A_SECOND, MOST
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.frames import ACK, PADDED, FrameType, frame, settings
from tests.unit.worker.lean.wire import (
    FIRST,
    NO_TABLE,
    SETTINGS_ACK,
    Failure,
    Talk,
    call,
    data,
    failure,
    framed,
    headers,
    literals,
    rst_stream,
    status,
    window_update,
)

CALM = Failure(0, ErrorCode.ENHANCE_YOUR_CALM)
PING = frame(FrameType.PING, 0, 0, b"12345678")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def never_ending_block(number: int) -> bytes:
    """HEADERS that go on and on."""
    return headers(3, b"\0\x01a", 0) if number == 0 else frame(FrameType.CONTINUATION, 0, 3, b"\x01")


FLOODS: dict[str, Callable[[int], bytes]] = {
    "CVE-2023-44487: rapid reset": lambda number: headers(3 + 2 * number) + rst_stream(3 + 2 * number),
    "CVE-2025-8671: resets that the server is made to send": lambda number: (
        headers(3 + 2 * number) + window_update(3 + 2 * number, 0)
    ),
    "CVE-2019-9512: pings": lambda _: PING,
    "pings that are answers": lambda _: frame(FrameType.PING, ACK, 0, b"12345678"),
    "CVE-2019-9513: priorities": lambda number: frame(FrameType.PRIORITY, 0, 1 + number % 99, b"\0\0\0\0\0"),
    "CVE-2019-9514: resets of calls that are malformed": lambda number: headers(3 + 2 * number, b""),
    "CVE-2019-9515: settings": lambda _: settings(()),
    "settings that are acknowledged": lambda _: SETTINGS_ACK,
    "CVE-2019-9516: fields without a name": lambda number: headers(3 + 2 * number, b"\0\0\0"),
    "CVE-2019-9518: empty DATA": lambda _: data(1, b"", 0),
    "CVE-2019-9518: DATA with nothing but padding": lambda _: data(1, b"\x01\0", PADDED),
    "CVE-2024-27316: CONTINUATION": never_ending_block,
    "empty CONTINUATION": lambda number: headers(3, b"", 0) if number == 0 else frame(FrameType.CONTINUATION, 0, 3),
    "unknown frames": lambda _: frame(FrameType.PING, 0, 0, b"")[:3] + b"\xfa" + b"\0" * 5,
    "windows": lambda _: window_update(0, 1),
    "windows of a stream": lambda _: window_update(1, 1),
    "farewells": lambda _: frame(FrameType.GOAWAY, 0, 0, b"\0" * 8),
    "calls that are refused": lambda number: headers(3 + 2 * number),
    "DATA of a stream that was reset": lambda number: window_update(1, 0) if number == 0 else data(1, b"x", 0),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_the_connection(flood: Callable[[int], bytes]) -> None:
    """As soon as more has come than the allowance, with ENHANCE_YOUR_CALM; what is sent meanwhile is no more."""
    clock = Clock()
    talk = Talk(clock=clock)
    talk.say(headers(1, FIRST))
    came, went = 0, 0
    for number in range(3 * MOST):
        frames = flood(number)
        came += len(frames)
        talk.connection.receive(frames)
        if talk.connection.failed is not None:
            break
    heard = talk.heard()
    went = sum(9 + len(one.payload) for one in heard)
    assert talk.connection.failed is not None
    assert number <= 2 * MOST
    assert failure(heard[-1:]) == CALM
    assert went <= 2 * came + 100
    assert talk.calls == []


def test_a_continuation_flood_of_large_frames_ends_at_the_bound() -> None:
    """CVE-2024-27316: without END_HEADERS no more is kept than a block may have."""
    talk = Talk()
    talk.say(headers(1, b"\0", 0))
    piece = frame(FrameType.CONTINUATION, 0, 1, b"\0" * 16_384)
    count = 0
    while talk.connection.failed is None:
        talk.connection.receive(piece)
        count += 1
    assert failure(talk.heard()) == CALM
    assert count <= 513


def test_what_comes_after_the_end_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood goes on; it must cost nothing."""
    talk = Talk()
    talk.say(data(0, b""))
    read: list[int] = []
    monkeypatch.setattr(connection, "read_header", lambda _buffer, at: read.append(at))
    talk.connection.receive(PING * 1000)
    assert read == []
    assert talk.heard() == []


def test_ten_thousand_calls_with_what_belongs_to_them_are_no_flood() -> None:
    """WINDOW_UPDATE for stream and connection, PING and SETTINGS now and then, on a clock that stands still."""
    talk = Talk(clock=Clock())
    talk.say(call(1, b"m", FIRST))
    for number in range(1, 10_000):
        stream = 1 + 2 * number
        frames = [headers(stream), window_update(stream, 100), data(stream, framed(b"m")), window_update(0, 100)]
        if number % 3 == 0:
            frames.append(PING)
        if number % 100 == 0:
            frames.append(settings(()))
        assert status(talk.say(*frames), stream) == "0"
    assert len(talk.calls) == 10_000
    assert talk.connection.failed is None


def test_calls_that_are_given_up_among_others_are_no_flood() -> None:
    """A proxy whose callers go away resets as many calls as it makes."""
    talk = Talk(clock=Clock())
    talk.say(call(1, b"m", FIRST))
    for number in range(1, 10_000, 2):
        stream = 1 + 2 * number
        talk.say(headers(stream), rst_stream(stream), call(stream + 2))
    assert talk.connection.failed is None
    assert len(talk.calls) == 5_001


@pytest.mark.parametrize("every_s", [0.02, 1.0, 60.0, 86_400.0])
def test_pings_for_days_are_no_flood(every_s: float) -> None:
    """A connection without calls may live for ever."""
    clock = Clock()
    talk = Talk(clock=clock)
    for _ in range(20_000):
        clock.now += every_s
        assert [one.flags for one in talk.say(PING)] == [ACK]


def test_what_comes_back_with_time_is_bounded() -> None:
    """After a month of silence a flood ends as soon as at the beginning."""
    for silence_s in (0.0, 1.0, 30 * 86_400.0):
        clock = Clock()
        talk = Talk(clock=clock)
        clock.now += silence_s
        count = 0
        while talk.connection.failed is None:
            talk.connection.receive(PING)
            count += 1
        assert MOST - 10 <= count <= MOST + min(MOST, silence_s * A_SECOND) + 10


def test_a_message_that_is_too_large_is_no_flood() -> None:
    """What was under way of it when it was refused may be as much as a socket holds."""
    talk = Talk(clock=Clock())
    talk.say(headers(1, FIRST), data(1, b"\0\xff\xff\xff\xff", 0))
    talk.say(*[data(1, b"x" * 16_384, 0)] * 256)
    assert status(talk.say(call(3)), 3) == "0"


def test_a_flood_of_broken_calls_is_not_paid_by_the_number_of_fields() -> None:
    """Blocks that were read once are looked up, whether by a good or by a bad peer."""
    talk = Talk(clock=Clock())
    block = literals([(b"a", b"b")])
    talk.say(headers(1, NO_TABLE + block))
    for number in range(1, 3 * MOST):
        talk.connection.receive(headers(1 + 2 * number, block))
    assert failure(talk.heard()[-1:]) == CALM
