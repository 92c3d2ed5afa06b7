"""Blocks that differ only in values that nobody reads."""

import pytest
from hpack import Encoder

from authz_server.worker.lean.field_blocks import FieldBlocks, KnownBlocks
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.shapes import shape_of
from tests.unit.worker.lean.wire import FIELDS, GOOD, NO_TABLE

HEAD = Head("/a/B")
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e47%02d-00f067aa0ba902b7-01"


def traced(*values: bytes, timeout: bytes = b"200m", huffman: bool = True) -> bytes:
    """A block with such values of `traceparent`, one of `x-b3-spanid` after each, as a peer without a table has it."""
    encoder = Encoder()
    encoder.header_table_size = 0
    fields = [*FIELDS, (b"grpc-timeout", timeout)]
    for value in values:
        fields += [(b"traceparent", value), (b"x-b3-spanid", value[:16])]
    return bytes(encoder.encode([(*field, True) for field in fields], huffman=huffman)).lstrip(NO_TABLE)


@pytest.mark.parametrize("huffman", [True, False])
def test_only_what_is_read_must_be_the_same(huffman: bool) -> None:
    """Values of other fields may have any length below 127, and any content."""
    shape = shape_of(traced(TRACE % 1, huffman=huffman), HEAD)
    assert shape is not None
    for value in (TRACE % 1, TRACE % 77, b"", b"short", b"\0\r\n", b"x" * 126):
        assert shape.fits(traced(value, huffman=huffman)), value


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(GOOD, id="without the field"),
        pytest.param(traced(TRACE % 1, timeout=b"201m"), id="another value that is read"),
        pytest.param(traced(TRACE % 1, TRACE % 2), id="one field more"),
        pytest.param(traced(TRACE % 1)[:-1], id="cut in a value"),
        pytest.param(traced(TRACE % 1)[:-20], id="cut before a value"),
        pytest.param(traced(TRACE % 1) + b"\x83", id="a method behind it"),
        pytest.param(traced(TRACE % 1) + traced(TRACE % 1), id="twice"),
        pytest.param(traced(b"x" * 200, huffman=False), id="a long value"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_another_block_does_not_fit(block: bytes) -> None:
    """It is decoded, whatever it has in common."""
    shape = shape_of(traced(TRACE % 1), HEAD)
    assert shape is not None
    assert not shape.fits(block)


def test_a_block_of_which_every_value_is_read_has_no_shape() -> None:
    """It is known as it is."""
    assert shape_of(GOOD, HEAD) is None


def test_of_calls_with_a_trace_context_one_is_decoded() -> None:
    """However many there are, on any connection."""
    known, decoded = KnownBlocks(), 0

    class Counted(FieldBlocks):
        def fields(self, block: bytes) -> list[tuple[bytes, bytes]]:
            nonlocal decoded
            decoded += 1
            return super().fields(block)

    for _ in range(2):
        blocks = Counted(known, 0)
        blocks.acknowledged()
        first = blocks.head(NO_TABLE + traced(TRACE % 0))
        assert {blocks.head(traced(TRACE % number)).timeout_s for number in range(100)} == {first.timeout_s} == {0.2}
    assert decoded == 3
