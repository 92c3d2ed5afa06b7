"""Field blocks: what they mean with a table and without one, and what long ones cost."""

from collections.abc import Iterable

import pytest
from hpack import Decoder, Encoder

from authz_server.worker.lean import field_blocks, long_values
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.field_blocks import FieldBlocks, KnownBlocks
from authz_server.worker.lean.frames import END_HEADERS, END_STREAM, PREFACE, FrameType, settings
from authz_server.worker.lean.heads import Head, read_head
from authz_server.worker.lean.long_values import MAX_FIELDS_BYTES
from tests.unit.worker.lean.wire import (
    FIELDS,
    GOOD,
    NO_TABLE,
    SETTINGS_ACK,
    Failure,
    Talk,
    call,
    data,
    failure,
    framed,
    headers,
    integer,
    literals,
    status,
    text,
    with_fields,
)

MIB = 1024 * 1024
MOST = 8 * MIB - 256
"""What a block may have, less some room for a call's own fields."""


class Work:
    """Counts the fields of blocks that are looked at, and the bytes that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fields = self.decoded = 0
        field_at, decode = long_values.field_at, Decoder.decode

        def look(view: memoryview, at: int) -> long_values.FieldPlace:
            self.fields += 1
            return field_at(view, at)

        def counted(decoder: Decoder, data: bytes, raw: bool = False) -> object:
            self.decoded += len(data)
            return decode(decoder, data, raw)

        monkeypatch.setattr(long_values, "field_at", look)
        monkeypatch.setattr(Decoder, "decode", counted)


def unacknowledged() -> Talk:
    """A client that has not heard yet that the table has no place."""
    talk = Talk(greet=False)
    talk.say(PREFACE, settings(()))
    return talk


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\xbe", id="no such index"),
        pytest.param(b"\x80", id="index 0"),
        pytest.param(b"\xff" * 16_000, id="an integer without an end"),
        pytest.param(b"\0\x7f" + b"\xff" * (5 * MIB), id="a length without an end in 5 MiB"),
        pytest.param(b"\0\x01", id="cut in a name"),
        pytest.param(b"\0\x01a\x05b", id="cut in a value"),
        pytest.param(b"\0\x01a\x85\xff\xff\xff\xff\xff", id="Huffman padding that is too long"),
        pytest.param(GOOD + b"\x20", id="the table's size behind a field"),
        pytest.param(b"\x3f\xe2\x1f", id="a table larger than allowed"),
    ],
)
@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_broken_block_ends_the_connection(block: bytes, acknowledged: bool) -> None:
    """With COMPRESSION_ERROR, and a text that says nothing of the block or of this process."""
    talk = Talk() if acknowledged else unacknowledged()
    frames = talk.say(headers(1, (NO_TABLE if acknowledged else b"") + block))
    assert failure(frames) == Failure(0, ErrorCode.COMPRESSION_ERROR)
    assert frames[-1].payload[8:] == b"a field block is broken"


def test_a_table_that_does_not_shrink_is_broken() -> None:
    """RFC 7541 section 4.2: after the acknowledgement the first block says that the table has no place."""
    assert failure(Talk().say(headers(1))) == Failure(0, ErrorCode.COMPRESSION_ERROR)


def long_name(size: int) -> bytes:
    """A field whose name is long, in Huffman code."""
    return b"\0" + integer(size, 7, 0x80) + b"\x18" * size + text(b"v")


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(NO_TABLE * MOST, id="sizes of the table"),
        pytest.param(b"\x82" * MOST, id="HPACK bomb of indexed fields"),
        pytest.param(b"\0\x01a\x01b" * (MOST // 5), id="small fields"),
        pytest.param(b"\x40\x01a\x01b" * (MOST // 5), id="small fields for the table"),
        pytest.param(long_name(MOST - 20), id="a long name"),
        pytest.param(literals([(b"a", b"v" * 1000)]) * (MOST // 1006), id="fields that are just not long"),
        pytest.param(
            literals([(b"a", b"v" * 4000)], b"\x40") + b"\xbe" * (MOST - 5000), id="HPACK bomb with a large entry"
        ),
        pytest.param(b"\0\x00\x00" * (MOST // 3), id="CVE-2019-9516: fields without name and value"),
    ],
)
@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_bomb_ends_the_connection_cheaply(block: bytes, acknowledged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields 8 MiB can hold, no more are read than a call may have."""
    talk = Talk() if acknowledged else unacknowledged()
    bomb = headers(1, (NO_TABLE if acknowledged else b"") + block)
    work = Work(monkeypatch)
    failed = failure(talk.say(bomb))
    assert work.fields <= 2_100
    assert work.decoded <= 2 * MAX_FIELDS_BYTES
    assert failed is not None
    assert failed.stream == 0
    assert failed.code in (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.COMPRESSION_ERROR)


