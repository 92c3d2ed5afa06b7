"""Failures of ours end at a border; a cancellation does not."""

import asyncio

import pytest
from structlog.testing import capture_logs

from authz_server.control.border import border


def test_a_failure_is_logged_with_its_place_and_told_in_words() -> None:
    """And what comes after it goes on."""
    told: list[str] = []
    with capture_logs() as logs, border("fetch_failed", told.append, place="here"):
        raise KeyError("a secret")
    assert told == ["a failure inside (KeyError)"]
    assert logs == [{"event": "fetch_failed", "log_level": "error", "place": "here", "exc_info": True}]


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_whoever_is_to_end_ends(end: type[BaseException]) -> None:
    """No border keeps a task or the process alive."""
    told: list[str] = []
    with pytest.raises(end), border("fetch_failed", told.append):
        raise end
    assert told == []
