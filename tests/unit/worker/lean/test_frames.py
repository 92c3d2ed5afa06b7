"""What RFC 9113 asks of a server about frames, streams and connections, from bytes to frames."""

import pytest

from authz_server.errors import GrpcCode
from authz_server.worker.lean.answers import Answer, status_answer
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    FrameType,
    Setting,
    frame,
    settings,
)
from authz_server.worker.lean.heads import Head
from authz_server.worker.limits import MAX_STREAMS
from tests.unit.worker.lean.wire import (
    FIRST,
    GOOD,
    LARGEST_PIECE,
    SETTINGS_ACK,
    Failure,
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

OPEN = headers(1, FIRST)
WHOLE = call(1, b"m", FIRST)
RESET_BY_PEER = OPEN + rst_stream(1)
RESERVED = 1 << 31


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame of any type, which may have another length than it says."""
    said = len(payload) if length is None else length
    return said.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def a_setting(name: int, value: int) -> bytes:
    """A SETTINGS frame."""
    return raw(FrameType.SETTINGS, 0, 0, name.to_bytes(2, "big") + value.to_bytes(4, "big"))


def test_the_server_greets_first() -> None:
    """Section 3.4: with SETTINGS, before it has heard anything."""
    greeting = Talk(greet=False).greeting
    assert [(one.kind, one.flags, one.stream) for one in greeting] == [
        (FrameType.SETTINGS, 0, 0),
        (FrameType.WINDOW_UPDATE, 0, 0),
    ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: authz\r\n\r\n", ErrorCode.PROTOCOL_ERROR, id="HTTP/1.1"),
        pytest.param(b"P\0", ErrorCode.PROTOCOL_ERROR, id="neither"),
        pytest.param(PREFACE[:-1] + b"x", ErrorCode.PROTOCOL_ERROR, id="another end"),
        pytest.param(PREFACE + SETTINGS_ACK, ErrorCode.PROTOCOL_ERROR, id="an acknowledgement first"),
        pytest.param(PREFACE + OPEN, ErrorCode.PROTOCOL_ERROR, id="a call first"),
        pytest.param(PREFACE + raw(0xFA, 0, 0), ErrorCode.PROTOCOL_ERROR, id="an unknown frame first"),
        pytest.param(PREFACE + raw(FrameType.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR, id="CONTINUATION first"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(PREFACE[:-1], None, id="not all of the preface"),
        pytest.param(PREFACE, None, id="the preface alone"),
        pytest.param(PREFACE + settings(()), None, id="all"),
    ],
)
def test_a_client_says_that_it_speaks_http_2(said: bytes, code: ErrorCode | None) -> None:
    """Section 3.4: by the preface, and SETTINGS behind it."""
    assert failure(Talk(greet=False).say(said)) == (None if code is None else Failure(0, code))


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        # Sections 4.1 and 4.2
        pytest.param(raw(FrameType.PING, 0, 0, b"", 16_385), ErrorCode.FRAME_SIZE_ERROR, id="a frame too large"),
        pytest.param(raw(0xFA, 0, 0, b"", 2**24 - 1), ErrorCode.FRAME_SIZE_ERROR, id="an unknown frame too large"),
        pytest.param(raw(0xFA, 0xFF, 7, b"x" * 16_384), None, id="an unknown frame"),
        pytest.param(raw(FrameType.PING, 0xFE, 0, b"x" * 8), None, id="unknown flags"),
        # Section 4.3, 6.2 and 6.10
        pytest.param(
            headers(1, GOOD[:9], 0) + raw(FrameType.PING, 0, 0, b"x" * 8),
            ErrorCode.PROTOCOL_ERROR,
            id="PING in a block",
        ),
        pytest.param(headers(1, GOOD[:9], 0) + raw(0xFA, 0, 1), ErrorCode.PROTOCOL_ERROR, id="unknown in a block"),
        pytest.param(headers(1, GOOD[:9], 0) + data(1, b""), ErrorCode.PROTOCOL_ERROR, id="DATA in a block"),
        pytest.param(headers(1, GOOD[:9], 0) + headers(3), ErrorCode.PROTOCOL_ERROR, id="HEADERS in a block"),
        pytest.param(
            headers(1, GOOD[:9], 0) + raw(FrameType.CONTINUATION, END_HEADERS, 3),
            ErrorCode.PROTOCOL_ERROR,
            id="CONTINUATION of another stream",
        ),
        pytest.param(raw(FrameType.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR, id="CONTINUATION of nothing"),
        pytest.param(raw(FrameType.CONTINUATION, 4, 0), ErrorCode.PROTOCOL_ERROR, id="CONTINUATION of stream 0"),
        pytest.param(WHOLE + raw(FrameType.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR, id="CONTINUATION too late"),
        # Section 5.1: idle
        pytest.param(data(1, b""), ErrorCode.PROTOCOL_ERROR, id="DATA of an idle stream"),
        pytest.param(rst_stream(1), ErrorCode.PROTOCOL_ERROR, id="RST_STREAM of an idle stream"),
        pytest.param(window_update(1, 1), ErrorCode.PROTOCOL_ERROR, id="WINDOW_UPDATE of an idle stream"),
        pytest.param(raw(FrameType.PRIORITY, 0, 1, b"x" * 5), None, id="PRIORITY of an idle stream"),
        # Section 5.1: closed
        pytest.param(WHOLE + data(1, b"x"), ErrorCode.STREAM_CLOSED, id="DATA of a closed stream"),
        pytest.param(WHOLE + headers(1), ErrorCode.STREAM_CLOSED, id="HEADERS of a closed stream"),
        pytest.param(RESET_BY_PEER + data(1, b"x"), ErrorCode.STREAM_CLOSED, id="DATA of a stream given up"),
        pytest.param(WHOLE + rst_stream(1), None, id="RST_STREAM of a closed stream"),
        pytest.param(WHOLE + window_update(1, 1), None, id="WINDOW_UPDATE of a closed stream"),
        pytest.param(WHOLE + raw(FrameType.PRIORITY, 0, 1, b"x" * 5), None, id="PRIORITY of a closed stream"),
        # Section 5.1.1
        pytest.param(headers(2, FIRST), ErrorCode.PROTOCOL_ERROR, id="an even number"),
        pytest.param(call(5, b"m", FIRST) + headers(2), ErrorCode.PROTOCOL_ERROR, id="an even number that is lower"),
        pytest.param(call(5, b"m", FIRST) + headers(3), ErrorCode.STREAM_CLOSED, id="a lower number"),
        # Section 6.1
        pytest.param(data(0, b"x"), ErrorCode.PROTOCOL_ERROR, id="DATA of stream 0"),
        pytest.param(OPEN + data(1, b"", PADDED), ErrorCode.FRAME_SIZE_ERROR, id="no length of the padding"),
        pytest.param(OPEN + data(1, b"\x03abc"[:3], PADDED), ErrorCode.PROTOCOL_ERROR, id="padding as long as DATA"),
        pytest.param(OPEN + data(1, b"\xffabc", PADDED), ErrorCode.PROTOCOL_ERROR, id="padding longer than DATA"),
        pytest.param(OPEN + data(1, b"\x03abc", PADDED), None, id="nothing but padding"),
        # Section 6.2
        pytest.param(headers(0, FIRST), ErrorCode.PROTOCOL_ERROR, id="HEADERS of stream 0"),
        pytest.param(headers(1, b"", END_HEADERS | PADDED), ErrorCode.FRAME_SIZE_ERROR, id="HEADERS without padding"),
        pytest.param(headers(1, b"\x02a", END_HEADERS | PADDED), ErrorCode.PROTOCOL_ERROR, id="padding of HEADERS"),
        pytest.param(headers(1, b"x" * 4, END_HEADERS | PRIORITY), ErrorCode.FRAME_SIZE_ERROR, id="half a priority"),
        pytest.param(
            headers(1, b"\x01" + b"x" * 5, END_HEADERS | PRIORITY | PADDED),
            ErrorCode.PROTOCOL_ERROR,
            id="padding in the priority",
        ),
        # Section 6.3
        pytest.param(raw(FrameType.PRIORITY, 0, 0, b"x" * 5), ErrorCode.PROTOCOL_ERROR, id="PRIORITY of stream 0"),
        # Section 6.4
        pytest.param(OPEN + rst_stream(0), ErrorCode.PROTOCOL_ERROR, id="RST_STREAM of stream 0"),
        pytest.param(OPEN + raw(3, 0, 1, b"x" * 3), ErrorCode.FRAME_SIZE_ERROR, id="a short RST_STREAM"),
        pytest.param(OPEN + raw(3, 0, 1, b"x" * 5), ErrorCode.FRAME_SIZE_ERROR, id="a long RST_STREAM"),
        # Section 6.5
        pytest.param(raw(FrameType.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR, id="SETTINGS of a stream"),
        pytest.param(raw(FrameType.SETTINGS, 0, 0, b"x" * 5), ErrorCode.FRAME_SIZE_ERROR, id="half a setting"),
        pytest.param(raw(FrameType.SETTINGS, ACK, 0, b"x" * 6), ErrorCode.FRAME_SIZE_ERROR, id="ACK with a setting"),
        pytest.param(a_setting(Setting.ENABLE_PUSH, 0), None, id="no push"),
        pytest.param(a_setting(Setting.ENABLE_PUSH, 1), None, id="push"),
        pytest.param(a_setting(Setting.ENABLE_PUSH, 2), ErrorCode.PROTOCOL_ERROR, id="push, perhaps"),
        pytest.param(a_setting(Setting.INITIAL_WINDOW_SIZE, 2**31 - 1), None, id="the largest window"),
        pytest.param(a_setting(Setting.INITIAL_WINDOW_SIZE, 2**31), ErrorCode.FLOW_CONTROL_ERROR, id="a larger one"),
        pytest.param(a_setting(Setting.MAX_FRAME_SIZE, 16_384), None, id="the smallest frames"),
        pytest.param(a_setting(Setting.MAX_FRAME_SIZE, 16_383), ErrorCode.PROTOCOL_ERROR, id="smaller frames"),
        pytest.param(a_setting(Setting.MAX_FRAME_SIZE, 2**24 - 1), None, id="the largest frames"),
        pytest.param(a_setting(Setting.MAX_FRAME_SIZE, 2**24), ErrorCode.PROTOCOL_ERROR, id="larger frames"),
        pytest.param(a_setting(Setting.HEADER_TABLE_SIZE, 2**32 - 1), None, id="a table of any size"),
        pytest.param(a_setting(0xFFFF, 2**32 - 1), None, id="an unknown setting"),
        # Sections 6.6 to 6.9
        pytest.param(raw(FrameType.PUSH_PROMISE, 4, 1, b"x" * 4), ErrorCode.PROTOCOL_ERROR, id="PUSH_PROMISE"),
        pytest.param(raw(FrameType.PING, 0, 1, b"x" * 8), ErrorCode.PROTOCOL_ERROR, id="PING of a stream"),
        pytest.param(raw(FrameType.PING, 0, 0, b"x" * 7), ErrorCode.FRAME_SIZE_ERROR, id="a short PING"),
        pytest.param(raw(FrameType.PING, 0, 0, b"x" * 9), ErrorCode.FRAME_SIZE_ERROR, id="a long PING"),
        pytest.param(raw(FrameType.GOAWAY, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR, id="GOAWAY of a stream"),
        pytest.param(raw(FrameType.GOAWAY, 0, 0, b"\0" * 7), ErrorCode.FRAME_SIZE_ERROR, id="a short GOAWAY"),
        pytest.param(raw(FrameType.GOAWAY, 0, 0, b"\0" * 8 + b"bye"), None, id="GOAWAY"),
        pytest.param(window_update(0, 0), ErrorCode.PROTOCOL_ERROR, id="WINDOW_UPDATE by nothing"),
        pytest.param(window_update(0, RESERVED), ErrorCode.PROTOCOL_ERROR, id="WINDOW_UPDATE by a reserved bit"),
        pytest.param(window_update(0, RESERVED | 1), None, id="WINDOW_UPDATE with a reserved bit"),
        pytest.param(OPEN + raw(8, 0, 1, b"x" * 3), ErrorCode.FRAME_SIZE_ERROR, id="a short WINDOW_UPDATE"),
        pytest.param(raw(8, 0, 0, b"x" * 5), ErrorCode.FRAME_SIZE_ERROR, id="a long WINDOW_UPDATE"),
    ],
)
def test_connection_errors(frames: bytes, code: ErrorCode | None) -> None:
    """What is wrong with a connection ends it, with the code that the RFC prescribes; what is right does not."""
    talk = Talk()
    assert failure(talk.say(frames)) == (None if code is None else Failure(0, code))
    if code is None:
        assert status(talk.say(call(101, b"m", FIRST)), 101) == "0"
    else:
        assert talk.say(WHOLE, call(101)) == []


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(OPEN + window_update(1, 0), ErrorCode.PROTOCOL_ERROR, id="WINDOW_UPDATE by nothing"),
        pytest.param(WHOLE + data(1, b"x"), ErrorCode.STREAM_CLOSED, id="DATA behind the end"),
        pytest.param(WHOLE + headers(1), ErrorCode.STREAM_CLOSED, id="HEADERS behind the end"),
        pytest.param(OPEN + headers(1, with_fields()), ErrorCode.PROTOCOL_ERROR, id="pseudo-header fields in trailers"),
        pytest.param(OPEN + headers(1, b"\0\x01a\x01b"), ErrorCode.PROTOCOL_ERROR, id="trailers that are not the end"),
    ],
)
def test_stream_errors(frames: bytes, code: ErrorCode) -> None:
    """What is wrong with a call ends that call alone; what comes for it afterwards is no error (section 5.1)."""
    talk = Talk(later)
    assert failure(talk.say(frames)) == Failure(1, code)
    assert talk.connection.idle
    assert talk.say(data(1, b"x", 0), window_update(1, 5), rst_stream(1), headers(1, b"\0\x01a\x01b")) == []
    talk.say(call(3))
    talk.connection.answer(3, b"fine")
    assert status(talk.heard(), 3) == "0"


def test_a_priority_of_a_wrong_size_is_an_error() -> None:
    """Section 6.3; of the connection, since its stream may be one that nobody has opened."""
    for stream in (1, 99):
        assert failure(Talk().say(OPEN, raw(FrameType.PRIORITY, 0, stream, b"x" * 4))) == Failure(
            0, ErrorCode.FRAME_SIZE_ERROR
        )


def test_reserved_bits_mean_nothing() -> None:
    """Section 4.1: the first bit of a stream's number is ignored."""
    talk = Talk()
    assert status(talk.say(headers(RESERVED | 1, FIRST), data(RESERVED | 1, framed(b"m")))) == "0"
    assert failure(talk.say(raw(FrameType.PING, 0, RESERVED, b"x" * 8))) is None


def test_a_block_may_come_in_any_pieces() -> None:
    """Section 4.3, with padding and a priority in its first one."""
    for size in (1, 2, 7, len(FIRST)):
        pieces = [FIRST[at : at + size] for at in range(0, len(FIRST), size)]
        frames = [frame(FrameType.HEADERS, PADDED | PRIORITY, 1, b"\x03" + b"p" * 5 + pieces[0] + b"\0\0\0")]
        frames += [frame(FrameType.CONTINUATION, 0, 1, piece) for piece in pieces[1:]]
        talk = Talk()
        talk.say(*frames, frame(FrameType.CONTINUATION, END_HEADERS, 1, b""), data(1, framed(b"m")))
        assert [message for _, _, message in talk.calls] == [b"m"]


def test_wrong_padding_ends_the_connection_whatever_stream_it_is_of() -> None:
    """Section 6.1: also where the peer has ended the stream before, and waits for the answer."""
    talk = Talk(later)
    talk.say(OPEN, data(1, framed(b"m")))
    assert failure(talk.say(data(1, b"", PADDED))) == Failure(0, ErrorCode.FRAME_SIZE_ERROR)


def test_padding_is_no_part_of_a_message() -> None:
    """Section 6.1: it is taken off, and the window of a stream that goes on gets it back."""
    talk = Talk()
    whole = framed(b"m" * 10)
    frames = talk.say(OPEN, data(1, b"\x05" + whole[:4] + b"p" * 5, PADDED))
    assert [(one.stream, one.number) for one in frames if one.kind == FrameType.WINDOW_UPDATE] == [(1, 6)]
    frames = talk.say(data(1, b"\xff" + whole[4:] + b"p" * 255, PADDED | END_STREAM))
    assert talk.calls[0][2] == b"m" * 10
    assert not any(one.kind == FrameType.WINDOW_UPDATE for one in frames)


def test_no_window_of_a_stream_that_is_gone_grows() -> None:
    """Section 5.1: on a stream that was reset nothing more is sent."""
    talk = Talk()
    talk.say(OPEN, window_update(1, 0))
    assert talk.say(data(1, b"\x02abc", PADDED)) == []


@pytest.mark.parametrize("flags", [0, 0xFE])
def test_a_ping_is_answered(flags: int) -> None:
    """Section 6.7: with the same bytes; an answer is not."""
    frames = Talk().say(raw(FrameType.PING, flags, 0, b"12345678"), raw(FrameType.PING, ACK, 0, b"87654321"))
    assert [(one.kind, one.flags, one.stream, one.payload) for one in frames] == [(FrameType.PING, ACK, 0, b"12345678")]


def test_settings_are_acknowledged_each_time() -> None:
    """Section 6.5.3: and an acknowledgement is not."""
    frames = Talk().say(settings(()), settings(((Setting.ENABLE_PUSH, 0),)), SETTINGS_ACK)
    assert [(one.kind, one.flags, one.payload) for one in frames] == [(FrameType.SETTINGS, ACK, b"")] * 2


def test_more_calls_than_were_offered_are_refused() -> None:
    """Section 5.1.2: the peer makes them again when others have ended."""
    talk = Talk(later)
    for number in range(MAX_STREAMS):
        assert talk.say(call(1 + 2 * number, b"m", GOOD if number else FIRST)) == []
    over = 1 + 2 * MAX_STREAMS
    assert failure(talk.say(call(over))) == Failure(over, ErrorCode.REFUSED_STREAM)
    talk.connection.answer(1, b"m")
    assert status(talk.heard()) == "0"
    assert talk.say(call(over + 2)) == []
    assert len(talk.calls) == MAX_STREAMS + 1


def test_calls_beyond_the_limit_are_denied_to_who_has_not_heard_of_it() -> None:
    """No RPC error, which may pass, comes of a burst on a fresh connection; what else is sent of it is ignored."""
    talk = Talk(later, greet=False)
    talk.say(PREFACE, settings(()))
    for number in range(MAX_STREAMS):
        assert talk.say(call(1 + 2 * number)) == []
    over = 1 + 2 * MAX_STREAMS
    frames = talk.say(call(over))
    assert content(frames, over) == framed(b"no room")
    assert (status(frames, over), failure(frames)) == ("0", Failure(over, ErrorCode.NO_ERROR))
    assert len(talk.calls) == MAX_STREAMS
    talk.say(SETTINGS_ACK)
    again = call(over + 2, b"m", FIRST)
    assert failure(talk.say(again)) == Failure(over + 2, ErrorCode.REFUSED_STREAM)


def test_a_connection_that_failed_names_the_last_call() -> None:
    """Section 6.8: what came after it was not acted upon."""
    talk = Talk(later)
    talk.say(WHOLE, call(7))
    (end,) = talk.say(data(0, b""))
    assert end.payload[:4] == b"\0\0\0\x07"
    talk.connection.answer(1, b"too late")
    assert talk.heard() == []


def test_an_answer_for_a_call_that_the_peer_gave_up_is_not_sent() -> None:
    """Section 5.1: nor one for a call that was reset by us, and nothing of an answer that waits."""
    talk = Talk(later)
    talk.say(WHOLE, call(3), call(5), rst_stream(1), data(3, b"x"))
    for stream in (1, 3):
        talk.connection.answer(stream, b"too late")
    talk.connection.answer(5, b"x" * 100_000)
    assert {one.stream for one in talk.heard()} == {5}
    assert talk.say(rst_stream(5), window_update(0, 1_000_000)) == []
    assert talk.connection.idle


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"short",
        b"x" * (LARGEST_PIECE - 5),
        b"x" * (LARGEST_PIECE - 4),
        b"x" * 60_000,
        status_answer(GrpcCode.NOT_FOUND, "none"),
    ],
    ids=["empty", "short", "one frame", "two frames", "four frames", "a status"],
)
def test_an_answer_is_whole_frames_that_end_the_stream(answer: bytes | Answer) -> None:
    """Section 8.1: HEADERS, DATA if need be, trailers; each frame no larger than any peer takes, one end."""

    def take(_stream: int, _head: Head, _message: bytes) -> bytes | Answer:
        return answer

    talk = Talk(take)
    frames = talk.say(WHOLE)
    assert [one.flags & END_STREAM for one in frames] == [0] * (len(frames) - 1) + [END_STREAM]
    assert {one.stream for one in frames} == {1}
    kinds = [one.kind for one in frames]
    if isinstance(answer, bytes):
        assert content(frames, 1) == framed(answer)
        assert kinds == [FrameType.HEADERS, *[FrameType.DATA] * (len(kinds) - 2), FrameType.HEADERS]
        assert status(frames) == "0"
    else:
        assert kinds == [FrameType.HEADERS]
        assert frames[0].fields["grpc-message"] == "none"
    assert talk.connection.idle
