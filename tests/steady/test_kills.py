"""The short form of `python -m tests.steady.kills`."""

import random

import pytest

from tests.steady.kills import kill_workers, one_server


def test_kills_leave_nothing_behind_and_lose_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither descriptors nor files nor processes pile up, and each decision that a client saw is on record."""
    with one_server(tmp_path_factory.mktemp("kills"), "lean") as replicas:
        outcome = kill_workers(replicas, kills=4, every_s=0.0, rate=50, chance=random.Random(1))
    assert outcome.faults == []
