"""What is used of the policies is counted while the server runs, and kept."""

import os
import signal
from pathlib import Path

import pytest

from authz_server.control.checked_file import NothingKept
from authz_server.control.usage import UsageCounter, UsageFile
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from authz_server.policy.plan import Plan
from authz_server.usage.state import State
from tests.builders import plan_of
from tests.unit.control.server_process import PATIENCE_S, Served
from tests.unit.usage.records import DAY, NOW, line

ORDERS = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: reads, effect: allow, from: [{workloads: ["spiffe://shop.example/**"]}], to: [{methods: [GET]}]}
"""


@pytest.fixture(name="plan")
def _plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path / "policies", orders=ORDERS)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> UsageFile:
    return UsageFile(tmp_path / "usage")


def counter(file: UsageFile, now: float = NOW) -> UsageCounter:
    """One that remembers for 90 days."""
    return UsageCounter(file, 90 * DAY, clock=lambda: now)


def kept(file: UsageFile) -> State:
    """What is on disk."""
    return file.read()[0]


def test_what_is_counted_goes_on_in_the_next_run(file: UsageFile, plan: Plan) -> None:
    """With the time from which on it was looked."""
    for now in (NOW, NOW + DAY):
        running = counter(file, now)
        running.take_up(plan)
        running.observe([line(plan, now)])
        running.save(ended=True)
    state, whole = file.read()
    rule = state.rules["orders/reads"]
    assert (whole, state.began, rule.since, rule.seen.count, state.gaps) == (True, NOW, NOW, 2, [])


def test_a_server_that_ended_without_writing_leaves_a_gap(file: UsageFile, plan: Plan) -> None:
    """Something may have been counted that is not on disk."""
    running = counter(file)
    running.take_up(plan)
    running.observe([line(plan, NOW)])
    running.save()
    assert file.read()[1] is False
    counter(file, NOW + 60).save(ended=True)
    [gap] = kept(file).gaps
    assert (gap.why, gap.first, gap.last, gap.records) == ("ended", NOW, NOW + 60, None)


def test_a_candidates_rules_are_counted_with_it(file: UsageFile, plan: Plan, tmp_path: Path) -> None:
    """As long as there is one."""
    candidate = plan_of(tmp_path / "candidate", orders=ORDERS + "      - {id: more, effect: allow, from: anyone}\n")
    running = counter(file)
    for follows in (candidate, None):
        running.take_up(plan, follows)
        running.observe([line(candidate, policies="candidate")])
    running.save()
    assert (kept(file).rules["orders/reads"].seen.count, kept(file).candidate.count) == (1, 1)


def test_nothing_is_written_where_nothing_is_new(file: UsageFile, plan: Plan) -> None:
    """But for the first time, which says that a server runs."""
    running = counter(file)
    running.save()
    file.path.unlink()
    running.save()
    assert not file.path.exists()
    running.observe([line(plan)])
    running.save()
    assert file.path.exists()


def test_a_file_that_cannot_be_used_is_put_aside(file: UsageFile) -> None:
    """Counting begins anew, and the server starts."""
    counter(file).save(ended=True)
    file.path.write_bytes(file.path.read_bytes()[:-1])
    with pytest.raises(NothingKept):
        file.read()
    counter(file, NOW + DAY).save()
    assert kept(file).began == NOW + DAY
    assert file.path.with_name("usage.unusable").exists()


def test_a_disk_that_takes_nothing_is_told(file: UsageFile, plan: Plan) -> None:
    """And what was counted is written when it does again."""
    running = counter(file)
    running.take_up(plan)
    running.observe([line(plan)])
    draft = file.path.with_name(f".{file.path.name}.new")
    draft.mkdir()
    running.save()
    assert running.problem == os.strerror(21)
    draft.rmdir()
    running.save()
    assert running.problem is None
    assert kept(file).rules["orders/reads"].seen.count == 1


def test_what_was_used_long_ago_is_forgotten(file: UsageFile, plan: Plan) -> None:
    """Once a day, and at the start."""
    running = counter(file)
    running.take_up(plan)
    running.observe([line(plan, NOW)])
    running.save(ended=True)
    counter(file, NOW + 91 * DAY).save(ended=True)
    rule = kept(file).rules["orders/reads"]
    assert (rule.uses, rule.seen.count) == ({}, 1)


def test_a_server_counts_and_remembers(tmp_path: Path) -> None:
    """Through a restart, and past a control process that is killed."""
    served = Served(tmp_path)
    served.prepare(audit={"spool": {"size": "4MB"}})
    file = UsageFile(tmp_path / "run" / "usage")
    with served.running():
        assert served.code("GET") == {GrpcCode.OK}
    asked = len(served.decisions())
    state, whole = file.read()
    rule = state.rules["orders/everybody-reads"]
    assert (whole, rule.seen.count, rule.items[None, 0].count) == (True, asked, asked)
    with served.running():
        assert served.code("GET") == {GrpcCode.OK}
        wait_until(lambda: not file.read()[1], PATIENCE_S, "the file says that a server runs")
        served.signal(signal.SIGKILL)
        served.exit_code()
    with served.running():
        pass
    state, whole = file.read()
    assert whole
    assert [gap.why for gap in state.gaps] == ["ended"]
    assert state.rules["orders/everybody-reads"].since == rule.since
