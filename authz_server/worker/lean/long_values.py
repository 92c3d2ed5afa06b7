"""Field blocks without the values that a client makes long, so that reading the others costs the same as ever.

Envoy sends a client's `tracestate` along with a call, and to decode it would cost more than the check. Fields that a
peer puts into its table stay as long as they may be in it: others refer to them (RFC 7541 section 6).
"""

from typing import NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.hpack import decode_integer, encode_integer

from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode

LONG_VALUE_BYTES = 1024
"""As it is encoded; no field that is read has a value as long."""
MAX_FIELDS_BYTES = 64 * 1024
"""Of the fields of a block that are read, each with 32 bytes more than it has (RFC 9113 section 10.5.1)."""

_FIELD_BYTES = 32
_LONGEST_INTEGER = 12
"""Bytes; more than any length that fits into a block."""


def without_long_values(block: bytes, table_bytes: int) -> bytes:
    """The block with nothing in place of each long value. Raises ConnectionFailed for one that ends within a field.

    A block that has more fields than are read is refused before they are decoded: each costs more the longer the
    block is. `table_bytes` is the most that the peer's table may have.
    """
    view, at, end, room = memoryview(block), 0, len(block), MAX_FIELDS_BYTES
    # In the code of Huffman no byte takes more than 30 bits: what is longer is larger than the table.
    longest_kept = max(LONG_VALUE_BYTES, table_bytes * 30 // 8)
    kept: list[bytes | memoryview] = []
    try:
        while at < end:
            value_at, after, value_bytes = field_at(view, at)
            for_table = table_bytes > 0 and view[at] & 0xC0 == 0x40
            piece: bytes | memoryview = view[at:after]
            if value_at is not None and value_bytes > (longest_kept if for_table else LONG_VALUE_BYTES):
                piece = _without_value(view, at, value_at)
                if for_table:
                    piece += _larger_than(table_bytes)
            kept.append(piece)
            room -= max(len(piece), _FIELD_BYTES)
            if room < 0:
                raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "a field section is too large")
            at = after
    except (HPACKDecodingError, IndexError):
        at = end + 1
    if at != end:
        raise ConnectionFailed(ErrorCode.COMPRESSION_ERROR, "a field block is broken")
    return b"".join(kept)


def _without_value(view: memoryview, at: int, value_at: int) -> bytes:
    """The field that begins here with an empty value, not to be put into a table: that it came is not lost."""
    index, _ = _integer(view, at, 6 if view[at] & 0x40 else 4)
    name = bytes(encode_integer(index, 4)) if index else b"\0" + bytes(view[at + 1 : value_at])
    return name + b"\0"


def _larger_than(table_bytes: int) -> bytes:
    """A field to be put into a table for which it is too large, so that nothing stays there (RFC 7541 section 4.4)."""
    return b"\x40\x01x" + bytes(encode_integer(table_bytes, 7)) + b"x" * table_bytes


class FieldPlace(NamedTuple):
    """Where a field is in a block (RFC 7541 section 6)."""

    value_at: int | None
    """Where its value begins, with its length; None where it has none of its own."""
    end: int
    value_bytes: int
    """As it is encoded."""


def field_at(view: memoryview, at: int) -> FieldPlace:
    """The place of the field that begins here; it may end beyond the block. Raises HPACKDecodingError, IndexError."""
    first = view[at]
    if first & 0x80:
        return FieldPlace(None, at + _integer(view, at, 7)[1], 0)
    if first & 0xE0 == 0x20:
        return FieldPlace(None, at + _integer(view, at, 5)[1], 0)
    index, used = _integer(view, at, 6 if first & 0x40 else 4)
    at += used
    if index == 0:
        length, used = _integer(view, at, 7)
        at += used + length
    length, used = _integer(view, at, 7)
    return FieldPlace(at, at + used + length, length)


def _integer(view: memoryview, at: int, prefix_bits: int) -> tuple[int, int]:
    """An integer and the bytes that it takes (RFC 7541 section 5.1)."""
    value, used = decode_integer(bytes(view[at : at + _LONGEST_INTEGER]), prefix_bits)
    return value, used
