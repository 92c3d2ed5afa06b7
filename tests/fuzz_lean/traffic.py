"""What a client may say, made of a seed: calls that interleave, frames of the connection, and damage."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from hpack import Encoder

from tests.fuzz_lean.reference import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PREFACE, PRIORITY

PRIORITY_FRAME, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = 2, 3, 4, 5, 6, 7, 8
ACK = b"\0\0\0\x04\x01\0\0\0\0"
PATHS = [b"/a.Service/Echo", b"/a.Service/Large", b"/a.Service/Later", b"/a.Service/Status"]
TYPES = [b"application/grpc", b"application/grpc+proto", b"application/json", b"text/html"]
NUMBERS = [0, 1, 5, 16_384, 65_535, 2**31 - 1, 2**31, 2**32 - 1]


class Traffic(NamedTuple):
    """What a client says, in parts: between two of them calls are answered for which that takes a while."""

    parts: list[bytes]
    honest: bool
    """Every frame is as it should be, and each call that is not given up gets an answer."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of any type."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Client:
    """One client: what it has said so far decides what it may say."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._encoder = Encoder()
        self._acknowledged = False
        self._next_stream = 1

    def frames(self) -> Iterator[bytes]:
        """All that it says behind the preface."""
        chance = self._chance
        yield frame(SETTINGS, 0, 0, self._settings())
        calls: list[Iterator[bytes]] = []
        for _ in range(chance.randint(1, 30)):
            if not self._acknowledged and chance.random() < 0.2:
                self._acknowledged = True
                yield ACK
                self._encoder.header_table_size = 0
            if chance.random() < 0.2:
                yield self._of_the_connection()
            if len(calls) < 6 and chance.random() < 0.6:
                calls.append(self._call())
            if calls:
                at = chance.randrange(len(calls))
                for _ in range(chance.choice((1, 1, 2, 10))):
                    said = next(calls[at], None)
                    if said is None:
                        del calls[at]
                        break
                    yield said
        for call in calls:
            yield from call

    def _settings(self) -> bytes:
        chance = self._chance
        pairs = []
        if chance.random() < 0.5:
            pairs.append((4, chance.choice((0, 1, 100, 16_384, 65_535, 1_000_000))))
        if chance.random() < 0.2:
            pairs.append((chance.choice((1, 3, 6, 0x99)), chance.choice(NUMBERS)))
        return b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs)

    def _of_the_connection(self) -> bytes:
        chance = self._chance
        return chance.choice(
            (
                frame(PING, 0, 0, chance.randbytes(8)),
                frame(SETTINGS, 0, 0, self._settings()),
                frame(WINDOW_UPDATE, 0, 0, chance.choice((1, 100, 1_000_000)).to_bytes(4, "big")),
                frame(PRIORITY_FRAME, 0, chance.randint(1, 99), chance.randbytes(5)),
                frame(0x42, chance.randrange(256), chance.randrange(99), chance.randbytes(chance.randrange(30))),
            )
        )

    def _call(self) -> Iterator[bytes]:
        """The frames of a call; those of a block come in one piece."""
        chance = self._chance
        stream, self._next_stream = self._next_stream, self._next_stream + 2 * chance.choice((1, 1, 1, 5))
        content = self._content()
        fields = self._fields(len(content))
        ends = not content and chance.random() < 0.5
        yield self._block(stream, fields, END_STREAM if ends else 0)
        if ends:
            return
        trailers = chance.random() < 0.15
        pieces = list(self._pieces(content))
        for number, piece in enumerate(pieces):
            if chance.random() < 0.1:
                yield frame(WINDOW_UPDATE, 0, stream, chance.choice((1, 50, 100_000)).to_bytes(4, "big"))
            if chance.random() < 0.02:
                yield frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
                return
            end = END_STREAM if number == len(pieces) - 1 and not trailers else 0
            padding = chance.choice((0, 1, 255))
            if chance.random() < 0.2 and len(piece) + padding < 16_384:
                yield frame(DATA, end | PADDED, stream, bytes((padding,)) + piece + b"p" * padding)
            else:
                yield frame(DATA, end, stream, piece)
        if trailers:
            yield self._block(stream, [(b"x-trailer", b"v")] * chance.randrange(3), END_STREAM)
        if chance.random() < 0.1:
            yield frame(WINDOW_UPDATE, 0, stream, (100_000).to_bytes(4, "big"))

    def _fields(self, length: int) -> list[tuple[bytes, bytes]]:
        chance = self._chance
        fields = [
            (b":method", b"POST" if chance.random() < 0.95 else b"GET"),
            (b":scheme", b"http"),
            (b":path", chance.choice(PATHS) if chance.random() < 0.9 else b"/%d" % chance.randrange(9)),
            (b":authority", b"authz"),
            (b"content-type", TYPES[0] if chance.random() < 0.9 else chance.choice(TYPES)),
            (b"te", b"trailers"),
        ]
        if chance.random() < 0.2:
            fields.append((b"grpc-timeout", chance.choice((b"1S", b"200m", b"x", b"99999999H"))))
        if chance.random() < 0.2:
            fields.append((b"content-length", b"%d" % (length if chance.random() < 0.8 else length + 1)))
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            size = chance.choice((0, 10, 900, 1100, 2000, 5000, 20_000, 70_000))
            fields.append((b"tracestate", bytes([chance.randrange(97, 123)]) * size))
        return fields

    def _block(self, stream: int, fields: list[tuple[bytes, bytes]], end: int) -> bytes:
        chance = self._chance
        # hpack is slow at that for long values.
        huffman = chance.random() < 0.5 and all(len(value) < 3_000 for _, value in fields)
        block = self._encoder.encode(fields, huffman=huffman)
        size = chance.choice((16_384, 16_384, 16_384, 5000, 100)) if len(block) < 3000 else 16_384
        pieces = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        flags, first = end, pieces[0]
        if chance.random() < 0.1 and len(first) < 16_000:
            flags |= PADDED | PRIORITY
            first = b"\x07" + chance.randbytes(5) + first + b"p" * 7
        frames = [frame(HEADERS, flags | (END_HEADERS if len(pieces) == 1 else 0), stream, first)]
        for number, piece in enumerate(pieces[1:], 2):
            frames.append(frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece))
        return b"".join(frames)

    def _content(self) -> bytes:
        chance = self._chance
        message = chance.randbytes(chance.choice((0, 1, 5, 100, 1000, 20_000)))
        whole = b"\0" + len(message).to_bytes(4, "big") + message
        kind = chance.randrange(30)
        if kind == 0:
            return b""
        if kind == 1:
            return whole[: chance.randrange(len(whole))]
        if kind == 2:
            return whole + whole
        return b"\x01" + whole[1:] if kind == 3 else whole

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        chance = self._chance
        at = 0
        while at < len(content):
            size = chance.choice((1, 4, 5, 6, 100, 16_383, 16_384))
            if len(content) > 2000:
                size = max(size, 1000)
            yield content[at : at + size]
            at += size
        if chance.random() < 0.1 or not content:
            yield b""


def traffic(chance: Random) -> Traffic:
    """What one client says; half of them are honest."""
    frames = [PREFACE, *Client(chance).frames()]
    honest = chance.random() < 0.5
    if not honest:
        for _ in range(chance.choice((1, 1, 2, 5))):
            _damage(chance, frames)
    parts: list[bytes] = [b""]
    for said in frames:
        if chance.random() < 0.2:
            parts.append(b"")
        parts[-1] += said
    return Traffic(parts, honest)


def _damage(chance: Random, frames: list[bytes]) -> None:
    """Change something: a frame, its header, its place, or any byte."""
    at = chance.randrange(len(frames))
    said = bytearray(frames[at])
    kind = chance.randrange(8)
    if kind == 0:
        del frames[at]
        frames.append(b"")
    elif kind == 1:
        frames.insert(chance.randrange(len(frames)), frames[at])
    elif kind == 2:
        other = chance.randrange(len(frames))
        frames[at], frames[other] = frames[other], frames[at]
    elif kind == 3 and len(said) >= 9:
        said[chance.randrange(3, 9)] = chance.choice((0, 1, 2, 3, 4, 5, 8, 9, chance.randrange(256)))
    elif kind == 4:
        said[chance.randrange(len(said) or 1) : 0] = chance.randbytes(chance.randint(1, 9))
    elif kind == 5 and said:
        said[chance.randrange(len(said))] = chance.randrange(256)
    elif kind == 6:
        frames.insert(at, _any_frame(chance))
    else:
        flood = _any_frame(chance)
        frames.insert(at, flood * chance.choice((2, 100, 3000)))
    if kind in (3, 4, 5):
        frames[at] = bytes(said)


def _any_frame(chance: Random) -> bytes:
    kind = chance.choice((DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION))
    payload = chance.choice(
        (
            b"",
            chance.randbytes(8),
            chance.choice(NUMBERS).to_bytes(4, "big"),
            b"\0\x04" + chance.choice(NUMBERS).to_bytes(4, "big"),
            chance.randbytes(chance.randrange(100)),
        )
    )
    return frame(kind, chance.randrange(256), chance.choice((0, 1, 3, 5, 2, 99)), payload)
