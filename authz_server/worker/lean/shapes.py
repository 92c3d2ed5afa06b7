"""Field blocks that differ only in values that nobody reads, such as a trace context, so that one of them is decoded.

This is for blocks of a peer whose table has no place: each field stands for itself.
"""

from hpack import Decoder
from msgspec import Struct

from authz_server.worker.lean.heads import READ, Head
from authz_server.worker.lean.long_values import field_at

_LONG = 0x7F
"""A length that goes on in further bytes (RFC 7541 section 5.1)."""


class Shape(Struct, frozen=True):
    """What such blocks have in common."""

    pieces: tuple[bytes, ...]
    """What stands before, between and behind the values that may be any, whose lengths stand with them."""
    head: Head

    def fits(self, block: bytes) -> bool:
        """Whether the block has this shape: then it says the same."""
        at = 0
        for piece in self.pieces[:-1]:
            if not block.startswith(piece, at):
                return False
            at += len(piece)
            if at >= len(block):
                return False
            length = block[at] & _LONG
            if length == _LONG:
                return False
            at += 1 + length
        return at <= len(block) and block[at:] == self.pieces[-1]


def shape_of(block: bytes, head: Head) -> Shape | None:
    """The shape of a block that was decoded without fault; None where every value is read."""
    view, at, piece_at = memoryview(block), 0, 0
    pieces = []
    while at < len(block):
        field = field_at(view, at)
        if field.value_at is not None and _name(block[at : field.end]) not in READ:
            pieces.append(block[piece_at : field.value_at])
            piece_at = field.end
        at = field.end
    return Shape((*pieces, block[piece_at:]), head) if pieces else None


def _name(field: bytes) -> bytes:
    [(name, _)] = Decoder().decode(field, raw=True)
    return bytes(name)
