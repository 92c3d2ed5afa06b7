"""Field blocks without the values that a client makes long, so that reading the others costs the same as ever.

Envoy sends a client's `tracestate` along with a call, and to decode it would cost more than the check. This is for
blocks of a peer whose table has no place: no field refers to another one (RFC 7541 section 6).
"""

from hpack.exceptions import HPACKDecodingError
from hpack.hpack import decode_integer

from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode

LONG_VALUE_BYTES = 1024
"""As it is encoded; no field that is read has a value as long."""
_LONGEST_INTEGER = 12
"""Bytes; more than any length that fits into a block."""


def without_long_values(block: bytes) -> bytes:
    """The block without fields that have a long value. Raises ConnectionFailed for one that ends within a field."""
    view, kept, at, end = memoryview(block), [], 0, len(block)
    try:
        while at < end:
            after, value_bytes = _field(view, at)
            if value_bytes <= LONG_VALUE_BYTES:
                kept.append(view[at:after])
            at = after
    except (HPACKDecodingError, IndexError):
        at = end + 1
    if at != end:
        raise ConnectionFailed(ErrorCode.COMPRESSION_ERROR, "a field block is broken")
    return b"".join(kept)


def _field(view: memoryview, at: int) -> tuple[int, int]:
    """Where the field ends that begins here, and the encoded length of its value."""
    first = view[at]
    if first & 0x80:
        return at + _integer(view, at, 7)[1], 0
    if first & 0xE0 == 0x20:
        return at + _integer(view, at, 5)[1], 0
    index, used = _integer(view, at, 6 if first & 0x40 else 4)
    at += used
    if index == 0:
        length, used = _integer(view, at, 7)
        at += used + length
    length, used = _integer(view, at, 7)
    return at + used + length, length


def _integer(view: memoryview, at: int, prefix_bits: int) -> tuple[int, int]:
    """An integer and the bytes that it takes (RFC 7541 section 5.1)."""
    value, used = decode_integer(bytes(view[at : at + _LONGEST_INTEGER]), prefix_bits)
    return value, used
