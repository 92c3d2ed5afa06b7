"""Flow control in both directions (RFC 9113 sections 5.2 and 6.9)."""

import pytest

from authz_server.worker.lean import outgoing, streams
from authz_server.worker.lean.connection import CONNECTION_WINDOW
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.frames import END_HEADERS, END_STREAM, PADDED, FrameType, Setting, settings
from authz_server.worker.lean.streams import STREAM_WINDOW, Held
from tests.unit.worker.lean.wire import (
    FIRST,
    GOOD,
    NO_TABLE,
    Failure,
    Frame,
    Talk,
    call,
    content,
    data,
    failure,
    framed,
    headers,
    later,
    rst_stream,
    status,
    window_update,
    with_fields,
)

DEFAULT = 65_535
LARGEST = 2**31 - 1


def window(size: int) -> bytes:
    """SETTINGS of the window that streams begin with."""
    return settings(((Setting.INITIAL_WINDOW_SIZE, size),))


def answering(size: int, *said: bytes) -> tuple[Talk, bytes, list[Frame]]:
    """A client that has said this, then asked for an answer of so many bytes: that answer, and what has come of it."""
    message = bytes(at * 7 % 256 for at in range(size - 5))
    talk = Talk(lambda _stream, _head, _message: message)
    talk.say(*said)
    return talk, framed(message), talk.say(call(1, b"m", FIRST))


def grown(frames: list[Frame]) -> list[tuple[int, int]]:
    """The windows that the server has widened."""
    return [(one.stream, one.number) for one in frames if one.kind == FrameType.WINDOW_UPDATE]


def test_what_is_offered_is_what_is_kept() -> None:
    """Section 6.9.2: the connection begins with 65,535 whatever SETTINGS say, and is widened to the rest."""
    greeting = Talk(greet=False).greeting
    assert dict(grown(greeting)) == {0: CONNECTION_WINDOW - DEFAULT}
    assert Setting.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + STREAM_WINDOW.to_bytes(4, "big") in greeting[0].payload


