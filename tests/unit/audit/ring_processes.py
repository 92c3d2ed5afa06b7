"""What the tests of the ring run as processes of its own, to kill them."""

import os
import signal
import sys
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from authz_server.audit import ring
from authz_server.audit.ring import RingConsumer, RingProducer, create_ring


def append_forever(path: Path, first: int) -> None:
    """Append numbered records from three threads, and tell of each on stdout once the ring has it."""
    producer = RingProducer(path)

    def append(thread: int) -> None:
        number = first
        while True:
            record = f"{thread}:{number}:".encode() + b"x" * (number * 37 % 900)
            if producer.append(record):
                os.write(1, f"{thread}:{number}\n".encode())
                number += 1

    threads = [Thread(target=append, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def kill_at_every_opcode(path: Path) -> None:
    """Kill a producer before each single opcode of an append; print what the consumer then finds, one line each."""
    opcodes = 0
    finished = False
    while not finished:
        create_ring(path, ring.MIN_SIZE)
        _go_almost_round(path)
        child = os.fork()
        if child == 0:
            _append_and_die(path, opcodes)
        _, status = os.waitpid(child, 0)
        finished = os.WIFEXITED(status)
        found = _drain(path)
        producer = RingProducer(path)
        producer.append(b"after")
        producer.close()
        print(*found, *_drain(path))  # noqa: T201  # the output is what the test reads
        opcodes += 1


def _go_almost_round(path: Path) -> None:
    """Bring the ring to where the next records go round the end of the data area."""
    producer, consumer = RingProducer(path), RingConsumer(path)
    for _ in range(ring.MIN_SIZE // 512 - 1):
        producer.append(bytes(504))
    consumer.advance(consumer.read())
    producer.append(bytes(480))
    consumer.advance(consumer.read())
    producer.close()
    consumer.close()


def _append_and_die(path: Path, at: int) -> None:
    producer = RingProducer(path)
    producer.append(b"before")
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != ring.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
        return trace

    sys.settrace(trace)
    producer.append(b"during" + b"." * 64)
    sys.settrace(None)
    os._exit(0)


def _drain(path: Path) -> list[str]:
    consumer = RingConsumer(path)
    batch = consumer.read()
    consumer.advance(batch)
    consumer.close()
    return [record.decode().rstrip(".") for record in batch.records] + (["damaged"] if batch.damaged else [])


if __name__ == "__main__":
    if sys.argv[1] == "append":
        append_forever(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        kill_at_every_opcode(Path(sys.argv[2]))
