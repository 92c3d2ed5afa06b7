"""One case: what a client says to a connection, and what must hold of all that the connection does."""

import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from authz_server.errors import GrpcCode
from authz_server.worker.lean.answers import Answer, status_answer
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.streams import Held
from tests.fuzz.runner import Found
from tests.fuzz_lean.dialogue import talk
from tests.fuzz_lean.reference import END_STREAM, Call, Reading, windows
from tests.fuzz_lean.traffic import Traffic, traffic
from tests.unit.worker.lean.wire import Frame, read_frames

CLIENTS = 20
DIALOGUES = 3
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
NO_PLACE = status_answer(GrpcCode.RESOURCE_EXHAUSTED, "full")


class Defect(Exception):
    """Something does not hold."""


class Outcome(NamedTuple):
    """All that a connection has done."""

    sent: list[bytes]
    """After each part of what was said."""
    calls: list[Call]
    answers: dict[int, bytes | Answer]
    failed: bool
    idle: bool
    seconds: float


def run_case(seed: int) -> tuple[int, list[Found]]:
    """How many clients a case has had, and the defects that they have shown."""
    chance = Random(seed)  # noqa: S311 - the same case for the same seed
    return CLIENTS + DIALOGUES, list(defects(seed, chance))


def defects(seed: int, chance: Random) -> Iterator[Found]:
    """The defects that a case shows."""
    for _ in range(CLIENTS):
        said = traffic(chance)
        try:
            check(said, chance)
        except Exception as defect:  # noqa: BLE001  # whatever is raised is what is looked for
            yield Found(seed, f"{type(defect).__name__} {defect}: {said!r}")
    for _ in range(DIALOGUES):
        try:
            talk(chance)
        except Exception as defect:  # noqa: BLE001
            yield Found(seed, f"dialogue: {type(defect).__name__} {defect}")


def check(said: Traffic, chance: Random) -> None:
    """Raises what does not hold."""
    outcome = serve(said.parts)
    whole = b"".join(said.parts)
    _need(outcome.seconds < 0.5 + len(whole) * 1e-5, f"{outcome.seconds:.1f} s of work")
    reading = Reading(whole)
    for call in outcome.calls:
        _need(reading.calls.get(call.stream) == call, f"{call} was never made")
    _need(len({call.stream for call in outcome.calls}) == len(outcome.calls), "a call is taken twice")
    _check_sent(outcome, reading, whole)
    _check_windows(outcome, said.parts)
    if said.honest:
        _need(not outcome.failed, "an honest connection has failed")
        _need({call.stream for call in outcome.calls} == reading.calls.keys(), "a call was not taken")
    split = serve([*said.parts], chance)
    _need(split.sent == outcome.sent and split.calls == outcome.calls, "other pieces have another outcome")


def serve(parts: list[bytes], split: Random | None = None) -> Outcome:
    """Say it to a new connection, in smaller pieces if wanted."""
    calls: list[Call] = []
    answers: dict[int, bytes | Answer] = {}
    due: list[tuple[int, bytes]] = []

    def take(stream: int, head: Head, message: bytes) -> bytes | Answer | None:
        calls.append(Call(stream, head.path, message))
        kind = head.path.rpartition("/")[2]
        if kind == "Later":
            due.append((stream, message))
            return None
        given: dict[str, bytes | Answer] = {"Large": message * 9, "Status": NO_PLACE}
        answers[stream] = given.get(kind, message)
        return answers[stream]

    held, sent = Held(), []
    connection = Connection(take, KnownBlocks(), held, lambda: 0.0)
    begun = time.process_time()
    for part in parts:
        for piece in [part] if split is None else _pieces(part, split):
            connection.receive(piece)
        for stream, answer in due:
            answers[stream] = answer
            connection.answer(stream, answer)
        due.clear()
        sent.append(b"".join(connection.outgoing.frames))
        connection.outgoing.frames.clear()
    seconds = time.process_time() - begun
    idle = connection.idle
    connection.close()
    _need(held.bytes == 0, f"{held.bytes} bytes are held of a connection that is gone")
    return Outcome(sent, calls, answers, connection.failed is not None, idle, seconds)


def _pieces(part: bytes, chance: Random) -> Iterator[bytes]:
    at = 0
    largest = chance.choice((1, 10, 1000, 100_000)) if len(part) < 5000 else 100_000
    while at < len(part):
        size = chance.randint(1, largest)
        yield part[at : at + size]
        at += size


def _check_sent(outcome: Outcome, reading: Reading, said: bytes) -> None:
    """What is sent are whole frames of calls that were made, in an order that a client takes."""
    sent = b"".join(outcome.sent)
    answered = sum(len(answer) for answer in outcome.answers.values() if isinstance(answer, bytes))
    bound = 200 + 3 * len(said) + 10 * answered + 100 * len(outcome.answers)
    _need(len(sent) <= bound, f"{len(sent)} bytes for {len(said)}")
    try:
        frames = list(read_frames(sent))
    except AssertionError:
        raise Defect("what is sent are no frames") from None
    _need(all(one.kind in (0, 1, 3, 4, 6, 7, 8) for one in frames), "a frame that servers do not send")
    _need(not any(one.kind == GOAWAY for one in frames[:-1]), "more after the end")
    for stream in {one.stream for one in frames} - {0}:
        _check_answer([one for one in frames if one.stream == stream], outcome, reading)


def _check_answer(frames: list[Frame], outcome: Outcome, reading: Reading) -> None:
    """What is sent for one stream."""
    stream, kinds = frames[0].stream, [one.kind for one in frames]
    _need(stream in reading.opened, f"frames for stream {stream}, which nobody has opened")
    ends = [number for number, one in enumerate(frames) if one.kind in (DATA, HEADERS) and one.flags & END_STREAM]
    _need(kinds.count(RST_STREAM) <= 1, f"stream {stream} is reset twice")
    _need(not ends or set(kinds[ends[0] + 1 :]) <= {RST_STREAM}, f"stream {stream} goes on behind its end")
    _need(RST_STREAM not in kinds or kinds[-1] == RST_STREAM, f"stream {stream} goes on after its reset")
    content = b"".join(one.payload for one in frames if one.kind == DATA)
    answer = outcome.answers.get(stream)
    fine = any(one.kind == HEADERS and one.fields.get("grpc-status") == "0" for one in frames)
    if isinstance(answer, bytes):
        whole = b"\0" + len(answer).to_bytes(4, "big") + answer
        _need(content == whole if fine else whole.startswith(content), f"stream {stream} has another answer")
    else:
        _need(not fine, f"stream {stream} has an answer that nobody gave")


def _check_windows(outcome: Outcome, parts: list[bytes]) -> None:
    """At no time more was sent than the windows had let through until then."""
    said = b""
    sent: Counter[int] = Counter()
    for part, answer in zip(parts, outcome.sent, strict=True):
        said += part
        for one in read_frames(answer):
            if one.kind == DATA:
                sent[one.stream] += len(one.payload)
        if sent:
            connection, streams = windows(said)
            _need(sent.total() <= connection, "more than the window of the connection")
            _need(all(size <= streams.get(at, streams[0]) for at, size in sent.items()), "more than a stream's window")


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise Defect(what)
