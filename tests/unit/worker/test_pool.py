"""The threads that answer calls."""

import threading

import pytest

from authz_server.dev.waiting import wait_until
from authz_server.worker.pool import MAX_WAITING_CALLS, THREADS, CallPool
from tests.unit.control.fleet import PATIENCE_S


def test_too_many_waiting_calls_are_an_overload() -> None:
    """What has not been begun in time need not be begun at all."""
    pool, go_on = CallPool(), threading.Event()
    for _ in range(THREADS + MAX_WAITING_CALLS):
        pool.submit(go_on.wait, PATIENCE_S)
    wait_until(lambda: not pool.is_overloaded(), PATIENCE_S, "all threads to be busy")
    pool.submit(go_on.wait, PATIENCE_S)
    assert pool.is_overloaded()
    go_on.set()
    wait_until(lambda: not pool.is_overloaded(), PATIENCE_S, "the calls to be answered")


def test_a_call_that_raises_ends_no_thread(capfd: pytest.CaptureFixture[str]) -> None:
    """As many calls as ever are answered at once afterwards."""
    pool, all_busy = CallPool(), threading.Barrier(THREADS + 1, timeout=PATIENCE_S)
    for _ in range(2 * THREADS):
        pool.submit(int, "no number")
    for _ in range(THREADS):
        pool.submit(all_busy.wait)
    all_busy.wait()
    assert "call_failed" in "".join(capfd.readouterr())