def huffman(size: int) -> bytes:
    """A string in Huffman code that takes so many bytes."""
    return integer(size, 7, 0x80) + b"\x18" * size


@pytest.mark.parametrize(
    "tracestate", [pytest.param(text(b"v" * MIB), id="as it is"), pytest.param(huffman(MIB), id="Huffman")]
)
@pytest.mark.parametrize("first", [b"\0", b"\x10", b"\x40"], ids=["not kept", "never kept", "kept"])
@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_tracestate_of_1_mib_is_answered_cheaply(
    acknowledged: bool, first: bytes, tracestate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client chooses it, so it must choose neither an RPC error nor the work of a thousand checks."""
    talk = Talk() if acknowledged else unacknowledged()
    block = (
        (NO_TABLE if acknowledged else b"") + GOOD + first + text(b"tracestate") + tracestate + literals([(b"a", b"b")])
    )
    wire = call(1, b"m", block) + call(3, b"n", block[1:] if acknowledged else block)
    work = Work(monkeypatch)
    frames = talk.say(wire)
    assert work.fields <= 40
    assert work.decoded <= 16_384
    assert [message for _, _, message in talk.calls] == [b"m", b"n"]
    assert (status(frames, 1), status(frames, 3)) == ("0", "0")


def test_a_long_value_that_empties_the_table_does_no_harm() -> None:
    """RFC 7541 section 4.4: it leaves nothing there, and what comes after it is at the front, whatever is behind."""
    talk, encoder = unacknowledged(), Encoder()
    fields = [*FIELDS, (b"grpc-timeout", b"7S")]
    for number in range(9):
        more = [(b"tracestate", b"v" * 100_000)] if number % 3 == 1 else []
        talk.say(
            call(
                1 + 2 * number, b"m", encoder.encode([*fields, *more, (b"x-last", b"%d" % (number % 2))], huffman=False)
            )
        )
    assert [head.timeout_s for _, head, _ in talk.calls] == [7.0] * 9


def test_what_a_long_value_has_taken_out_of_the_table_is_gone() -> None:
    """Whoever refers to it is broken."""
    talk = unacknowledged()
    talk.say(call(1, b"m", literals(FIELDS, b"\x40")))
    assert failure(talk.say(call(3, b"m", b"\xbe" * 6))) == Failure(3, ErrorCode.PROTOCOL_ERROR)
    talk.say(call(5, b"m", GOOD + literals([(b"tracestate", b"v" * 100_000)], b"\x40")))
    assert failure(talk.say(call(7, b"m", b"\xbe"))) == Failure(0, ErrorCode.COMPRESSION_ERROR)


def test_a_value_that_has_a_place_in_the_table_is_read_whatever_its_length() -> None:
    """What fits is found again by its index."""
    talk = unacknowledged()
    table = literals([(b"a", b"v" * 2500)], b"\x40") + literals([(b"grpc-timeout", b"7S")], b"\x40")
    talk.say(call(1, b"m", GOOD + table))
    talk.say(call(3, b"m", GOOD + b"\xbe\xbf"))
    assert [head.timeout_s for _, head, _ in talk.calls] == [7.0, 7.0]


def encoded(encoder: Encoder, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of an encoder that uses its table."""
    return encoder.encode(list(fields))


def test_a_client_with_a_table_is_understood_before_and_after_it_gives_the_table_up() -> None:
    """The blocks of the first calls mean something else each, and are decoded in their order."""
    talk, encoder = unacknowledged(), Encoder()
    paths = [b"/a/1", b"/a/1", b"/a/2", b"/a/1", b"/a/2"]
    blocks = [encoded(encoder, [(b":path", path), *(f for f in FIELDS if f[0] != b":path")]) for path in paths]
    assert len(blocks[1]) < len(blocks[0])
    for number, block in enumerate(blocks):
        talk.say(call(1 + 2 * number, b"m", block))
    encoder.header_table_size = 0
    talk.say(SETTINGS_ACK)
    for number in range(5, 8):
        talk.say(call(1 + 2 * number, b"m", encoded(encoder, FIELDS)))
    assert [head.path for _, head, _ in talk.calls] == [*(path.decode() for path in paths), *["/a.Service/Method"] * 3]


class Reading:
    """Counts how often a head is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(field_blocks, "read_head", self._read)

    def _read(self, fields: Iterable[tuple[bytes, bytes]]) -> Head:
        self.count += 1
        return read_head(fields)


def test_a_block_is_looked_up_only_where_the_table_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the acknowledgement, a block that looks the same may mean something else."""
    reading, talk = Reading(monkeypatch), unacknowledged()
    talk.say(call(1), call(3))
    assert reading.count == 2
    talk.say(SETTINGS_ACK, call(5, b"m", NO_TABLE + GOOD))
    assert reading.count == 3
    talk.say(call(7), call(9), call(11))
    assert reading.count == 4


def test_what_is_known_is_shared_but_not_with_a_client_that_has_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client is read until its table is gone, and one that keeps it for ever."""
    reading, known = Reading(monkeypatch), KnownBlocks()
    one, other, slow = Talk(known=known), Talk(known=known), Talk(known=known, greet=False)
    slow.say(PREFACE, settings(()))
    one.say(call(1, b"m", NO_TABLE + GOOD), call(3))
    assert reading.count == 2
    other.say(call(1, b"m", NO_TABLE + GOOD), call(3))
    assert reading.count == 3
    slow.say(call(1), call(3))
    assert reading.count == 5
    assert [len(talk.calls) for talk in (one, other, slow)] == [2, 2, 2]


def test_a_table_that_a_client_gives_up_by_itself_is_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may do so before it has acknowledged, and then says so only once."""
    reading, talk = Reading(monkeypatch), unacknowledged()
    talk.say(call(1, b"m", NO_TABLE + GOOD), SETTINGS_ACK)
    talk.say(call(3), call(5))
    assert reading.count == 2
    assert len(talk.calls) == 3


def test_no_more_blocks_are_known_than_there_is_place_for() -> None:
    """And none that is long."""
    known = KnownBlocks()
    blocks = FieldBlocks(known, 0)
    blocks.acknowledged()
    blocks.head(NO_TABLE + GOOD)
    for number in range(1000):
        blocks.head(with_fields((b"grpc-timeout", b"%dm" % number)))
    kept = [number for number in range(1000) if known.get(with_fields((b"grpc-timeout", b"%dm" % number)))]
    assert 0 < len(kept) <= 256
    assert kept[-1] == 999
    long = with_fields((b"tracestate", b"v" * 3000))
    blocks.head(long)
    assert known.get(long) is None


def test_fields_of_a_refused_call_stay_in_the_table() -> None:
    """Each block is decoded, whatever becomes of its stream: the next one refers to it."""
    talk = unacknowledged()
    talk.connection.take_no_more()
    encoder = Encoder()
    frames = talk.say(
        headers(1, encoded(encoder, FIELDS)),
        headers(3, encoded(encoder, FIELDS)),
    )
    codes = [one.number for one in frames if one.kind == FrameType.RST_STREAM]
    assert codes == [ErrorCode.REFUSED_STREAM] * 2
    assert talk.connection.failed is None


def test_trailers_use_the_same_table() -> None:
    """They are blocks like others."""
    talk, encoder = unacknowledged(), Encoder()
    first = encoded(encoder, FIELDS)
    trailers = encoded(encoder, [(b"x-checksum", b"1")])
    second = encoded(encoder, [*FIELDS, (b"x-checksum", b"1")])
    talk.say(headers(1, first), data(1, framed(b"m"), 0), headers(1, trailers, END_HEADERS | END_STREAM))
    talk.say(call(3, b"n", second))
    assert [message for _, _, message in talk.calls] == [b"m", b"n"]


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize("first", [b"\0", b"\x40"], ids=["not kept", "kept"])
def test_a_field_with_a_long_value_has_come_all_the_same(acknowledged: bool, first: bytes) -> None:
    """A second path is malformed, although nobody reads its value."""
    talk = Talk() if acknowledged else unacknowledged()
    block = (NO_TABLE if acknowledged else b"") + GOOD + first + text(b":path") + text(b"/" * 20_000)
    assert failure(talk.say(call(1, b"m", block))) == Failure(1, ErrorCode.PROTOCOL_ERROR)
    assert talk.calls == []


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize("first", [b"\0", b"\x40"], ids=["not kept", "kept"])
def test_a_long_name_of_a_long_value_is_not_decoded(
    acknowledged: bool, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts among the fields that a call may have."""
    talk = Talk() if acknowledged else unacknowledged()
    block = (NO_TABLE if acknowledged else b"") + GOOD + first + huffman(5 * MIB) + huffman(MIB)
    work = Work(monkeypatch)
    assert failure(talk.say(headers(1, block))) == Failure(0, ErrorCode.ENHANCE_YOUR_CALM)
    assert work.decoded <= 1
