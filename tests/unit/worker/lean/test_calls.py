"""What makes a call: fields (RFC 9113 section 8), and gRPC over HTTP/2."""

import tracemalloc

import pytest

from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.frames import END_HEADERS, END_STREAM, FrameType
from authz_server.worker.limits import MAX_MESSAGE_BYTES
from tests.unit.worker.lean.wire import (
    FIELDS,
    GOOD,
    NO_TABLE,
    Failure,
    Field,
    Talk,
    call,
    data,
    failure,
    framed,
    headers,
    literals,
    pieces_of,
    status,
    with_fields,
)

MALFORMED = Failure(1, ErrorCode.PROTOCOL_ERROR)
END = END_HEADERS | END_STREAM


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="no field"),
        pytest.param(with_fields(without=[b":method"]), id="no method"),
        pytest.param(with_fields(without=[b":scheme"]), id="no scheme"),
        pytest.param(with_fields(without=[b":path"]), id="no path"),
        pytest.param(with_fields((b":path", b"")), id="an empty path"),
        pytest.param(with_fields((b":path", b"a.Service/Method")), id="no slash"),
        pytest.param(GOOD + literals([(b":path", b"/")]), id="a pseudo-header field behind others"),
        pytest.param(literals([FIELDS[2]]) + GOOD, id="a path twice"),
        pytest.param(literals([FIELDS[0]]) + GOOD, id="a method twice"),
        pytest.param(literals([FIELDS[3]]) + GOOD, id="an authority twice"),
        pytest.param(with_fields((b":status", b"200")), id="a pseudo-header field of answers"),
        pytest.param(with_fields((b":protocol", b"websocket")), id="an unknown pseudo-header field"),
        pytest.param(with_fields((b":", b"x")), id="a colon"),
        pytest.param(with_fields((b"connection", b"close")), id="connection"),
        pytest.param(with_fields((b"proxy-connection", b"close")), id="proxy-connection"),
        pytest.param(with_fields((b"keep-alive", b"1")), id="keep-alive"),
        pytest.param(with_fields((b"transfer-encoding", b"chunked")), id="transfer-encoding"),
        pytest.param(with_fields((b"upgrade", b"h2c")), id="upgrade"),
        pytest.param(with_fields((b"te", b"gzip")), id="te"),
        pytest.param(with_fields((b"te", b"trailers, gzip")), id="te and more"),
        pytest.param(with_fields((b"", b"x")), id="an empty name"),
        pytest.param(with_fields((b"X-A", b"x")), id="upper case"),
        pytest.param(with_fields((b"x a", b"x")), id="a space in a name"),
        pytest.param(with_fields((b"x:a", b"x")), id="a colon in a name"),
        pytest.param(with_fields((b"x\x80", b"x")), id="a name beyond ASCII"),
        pytest.param(with_fields((b"x", b"a\rb")), id="CR"),
        pytest.param(with_fields((b"x", b"a\nb")), id="LF"),
        pytest.param(with_fields((b"x", b"a\n")), id="LF at the end"),
        pytest.param(with_fields((b"x", b"a\0b")), id="NUL"),
        pytest.param(with_fields((b"te", b" trailers")), id="a space before te"),
        pytest.param(with_fields((b"content-length", b"6 ")), id="a space behind the length"),
        pytest.param(with_fields((b"content-length", b"-1")), id="a negative length"),
        pytest.param(with_fields((b"content-length", b"+6")), id="a signed length"),
        pytest.param(with_fields((b"content-length", b"6, 6")), id="a list of lengths"),
        pytest.param(with_fields((b"content-length", b"6"), (b"content-length", b"7")), id="two lengths"),
        pytest.param(with_fields((b"content-length", b"9" * 1000)), id="a long length"),
    ],
)
def test_a_malformed_call_is_reset(block: bytes) -> None:
    """RFC 9113 sections 8.1.1 to 8.3: as an error of its stream, and nobody is asked."""
    talk = Talk()
    frames = talk.say(headers(1, NO_TABLE + block))
    assert failure(frames) == MALFORMED
    assert talk.say(*([data(1, b"", 0)] * 3)) == []
    assert talk.calls == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([], id="nothing more"),
        pytest.param([(b":scheme", b"https")], id="https"),
        pytest.param([(b":authority", b"")], id="an empty authority"),
        pytest.param([(b"x", b"")], id="an empty value"),
        pytest.param([(b"x", b"a b\tc")], id="spaces within"),
        pytest.param([(b"x", b"\xff\x80")], id="a value beyond ASCII"),
        pytest.param([(b"x", b"1"), (b"x", b"2")], id="a name twice"),
        # Envoy sends it along as a client of HTTP/2 has written it: see `heads`.
        pytest.param([(b"tracestate", b" a=b")], id="a space before"),
        pytest.param([(b"tracestate", b"a=b\t")], id="a tab behind"),
        pytest.param([(b"tracestate", b" ")], id="nothing but a space"),
        pytest.param([(b"content-length", b"6")], id="the right length"),
        pytest.param([(b"content-length", b"6"), (b"content-length", b"6")], id="the right length twice"),
        pytest.param([(b"content-type", b"application/grpc+proto")], id="the name of the encoding"),
        pytest.param([(b"content-type", b"application/grpc; a=b")], id="a parameter"),
        pytest.param([(b"grpc-encoding", b"identity")], id="no compression"),
        pytest.param([(b"grpc-accept-encoding", b"gzip,identity")], id="compression, if we like"),
    ],
)
def test_a_good_call_is_taken(changes: list[Field]) -> None:
    """With its path and message."""
    talk = Talk()
    assert status(talk.say(call(1, b"m", NO_TABLE + with_fields(*changes)))) == "0"
    ((stream, head, message),) = talk.calls
    assert (stream, head.path, message) == (1, "/a.Service/Method", b"m")


