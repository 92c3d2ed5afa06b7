"""What a client has said, read as slowly and simply as possible: the calls that a server may take from it at the most.

It knows nothing of errors, windows or floods: a server may take fewer calls than these, but no other ones.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
TIMEOUT = re.compile(rb"[0-9]{1,8}[HMSmun]")
UNREADABLE = b"?"
"""In place of a string whose Huffman code is broken, and of a name that is not in the table: a server need not read
fields with long values."""

Field = tuple[bytes, bytes]


class Call(NamedTuple):
    """A whole call with one whole message."""

    stream: int
    path: str
    message: bytes


def frames_of(said: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of all whole frames."""
    at = len(PREFACE)
    while said.startswith(PREFACE) and len(said) - at >= 9:
        length = int.from_bytes(said[at : at + 3], "big")
        payload = said[at + 9 : at + 9 + length]
        if len(payload) == length:
            yield said[at + 3], said[at + 4], int.from_bytes(said[at + 5 : at + 9], "big") & 0x7FFF_FFFF, payload
        at += 9 + length


def windows(said: bytes) -> tuple[int, dict[int, int]]:
    """The most that a server may ever have sent of all answers, and of each stream; 0 stands for any other one."""
    connection, largest, streams = 65_535, 65_535, {0: 0}
    for kind, flags, stream, payload in frames_of(said):
        if kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big") & 0x7FFF_FFFF
            if stream == 0:
                connection += increment
            streams[stream] = streams.get(stream, 0) + (increment if stream else 0)
        elif kind == SETTINGS and not flags & 1:
            for at in range(0, len(payload) - 5, 6):
                if payload[at : at + 2] == b"\0\x04":
                    largest = max(largest, int.from_bytes(payload[at + 2 : at + 6], "big"))
    return connection, {stream: largest + more for stream, more in streams.items()}


class Fields:
    """Reads field blocks (RFC 7541), each in its turn."""

    def __init__(self) -> None:
        self._table: list[Field] = []
        self._most = 4096

    def read(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises ValueError where it ends too early, IndexError for an entry that is not."""
        self._left = block
        fields = []
        while self._left:
            first = self._left[0]
            if first & 0x80:
                fields.append(self._entry(self._integer(7)))
            elif first & 0xC0 == 0x40:
                fields.append(field := self._literal(6))
                self._table.insert(0, field)
                self._shrink()
            elif first & 0xE0 == 0x20:
                self._most = self._integer(5)
                self._shrink()
            else:
                fields.append(self._literal(4))
        return fields

    def _literal(self, prefix: int) -> Field:
        index = self._integer(prefix)
        name = UNREADABLE if index else self._string()
        if index:
            with suppress(IndexError):
                name = self._entry(index)[0]
        return name, self._string()

    def _entry(self, index: int) -> Field:
        known = HeaderTable.STATIC_TABLE
        if index == 0:
            raise IndexError("entry 0")
        return known[index - 1] if index <= len(known) else self._table[index - len(known) - 1]

    def _shrink(self) -> None:
        while sum(len(name) + len(value) + 32 for name, value in self._table) > self._most:
            self._table.pop()

    def _take(self, size: int) -> bytes:
        taken, self._left = self._left[:size], self._left[size:]
        if len(taken) < size:
            raise ValueError("the block is cut off")
        return taken

    def _integer(self, prefix: int) -> int:
        most = 2**prefix - 1
        value: int = self._take(1)[0] & most
        shift, more = 0, value == most
        while more:
            octet = self._take(1)[0]
            value += (octet & 0x7F) << shift
            shift, more = shift + 7, octet >= 0x80
            if shift > 70:
                raise ValueError("an integer has no end")
        return value

    def _string(self) -> bytes:
        coded = bool(self._left) and self._left[0] & 0x80
        text = self._take(self._integer(7))
        if not coded:
            return text
        try:
            return decode_huffman(text)
        except HPACKDecodingError:
            return UNREADABLE


class _Stream:
    """What has come of a call."""

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.content = b""
        self.open = True


class Reading:
    """All that a client has said."""

    def __init__(self, said: bytes) -> None:
        self.opened: set[int] = set()
        """The streams that HEADERS were sent for."""
        self.calls: dict[int, Call] = {}
        self._fields = Fields()
        self._streams: dict[int, _Stream] = {}
        with suppress(ValueError, IndexError):
            self._read(said)

    def _read(self, said: bytes) -> None:
        """Raises ValueError or IndexError where nobody can read on."""
        block, first_flags, begun = b"", 0, None
        for kind, flags, stream, payload in frames_of(said):
            if kind in (DATA, HEADERS):
                if flags & PADDED:
                    payload = payload[1 : len(payload) - payload[0]]
                if kind == HEADERS and flags & PRIORITY:
                    payload = payload[5:]
            if kind == DATA:
                self._data(stream, payload, flags)
            elif kind == RST_STREAM and stream in self._streams:
                self._streams[stream].open = False
            elif kind == HEADERS:
                block, first_flags, begun = payload, flags, stream
            elif kind == CONTINUATION and stream == begun:
                block += payload
            if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS and stream == begun:
                self._headers(stream, self._fields.read(block), first_flags)
                begun = None

    def _headers(self, number: int, fields: list[Field], flags: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self.opened.add(number)
            stream = self._streams[number] = _Stream(fields)
        elif not flags & END_STREAM:
            stream.open = False
        if flags & END_STREAM:
            self._end(number, stream)

    def _data(self, number: int, payload: bytes, flags: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.content += payload
            if flags & END_STREAM:
                self._end(number, stream)

    def _end(self, number: int, stream: _Stream) -> None:
        found = dict(stream.fields)
        message = stream.content[5:]
        if (
            stream.open
            and stream.content[:5] == b"\0" + len(message).to_bytes(4, "big")
            and found.get(b":method") == b"POST"
            and found.get(b"content-type", b"").startswith(b"application/grpc")
            and found.get(b"content-length", b"").lstrip(b"0") in (b"", b"%d" % len(stream.content))
            and TIMEOUT.fullmatch(found.get(b"grpc-timeout", b"1S"))
            and not found.keys() & {b"connection", b"upgrade", b"transfer-encoding"}
        ):
            self.calls[number] = Call(number, found.get(b":path", b"").decode("latin-1"), message)
        stream.open = False
