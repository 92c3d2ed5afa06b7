"""The client of the library h2 talks to a connection: it must understand all that it hears, and get each answer."""

from collections.abc import Callable
from random import Random

import h2.config
import h2.connection
import h2.events
import h2.settings

from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.streams import Held

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "authz"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Dialogue:
    """A client, a server, and the bytes under way between them, which arrive in any pieces."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.known = KnownBlocks()
        self.held = Held()
        self.server = Connection(self._take, self.known, self.held)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.client.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: chance.choice((5_000, 16_384, 65_535, 1_000_000)),
            },
        )
        self.client.initiate_connection()
        self.sending: dict[int, bytes] = {}
        """What is left of requests."""
        self.asked: dict[int, bytes] = {}
        self.got: dict[int, bytes] = {}
        self.status: dict[int, str] = {}
        self.given_up: set[int] = set()
        self._due: list[tuple[int, bytes]] = []
        self._taken: set[int] = set()
        self._to_server = b""
        self._to_client = b""

    def _take(self, stream: int, head: Head, message: bytes) -> bytes | None:
        assert stream not in self._taken, "a call is taken twice"
        self._taken.add(stream)
        assert message == self.asked[stream], "another message than was sent"
        if head.path.endswith("Later"):
            self._due.append((stream, message))
            return None
        return message

    def ask(self) -> None:
        """Begin a call."""
        stream = self.client.get_next_available_stream_id()
        message = self.chance.randbytes(self.chance.choice((0, 1, 100, 5_000, 70_000)))
        path = f"/a.Service/{self.chance.choice(('Later', 'Now'))}"
        extra = [("tracestate", "v" * self.chance.choice((10, 1_500, 4_000)))] if self.chance.random() < 0.2 else []
        self.client.send_headers(stream, [(":path", path), *FIELDS, *extra])
        self.asked[stream] = message
        self.sending[stream] = b"\0" + len(message).to_bytes(4, "big") + message
        self.got[stream] = b""

    def send(self) -> None:
        """Say a piece of some request, as far as the windows allow."""
        stream = self.chance.choice(list(self.sending))
        room = min(self.client.local_flow_control_window(stream), self.client.max_outbound_frame_size - 256)
        size = min(room, self.chance.choice((1, 5, 100, 16_384)), len(self.sending[stream]))
        if size <= 0:
            return
        piece, self.sending[stream] = self.sending[stream][:size], self.sending[stream][size:]
        last = not self.sending[stream]
        padding = self.chance.choice((None, None, None, 0, 255))
        if padding is not None and self.client.local_flow_control_window(stream) < size + padding + 1:
            padding = None
        self.client.send_data(stream, piece, end_stream=last, pad_length=padding)
        if last:
            del self.sending[stream]

    def give_up(self) -> None:
        """Cancel some call that has no answer yet."""
        open_calls = [stream for stream in self.asked if stream not in self.status and stream not in self.given_up]
        if open_calls:
            stream = self.chance.choice(open_calls)
            self.client.reset_stream(stream, 8)
            self.given_up.add(stream)
            self.sending.pop(stream, None)

    def ping(self) -> None:
        """Ask whether the server is there."""
        self.client.ping(self.chance.randbytes(8))

    def answer(self) -> None:
        """Give an answer that took a while."""
        if self._due:
            self.server.answer(*self._due.pop(self.chance.randrange(len(self._due))))

    def carry(self, largest: int | None = None) -> bool:
        """Let a piece of what is under way arrive on either side; returns whether there was anything."""
        self._to_server += self.client.data_to_send()
        size = len(self._to_server) if largest is None else self.chance.randint(0, largest)
        piece, self._to_server = self._to_server[:size], self._to_server[size:]
        self.server.receive(piece)
        self._to_client += b"".join(self.server.outgoing.frames)
        self.server.outgoing.frames.clear()
        size = len(self._to_client) if largest is None else self.chance.randint(0, largest)
        heard, self._to_client = self._to_client[:size], self._to_client[size:]
        for event in self.client.receive_data(heard) if heard else ():
            self._hear(event)
        return bool(piece or heard)

    def _hear(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            self.got[event.stream_id] += event.data or b""
            if event.flow_controlled_length:
                self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            fields = dict(event.headers or ())
            assert event.stream_id is not None
            if b"grpc-status" in fields:
                self.status[event.stream_id] = fields[b"grpc-status"].decode()
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise AssertionError(f"an honest client hears {event}")

    def finish(self) -> None:
        """Say what is left, hear what is left, and check it."""
        for _ in range(100_000):
            if self.sending:
                self.send()
            self.answer()
            if not self.carry() and not self.sending and not self._due:
                break
        assert self.server.idle, "a call stays without an answer"
        assert self.held.bytes == 0, "bytes are held of no call"
        for stream in self.asked.keys() - self.given_up:
            message = self.asked[stream]
            assert self.status.get(stream) == "0", f"stream {stream} has status {self.status.get(stream)}"
            assert self.got[stream] == b"\0" + len(message).to_bytes(4, "big") + message, "another answer"


def talk(chance: Random, steps: int = 150) -> None:
    """One dialogue. Raises where something does not hold."""
    dialogue = Dialogue(chance)
    largest = chance.choice((20, 1_000, 100_000))
    for _ in range(steps):
        actions: list[Callable[[], object]] = [lambda: dialogue.carry(largest)] * 3
        actions += [dialogue.ping, dialogue.answer, dialogue.give_up]
        if dialogue.sending:
            actions += [dialogue.send] * 8
        if len(dialogue.sending) < 8:
            actions += [dialogue.ask] * 3
        chance.choice(actions)()
    dialogue.finish()