def test_te_may_be_missing() -> None:
    """A proxy may have taken it away; trailers are sent all the same."""
    assert status(Talk().say(call(1, b"m", NO_TABLE + with_fields(without=[b"te"])))) == "0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param([(b":method", b"GET")], "HTTP 405", id="GET"),
        pytest.param([(b":method", b"post")], "HTTP 405", id="post"),
        pytest.param([(b"content-type", b"application/json")], "HTTP 415", id="JSON"),
        pytest.param([(b"content-type", b"application/grpcx")], "HTTP 415", id="another name"),
        pytest.param([(b"content-type", b"application/grpc+json")], "HTTP 415", id="another encoding"),
        pytest.param([(b"content-type", b"application/grpc-web")], "HTTP 415", id="gRPC-Web"),
        pytest.param([(b"content-type", b"")], "HTTP 415", id="an empty type"),
        pytest.param([(b"grpc-encoding", b"gzip")], "12", id="compression"),
        pytest.param([(b"grpc-timeout", b"")], "13", id="an empty timeout"),
        pytest.param([(b"grpc-timeout", b"1")], "13", id="no unit"),
        pytest.param([(b"grpc-timeout", b"S")], "13", id="no number"),
        pytest.param([(b"grpc-timeout", b"1s")], "13", id="an unknown unit"),
        pytest.param([(b"grpc-timeout", b"-1S")], "13", id="a negative timeout"),
        pytest.param([(b"grpc-timeout", b"1.5S")], "13", id="a fraction"),
        pytest.param([(b"grpc-timeout", b"123456789S")], "13", id="nine digits"),
        pytest.param([(b"grpc-timeout", b"\xd9\xa1S")], "13", id="a digit beyond ASCII"),
    ],
)
def test_what_is_no_call_of_grpc_is_told_so(changes: list[Field], said: str) -> None:
    """When all of it has come, and nobody is asked."""
    talk = Talk()
    block = NO_TABLE + with_fields(*changes)
    assert talk.say(headers(1, block)) == []
    frames = talk.say(data(1, framed(b"m")))
    assert status(frames) == said
    assert frames[-1].flags & END_STREAM
    # What is said does not depend on how the content comes.
    for size in (1, 4, 5, 100):
        frames = talk.say(headers(1 + 2 * size, block), pieces_of(1 + 2 * size, b"\xff" * 1000, size))
        assert status(frames, 1 + 2 * size) == said
    assert talk.calls == []
    assert talk.connection.idle
    assert talk.held.bytes == 0


