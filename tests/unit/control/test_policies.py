"""The policies in a directory over time: the last good ones stay."""

import os
from pathlib import Path
from textwrap import dedent

import pytest
from structlog.testing import capture_logs

from authz_server.control.policies import PolicyDirectory
from authz_server.policy.compiler import KnownNames
from authz_server.telemetry.control_metrics import ControlMetrics

GOOD = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: anybody-reads
        effect: allow
        from: anyone
        to: [{methods: [GET]}]
"""


class Policies:
    """A directory with one file, and what is known of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.metrics = ControlMetrics(tmp_path / "metrics")
        self.file = tmp_path / "policies" / "orders.yaml"
        self.known = PolicyDirectory(self.file.parent, KnownNames(frozenset(), frozenset()), self.metrics)

    def edit(self, text: str) -> bool:
        """Write the file, and look."""
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(dedent(text))
        return self.known.reread()

    def sample(self, line: str) -> bool:
        """Whether this line is among the metrics."""
        return line in self.metrics.render().decode().splitlines()


@pytest.fixture(name="policies")
def _policies(tmp_path: Path) -> Policies:
    return Policies(tmp_path)


def test_good_policies_are_loaded(policies: Policies) -> None:
    """And are the same plan until their content changes."""
    assert policies.edit(GOOD)
    plan = policies.known.plan
    assert plan is not None
    assert [service.name for service in plan.services] == ["orders"]
    assert not policies.known.reread()
    assert policies.known.plan is plan


def test_without_a_directory_there_are_no_policies(policies: Policies) -> None:
    """The problem says so."""
    assert not policies.known.reread()
    assert policies.known.plan is None
    assert policies.known.problems != ()


@pytest.mark.parametrize("edit", ["kind: servce", "rules: [", ""])
def test_a_bad_edit_keeps_the_last_good_policies(
    policies: Policies, capsys: pytest.CaptureFixture[str], edit: str
) -> None:
    """Every problem is logged with its place and counted; mending it is noticed."""
    policies.edit(GOOD)
    plan = policies.known.plan
    assert not policies.edit(edit)
    assert policies.known.plan is plan
    assert policies.known.problems
    assert policies.sample('authz_reloads_total{result="failed"} 1.0')
    assert policies.sample(f"authz_policy_problems {len(policies.known.problems)}.0")
    assert str(policies.file.parent) in capsys.readouterr().out
    assert not policies.edit(GOOD)
    assert policies.known.problems == ()
    assert policies.sample("authz_policy_problems 0.0")


def test_only_a_revision_that_is_there_is_said_to_be_kept(policies: Policies) -> None:
    """At the start there is none."""
    with capture_logs() as logs:
        policies.edit("kind: servce")
        policies.edit(GOOD)
        policies.edit("kind: servce")
    assert policies.known.plan is not None
    kept = [line.get("revision_kept", "") for line in logs if line["event"] == "policies_refused"]
    assert kept == ["", policies.known.plan.revision]


def test_a_problem_is_told_once(policies: Policies, capsys: pytest.CaptureFixture[str]) -> None:
    """Not at every look."""
    policies.edit("kind: servce")
    assert "policy_problem" in capsys.readouterr().out
    policies.known.reread()
    assert capsys.readouterr().out == ""


def test_a_directory_that_becomes_empty_is_a_bad_edit(policies: Policies) -> None:
    """POL-02: the last good policies stay."""
    policies.edit(GOOD)
    plan = policies.known.plan
    policies.file.unlink()
    assert not policies.known.reread()
    assert policies.known.plan is plan
    assert [problem.code for problem in policies.known.problems] == ["no_policies"]


def test_an_edit_that_keeps_size_and_time_is_found(policies: Policies) -> None:
    """POL-08: contents are compared."""
    policies.edit(GOOD)
    before = policies.file.stat()
    policies.file.write_text(policies.file.read_text().replace("GET", "PUT"))
    os.utime(policies.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert policies.file.stat().st_size == before.st_size
    assert policies.known.reread()


def test_a_plan_that_comes_back_is_another_change(policies: Policies) -> None:
    """Undoing an edit activates what was there before."""
    policies.edit(GOOD)
    assert policies.edit(GOOD.replace("GET", "PUT"))
    assert policies.edit(GOOD)