def test_the_window_of_the_connection_is_given_back() -> None:
    """Padding and what nobody reads included: a client never stands still."""
    talk, left = Talk(later), CONNECTION_WINDOW
    talk.say(headers(1, FIRST), rst_stream(1), headers(3), window_update(3, 0))
    stream = 5
    for number in range(3 * CONNECTION_WINDOW // 16_384):
        if number % 1000 == 0:
            talk.say(headers(stream))
        piece = b"\xff" + b"\0" * 16_128 + b"p" * 255
        frames = talk.say(data(stream, piece, PADDED))
        left += sum(size for at, size in grown(frames) if at == 0) - len(piece)
        assert left > 0
        if number % 1000 == 999:
            talk.say(rst_stream(stream))
            stream += 2
    assert talk.connection.failed is None


def test_more_than_the_window_of_a_stream_is_its_error() -> None:
    """Section 6.9.1; also where nobody would read it."""
    for block in (GOOD, with_fields((b":method", b"GET"))):
        talk, sent = Talk(), 0
        talk.say(headers(1, NO_TABLE + block))
        piece = framed(b"")[:1] + b"\0\0\x40\0" + b"m" * 16_379
        while sent + len(piece) <= STREAM_WINDOW:
            assert failure(talk.say(data(1, piece, 0))) is None
            sent += len(piece)
        assert failure(talk.say(data(1, piece, 0))) == Failure(1, ErrorCode.FLOW_CONTROL_ERROR)
        assert talk.held.bytes == 0


def test_what_is_held_of_all_connections_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that goes over the bound is turned away; when others have ended there is room again."""
    monkeypatch.setattr(streams, "HELD", streams.HELD._replace(bytes=50_000))
    held, known = Held(), KnownBlocks()
    one, other = Talk(held=held, known=known), Talk(held=held, known=known)
    part = b"\0\0\0\x40\0" + b"m" * 15_995
    for talk in (one, other):
        talk.say(headers(1, FIRST), data(1, part, 0))
    assert failure(one.say(headers(3), data(3, part, 0))) is None
    turned_away = other.say(headers(3), data(3, part, 0))
    assert content(turned_away, 3) == framed(b"no room")
    assert (status(turned_away, 3), failure(turned_away)) == ("0", Failure(3, ErrorCode.NO_ERROR))
    assert other.say(data(3, part)) == []
    assert held.bytes == 48_000
    assert status(one.say(data(1, b"m" * 389)), 1) == "0"
    assert failure(other.say(headers(5), data(5, part, 0))) is None
    one.connection.close()
    assert held.bytes == 32_000
    other.say(data(0, b""))
    assert held.bytes == 0


def test_who_has_no_window_for_the_denial_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nowhere to keep what it does not take."""
    monkeypatch.setattr(streams, "HELD", streams.HELD._replace(bytes=10))
    talk = Talk(first=[(Setting.INITIAL_WINDOW_SIZE, 3)])
    frames = talk.say(headers(1, FIRST), data(1, b"\0\0\0\x40\0" + b"m" * 100, 0))
    assert failure(frames) == Failure(1, ErrorCode.ENHANCE_YOUR_CALM)
    assert talk.say(window_update(1, 1_000)) == []


@pytest.mark.parametrize("end", ["reset", "finished", "closed", "failed", "malformed"])
def test_nothing_is_held_of_what_has_ended(end: str) -> None:
    """However it ends."""
    talk = Talk()
    talk.say(headers(1, FIRST), data(1, framed(b"m" * 100)[:50], 0))
    assert talk.held.bytes == 50
    if end == "closed":
        talk.connection.close()
    else:
        talk.say(
            {
                "reset": rst_stream(1),
                "finished": data(1, b"m" * 55),
                "failed": data(0, b""),
                "malformed": headers(1, with_fields(), END_HEADERS | END_STREAM),
            }[end]
        )
    assert talk.held.bytes == 0


@pytest.mark.parametrize("size", [5, 100, DEFAULT - 1, DEFAULT, DEFAULT + 1, 200_000])
def test_an_answer_waits_for_the_windows(size: int) -> None:
    """Section 6.9.1: no more is sent than both windows allow, and all of it in the end."""
    talk, whole, frames = answering(size)
    assert content(frames, 1) == whole[:DEFAULT]
    assert talk.connection.idle is (size <= DEFAULT)
    if size > DEFAULT:
        assert talk.say(window_update(1, 1_000_000)) == []
        more = talk.say(window_update(0, 10))
        assert content(more, 1) == whole[DEFAULT : DEFAULT + 10]
        frames += more + talk.say(window_update(0, 1_000_000))
    assert content(frames, 1) == whole
    assert status(frames) == "0"
    assert frames[-1].flags & END_STREAM
    assert talk.connection.idle


def test_an_answer_waits_for_the_window_of_its_stream() -> None:
    """Whatever that of the connection is."""
    talk, whole, frames = answering(100, window(10), window_update(0, 1_000_000))
    assert content(frames, 1) == whole[:10]
    assert talk.say(window_update(0, 1_000)) == []
    assert content(talk.say(window_update(1, 1)), 1) == whole[10:11]
    assert content(talk.say(window_update(1, 1_000)), 1) == whole[11:]
    assert talk.connection.idle


def test_a_window_of_nothing_lets_only_fields_through() -> None:
    """Section 6.9: fields are not flow-controlled."""
    talk, whole, frames = answering(100, window(0))
    assert [one.kind for one in frames] == [FrameType.HEADERS]
    assert content(talk.say(window(100)), 1) == whole
    assert talk.connection.idle


def test_a_window_that_changes_while_an_answer_waits_counts_what_was_sent() -> None:
    """Section 6.9.2: it may become negative, and must grow beyond nothing before more is sent."""
    talk, whole, frames = answering(1000, window(300))
    assert content(frames, 1) == whole[:300]
    assert talk.say(window(100))[0].kind == FrameType.SETTINGS
    assert talk.say(window_update(1, 200)) == []
    assert content(talk.say(window_update(1, 1)), 1) == whole[300:301]
    assert content(talk.say(window(150)), 1) == whole[301:351]
    assert content(talk.say(window(10_000)), 1) == whole[351:]
    assert talk.connection.idle


def test_a_window_that_grew_before_the_answer_is_used_for_it() -> None:
    """Section 6.9: in whatever order they come."""
    message = b"m" * 300
    talk = Talk(lambda _stream, _head, _message: message)
    talk.say(window(100), headers(1, FIRST), window_update(1, 100))
    assert content(talk.say(data(1, framed(b"m"))), 1) == framed(message)[:200]
    assert content(talk.say(call(3)), 3) == framed(message)[:100]
    assert content(talk.say(window(205)), 1) == framed(message)[200:]
    assert talk.say(window_update(1, 5)) == []
    assert content(talk.say(window_update(3, 100)), 3) == framed(message)[205:]
    assert talk.connection.idle


def test_only_the_last_of_several_windows_counts() -> None:
    """Section 6.5.3: nothing is sent between the values of one frame."""
    talk, whole, _ = answering(1000, window(0))
    sizes = [*range(1, 100), 50]
    frames = talk.say(settings((Setting.INITIAL_WINDOW_SIZE, size) for size in sizes))
    assert [one.kind for one in frames] == [FrameType.SETTINGS, FrameType.DATA]
    assert content(frames, 1) == whole[:50]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param(window_update(0, LARGEST - DEFAULT), None, id="the connection at its largest"),
        pytest.param(window_update(0, LARGEST - DEFAULT + 1), 0, id="the connection beyond it"),
        pytest.param(window_update(1, LARGEST - DEFAULT), None, id="a stream at its largest"),
        pytest.param(window_update(1, LARGEST - DEFAULT + 1), 1, id="a stream beyond it"),
        pytest.param(window_update(1, 1) + window(LARGEST - 1), None, id="settings at the largest"),
        pytest.param(window_update(1, 1) + window(LARGEST), 0, id="settings beyond it"),
        pytest.param(window(LARGEST) + window_update(1, 1), 1, id="a stream beyond settings"),
        pytest.param(window_update(1, 1) + rst_stream(1) + window(LARGEST), None, id="settings without the stream"),
    ],
)
def test_no_window_grows_beyond_the_largest(frames: bytes, expected: int | None) -> None:
    """Sections 6.9.1 and 6.9.2: FLOW_CONTROL_ERROR, of the stream or of the connection."""
    talk = Talk()
    failed = failure(talk.say(headers(1, FIRST), frames))
    assert failed == (None if expected is None else Failure(expected, ErrorCode.FLOW_CONTROL_ERROR))


