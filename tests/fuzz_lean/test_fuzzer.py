"""A short run of what `make fuzz-lean` does for as long as one likes, and that each of its eyes sees."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from authz_server.worker.lean import connection, field_blocks, heads, outgoing, streams, unary
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.frames import FrameType, frame
from tests.fuzz_lean import __main__ as command
from tests.fuzz_lean.fuzzer import check, defects, run_case, serve
from tests.fuzz_lean.reference import Fields, Reading
from tests.fuzz_lean.traffic import traffic

Patch = Callable[[pytest.MonkeyPatch], None]


def replaced(owner: Any, name: str, change: Callable[[Any], Any]) -> Patch:
    """Puts something in place of a function of the transport, made of that function."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, change(getattr(owner, name)))


def _slowly(act: Any) -> Any:
    def slow(*arguments: Any) -> None:
        end = time.process_time() + 0.6
        while time.process_time() < end:
            pass
        act(*arguments)

    return slow


def _by_size(receive: Any) -> Any:
    """Looks only at what came last."""

    def forgetful(self: Connection, data: bytes) -> None:
        if len(self._rest) == 3:
            self._rest = b""
        receive(self, data)

    return forgetful


def _twice(end: Any) -> Any:
    def both(self: Connection, number: int, stream: streams.Stream, framed: bytes) -> None:
        if stream.head.refusal is None and unary.wrong(framed) is None:
            self._take(number, stream.head, framed[5:])
        end(self, number, stream, framed)

    return both


def _mixed_up(keep: Any) -> Any:
    def first(self: field_blocks.KnownBlocks, block: bytes, head: Any) -> None:
        keep(self, block, next(iter(self._heads.values()), head))

    return first


def _raises(*_: Any) -> None:
    raise KeyError("a defect")


def _leaks(release: Any) -> Any:
    def leak(self: streams.Streams, stream: streams.Stream) -> None:
        before = self._held.bytes
        release(self, stream)
        if before > 10_000:
            self._held.bytes += 1

    return leak


def _answers_all_pings(_: Any) -> Any:
    def ping(self: Connection, _number: int, _flags: int, payload: bytes) -> None:
        self.outgoing.frames += [frame(FrameType.PING, 1, 0, payload)] * 100

    return ping


FAULTS: dict[str, Patch] = {
    "an exception": replaced(Connection, "_goaway", lambda _: _raises),
    "too much time": replaced(Connection, "_priority", _slowly),
    "too much is sent": replaced(Connection, "_ping", _answers_all_pings),
    "frames that are none": replaced(outgoing, "whole_message", lambda make: lambda *given: make(*given)[:-1]),
    "an answer for another stream": replaced(
        outgoing, "whole_message", lambda make: lambda stream, message: make(stream + 2, message)
    ),
    "another answer": replaced(
        outgoing, "whole_message", lambda make: lambda stream, message: make(stream, message[::-1])
    ),
    "a message with its padding": replaced(connection, "content", lambda _: lambda _flags, payload: payload),
    "a message without its last part": replaced(
        streams.Streams, "message", lambda whole: lambda self, stream, part: whole(self, stream, part[:-1] + b"!")
    ),
    "a call that is taken twice": replaced(Connection, "_end", _twice),
    "a call that was given up": replaced(Connection, "_rst_stream", lambda _: lambda *_arguments: None),
    "a wrong length of the content": replaced(heads.Head, "content_length", lambda _: None),
    "a block that means another one": replaced(field_blocks.KnownBlocks, "keep", _mixed_up),
    "an entry of the table that is not kept": replaced(
        field_blocks,
        "without_long_values",
        lambda cut: lambda block, _table_bytes: cut(block, 0),
    ),
    "bytes that stay": replaced(streams.Streams, "_release", _leaks),
    "the window of a stream": replaced(
        outgoing.Outgoing, "widen_stream", lambda widen: lambda self, stream, more: widen(self, stream, more + 10_000)
    ),
    "the window of the connection": replaced(
        outgoing.Outgoing, "widen", lambda widen: lambda self, more: widen(self, more + 10_000)
    ),
    "a window that shrinks": replaced(
        outgoing.Outgoing, "resize", lambda size: lambda self, window: size(self, max(window, 70_000))
    ),
    "an answer that stays": replaced(outgoing.Outgoing, "widen", lambda _: lambda _self, _more: []),
    "other pieces": replaced(Connection, "receive", _by_size),
    "an honest client that is refused": replaced(Connection, "_priority", lambda _: Connection._push_promise),
}


@pytest.mark.parametrize("seed", range(12))
def test_no_case_shows_a_defect(seed: int) -> None:
    """Whatever a client says."""
    assert run_case(seed)[1] == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found(fault: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of what must hold is looked at: without the code that sees to it there is a finding."""
    fault(monkeypatch)
    assert any(next(defects(seed, Random(seed)), None) for seed in range(40))  # noqa: S311


def test_clients_get_far() -> None:
    """Most calls of honest clients are taken, and what is damaged is not refused at once."""
    chance = Random(5)  # noqa: S311 - the same each time
    honest, damaged, failed = 0, 0, 0
    for _ in range(100):
        said = traffic(chance)
        outcome = serve(said.parts)
        if said.honest:
            honest += len(outcome.calls)
        else:
            damaged += len(outcome.calls)
            failed += outcome.failed
    assert honest > 150
    assert damaged > 50
    assert 5 < failed < 60


def test_a_case_is_the_same_for_the_same_seed() -> None:
    """It can be tried again."""
    one, other = (traffic(Random(7)) for _ in range(2))  # noqa: S311
    assert one == other
    check(one, Random(7))  # noqa: S311


def test_the_reference_reads_what_the_rfc_shows() -> None:
    """RFC 7541 appendix C.4, three requests with a table, and C.6.1 by way of Huffman code."""
    fields = Fields()
    assert fields.read(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))[3] == (b":authority", b"www.example.com")
    assert fields.read(bytes.fromhex("828684be5886a8eb10649cbf"))[3:] == [
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ]
    third = fields.read(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third[3:] == [(b":authority", b"www.example.com"), (b"custom-key", b"custom-value")]
    assert Reading(b"nothing of the kind").calls == {}


def test_the_command_runs_for_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its progress, and exit code 0 where nothing was found."""
    findings = tmp_path / "findings.txt"
    assert command.main(["--seconds", "0", "--start", "0", "--findings", str(findings)]) == 0
    assert "0 findings" in capsys.readouterr().out
    assert not findings.exists()
