"""What the control process takes for a sign of life."""

import asyncio
import socket

import pytest

from authz_server.control.process import WorkerHangs, WorkerProcess


def test_a_worker_that_still_reads_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent before may be much, and it answers when it has read all of it; one that reads no more hangs."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            streams = await asyncio.open_unix_connection(sock=ours)
            process = await asyncio.create_subprocess_exec("sleep", "60")
            worker = WorkerProcess(process, streams, print)
            unread = [3000, 2000, 1000, 1000]
            monkeypatch.setattr(streams[1].transport, "get_write_buffer_size", lambda: unread.pop(0))
            with pytest.raises(WorkerHangs):
                await worker.ping(0.001)
            assert unread == []
            await worker.kill()

    asyncio.run(scenario())
