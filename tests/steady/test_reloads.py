"""Policies change under load; `make reloads` does more of this."""

from pathlib import Path

import pytest

from tests.steady.reloads import CHECKS_AFTER_A_REPORT, Caller, Site, run
from tests.unit.control.server_process import Served

RELOADS = 30


@pytest.mark.parametrize("listen", ["unix:check-{worker}.sock", "127.0.0.1:0"])
def test_each_decision_is_of_one_revision_and_none_is_older_than_what_was_reported(tmp_path: Path, listen: str) -> None:
    """Its effect and its rule are those of the revision that it names, on every worker, over both transports."""
    figures = run(tmp_path, RELOADS, listen)
    assert figures.wrong == []
    assert figures.after_reports == RELOADS * CHECKS_AFTER_A_REPORT
    assert figures.under_load > 0


def test_a_decision_of_an_older_revision_is_noticed(tmp_path: Path) -> None:
    """As is one that is not what its revision says."""
    served = Served(tmp_path)
    served.prepare()
    site = Site(served)
    name = site.edit(2)
    with served.running():
        wrong: list[str] = []
        caller = Caller(served.endpoints()[0], site, wrong)
        caller.ask()
        assert wrong == []
        site.reported = 3
        caller.ask()
        assert [line.partition(": ")[2] for line in wrong] == ["policies 2 decided after 3 were reported"]
        site.reported = 2
        site.numbers[name] = 4
        caller.ask()
        assert "policies 4 decided" in wrong[-1]
        caller.close()
