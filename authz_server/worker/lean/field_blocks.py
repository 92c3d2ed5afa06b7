"""What the field block of a call says (RFC 9113 section 8.3, RFC 7541), each block decoded once.

A peer that has acknowledged a table size of 0 sends the same block, byte for byte, for every call that has the same
fields: then it is looked up. With a trace context the blocks differ in values that nobody reads.
"""

from collections import deque
from collections.abc import Iterable

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from authz_server.bounds import KIB, Bound
from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode
from authz_server.worker.lean.heads import Head, read_head
from authz_server.worker.lean.long_values import MAX_FIELDS_BYTES, without_long_values
from authz_server.worker.lean.shapes import Shape, shape_of

_NO_TABLE = b"\x20"
"""The peer gives the table no place from now on (RFC 7541 section 6.3)."""
_LONG_BLOCK_BYTES = 2048
KEPT = Bound(
    "field blocks",
    "worker",
    entries=256,
    bytes=256 * (2 * _LONG_BLOCK_BYTES + KIB),
    holds="Field blocks of calls, and what they say.",
    full="All are forgotten, and decoded again.",
    kept_in=("KnownBlocks._heads",),
)
SHAPES = Bound(
    "shapes of field blocks",
    "worker",
    entries=8,
    bytes=8 * (3 * _LONG_BLOCK_BYTES + KIB),
    holds="What field blocks have in common that differ in what nobody reads; each is tried in turn.",
    full="The oldest goes.",
    kept_in=("KnownBlocks._shapes",),
)

Field = tuple[bytes, bytes]


class KnownBlocks:
    """Blocks that were decoded without a table, so that they mean the same on each connection."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self._shapes: deque[Shape] = deque(maxlen=SHAPES.entries)

    def get(self, block: bytes) -> Head | None:
        """What a block says, or one that differs only in what nobody reads; None where that is not known."""
        head = self._heads.get(block)
        if head is None:
            for shape in self._shapes:
                if shape.fits(block):
                    return shape.head
        return head

    def keep(self, block: bytes, head: Head) -> None:
        """Remember what a block says; when there are too many, all others are forgotten."""
        if len(block) > _LONG_BLOCK_BYTES:
            return
        if len(self._heads) >= KEPT.entries:
            self._heads.clear()
        self._heads[block] = head
        shape = shape_of(block, head)
        if shape is not None:
            self._shapes.appendleft(shape)


class FieldBlocks:
    """The blocks of one connection, in the order in which they come."""

    def __init__(self, known: KnownBlocks, table_bytes: int) -> None:
        """`table_bytes` is the place that the peer is told to give the table."""
        self._known = known
        self._table_bytes = table_bytes
        self._decoder = Decoder(MAX_FIELDS_BYTES)
        self._stateless = False
        """The table has no place, and never will have again: a block means the same whatever came before."""

    def acknowledged(self) -> None:
        """The peer has seen how much place the table has."""
        self._decoder.max_allowed_table_size = self._table_bytes
        self._settle()

    def head(self, block: bytes) -> Head:
        """What the block of a new call says. Raises ConnectionFailed, and StreamFailed where it is malformed."""
        if self._stateless:
            known = self._known.get(block)
            if known is not None:
                return known
        head = read_head(self.fields(block))
        if self._stateless:
            self._known.keep(block, head)
        return head

    def fields(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises ConnectionFailed: after a block that cannot be decoded none can be."""
        if not self._stateless and block.startswith(_NO_TABLE):
            self._decode(_NO_TABLE)
        if len(block) > _LONG_BLOCK_BYTES:
            block = without_long_values(block, 0 if self._stateless else self._decoder.max_allowed_table_size)
        return [(bytes(name), bytes(value)) for name, value in self._decode(block)]

    def _decode(self, block: bytes) -> Iterable[Field]:
        try:
            fields: Iterable[Field] = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "a field section is too large") from None
        except (HPACKError, IndexError):
            # What hpack says of it may be longer than a frame, and names addresses of memory.
            raise ConnectionFailed(ErrorCode.COMPRESSION_ERROR, "a field block is broken") from None
        self._settle()
        return fields

    def _settle(self) -> None:
        self._stateless = self._decoder.header_table_size == self._decoder.max_allowed_table_size == 0