def test_answers_that_wait_are_sent_whoever_came_first() -> None:
    """A stream that cannot go on holds up no other one."""
    talk = Talk(lambda _stream, _head, message: message)
    talk.say(window(100), window_update(0, 1_000_000), call(1, b"a" * 300, FIRST), call(3, b"b" * 300), call(5, b"c"))
    assert status(talk.say(window_update(3, 1_000)), 3) == "0"
    assert not talk.connection.idle
    assert status(talk.say(window_update(1, 1_000)), 1) == "0"
    assert talk.connection.idle


def test_streams_that_wait_for_themselves_cost_nothing_when_the_connection_widens() -> None:
    """The window of the connection is not what holds them up."""
    looked = 0

    class Counting(dict[int, object]):
        def __getitem__(self, key: int) -> object:
            nonlocal looked
            looked += 1
            return super().__getitem__(key)

    talk = Talk()
    talk.say(window(0), *(call(1 + 2 * number, b"m", GOOD if number else FIRST) for number in range(500)))
    talk.connection.outgoing._waiting = Counting(talk.connection.outgoing._waiting)  # type: ignore[assignment]
    talk.say(window_update(0, 1) * 100)
    assert looked == 0
    frames = talk.say(window(100))
    assert looked == 500
    assert sum(one.kind == FrameType.DATA for one in frames) == 500
    assert talk.connection.idle


def test_answers_that_peers_do_not_take_are_bounded_on_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that goes over the bound ends; when its answers are forgotten there is room again."""
    monkeypatch.setattr(outgoing, "UNSENT", streams.UNSENT._replace(bytes=50_000))
    held, known, message = Held(), KnownBlocks(), b"m" * 15_995
    one, other = [Talk(lambda *_: message, held=held, known=known) for _ in range(2)]
    for talk in (one, other):
        talk.say(window(0))
    for number in (1, 3):
        assert failure(one.say(call(number, b"m", FIRST))) is None
    assert failure(other.say(call(1, b"m", FIRST))) is None
    assert held.unsent == 48_000
    assert failure(other.say(call(3, b"m", FIRST))) == Failure(0, ErrorCode.ENHANCE_YOUR_CALM)
    assert held.unsent == 32_000
    assert content(one.say(window(DEFAULT)), 3) == framed(message)
    assert held.unsent == 0


def test_a_late_answer_that_goes_over_the_bound_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not reach whoever answers as an error."""
    monkeypatch.setattr(outgoing, "UNSENT", streams.UNSENT._replace(bytes=100))
    talk = Talk(later)
    talk.say(window(0), call(1, b"m", FIRST))
    talk.connection.answer(1, b"m" * 200)
    assert failure(talk.heard()) == Failure(0, ErrorCode.ENHANCE_YOUR_CALM)
    assert talk.held.unsent == 0


@pytest.mark.parametrize("end", ["reset", "closed"])
def test_nothing_is_held_of_an_answer_that_nobody_wants(end: str) -> None:
    """Nor counted."""
    talk = Talk()
    talk.say(window(0), call(1, b"m" * 100, FIRST))
    assert talk.held.unsent == 105
    talk.say(rst_stream(1)) if end == "reset" else talk.connection.close()
    assert talk.held.unsent == 0
