"""Long work beside the thread that answers."""

import sys

import pytest

from authz_server.worker import giving_way as module
from authz_server.worker.giving_way import giving_way
from tests.clocks import set_clock


def test_work_rests_when_its_turn_is_over_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps it has."""
    now: list[float] = [0.0]
    rests: list[float] = []
    set_clock(monkeypatch, module, perf_counter=lambda: now[0], sleep=rests.append)
    with giving_way() as step:
        for _ in range(100):
            now[0] += module.TURN_S / 10
            step()
    assert rests == [module.REST_S] * 9


def test_meanwhile_others_have_long_turns() -> None:
    """And afterwards those that they had, whatever happens."""
    before = sys.getswitchinterval()
    with giving_way():
        assert sys.getswitchinterval() == pytest.approx(module.ANSWERING_TURN_S)
    with pytest.raises(ValueError, match="x"), giving_way():
        raise ValueError("x")
    assert sys.getswitchinterval() == pytest.approx(before)