def test_a_content_type_may_not_be_missing() -> None:
    """Nor does anything else say that this is gRPC."""
    assert status(Talk().say(call(1, b"m", NO_TABLE + with_fields(without=[b"content-type"])))) == "HTTP 415"


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"200m", 0.2),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (b"0S", 0.0),
        (b"99999999H", 99999999 * 3600.0),
    ],
)
def test_a_timeout_is_read(timeout: bytes, seconds: float) -> None:
    """In each unit."""
    talk = Talk()
    talk.say(call(1, b"m", NO_TABLE + with_fields((b"grpc-timeout", timeout))))
    assert talk.calls[0][1].timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "13", id="nothing"),
        pytest.param(b"\0\0\0\0", "13", id="half a prefix"),
        pytest.param(b"\0\0\0\0\0", "0", id="an empty message"),
        pytest.param(b"\0\0\0\0\x02m", "13", id="half a message"),
        pytest.param(b"\0\0\0\0\x01mm", "13", id="more than a message"),
        pytest.param(framed(b"m") * 2, "13", id="two messages"),
        pytest.param(b"\x01\0\0\0\x01m", "13", id="compressed"),
        pytest.param(b"\x02\0\0\0\x01m", "13", id="an unknown flag"),
        pytest.param(b"\0\xff\xff\xff\xffm", "13", id="a length beyond everything"),
    ],
)
def test_a_unary_call_has_one_message(body: bytes, said: str) -> None:
    """Whole, and not compressed; whether DATA or trailers end it."""
    assert status(Talk().say(headers(1, NO_TABLE + GOOD), data(1, body))) == said
    if len(body) < 5 or body[1] != 0xFF:
        frames = Talk().say(headers(1, NO_TABLE + GOOD), data(1, body, 0), headers(1, literals([(b"a", b"b")]), END))
        assert status(frames) == said


def test_a_call_without_content_has_no_message() -> None:
    """HEADERS may be all that there is."""
    assert status(Talk().say(headers(1, NO_TABLE + GOOD, END))) == "13"


@pytest.mark.parametrize("length", [b"0", b"5", b"7", b"999999999999"])
def test_a_content_length_that_is_not_that_of_the_content_is_malformed(length: bytes) -> None:
    """RFC 9113 section 8.1.1: in whatever pieces the content comes, and whatever the answer would be."""
    for block in (
        with_fields((b"content-length", length)),
        with_fields((b"content-length", length), (b":method", b"GET")),
    ):
        for size in (1, 3, 6):
            talk = Talk()
            assert failure(talk.say(headers(1, NO_TABLE + block), pieces_of(1, framed(b"m"), size))) == MALFORMED
            assert talk.calls == []


def test_trailers_end_a_call() -> None:
    """They may be empty, and have fields that nobody reads; connection-specific ones are malformed."""
    for block, fine in ((b"", True), (literals([(b"a", b"b")]), True), (literals([(b"upgrade", b"h2c")]), False)):
        talk = Talk()
        frames = talk.say(headers(1, NO_TABLE + GOOD), data(1, framed(b"m"), 0), headers(1, block, END))
        assert (failure(frames) is None) is fine
        assert len(talk.calls) == fine


def test_a_message_over_the_bound_is_refused_as_soon_as_it_says_so() -> None:
    """RESOURCE_EXHAUSTED, and then RST_STREAM without an error (RFC 9113 section 8.1); what comes is no error."""
    too_large = b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")
    for pieces in ([too_large + b"x"], [too_large[:1], too_large[1:3], too_large[3:]]):
        talk = Talk()
        frames = talk.say(headers(1, NO_TABLE + GOOD), *(data(1, piece, 0) for piece in pieces))
        assert status(frames) == "8"
        assert frames[-2].flags & END_STREAM
        assert frames[-1].kind == FrameType.RST_STREAM
        assert failure(frames) == Failure(1, ErrorCode.NO_ERROR)
        assert talk.say(data(1, b"x" * 16_384, 0), data(1, b"x")) == []
        assert talk.held.bytes == 0
        assert talk.connection.idle


def test_a_message_in_small_pieces_takes_no_more_memory() -> None:
    """What is counted as held is what it takes: each piece by itself would take twenty times as much."""
    talk = Talk()
    talk.say(headers(1, NO_TABLE + GOOD))
    content = framed(b"m" * 200_000)
    frames = b"".join(data(1, content[at : at + 2], 0) for at in range(0, len(content), 2))
    tracemalloc.start()
    try:
        talk.connection.receive(frames)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert talk.held.bytes == len(content)
    assert taken < 2 * len(content)


def test_the_largest_message_is_taken() -> None:
    """Whatever pieces it comes in."""
    talk = Talk(lambda _stream, _head, message: len(message).to_bytes(4, "big"))
    message = b"m" * MAX_MESSAGE_BYTES
    assert status(talk.say(call(1, message, NO_TABLE + GOOD))) == "0"
    assert talk.calls[0][2] == message
    assert talk.held.bytes == 0
