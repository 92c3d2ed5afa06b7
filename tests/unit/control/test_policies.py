"""The policies in a directory over time: the last good ones stay."""

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from structlog.testing import capture_logs

from authz_server.control.kept_policies import KeptPolicies
from authz_server.control.policies import PolicyDirectory
from authz_server.identity.settings import IdentitySettings
from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import Judge
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.testing.gate import Gate
from tests.builders import write_policies

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
TESTS = """
    kind: tests
    matrix: {callers: [anonymous], requests: {read: GET /, wipe: DELETE /}, allow: {anonymous: [read]}}
"""
ACTIVATED = 1772442000.0


class Policies:
    """A directory with one file, and what is known of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.metrics = ControlMetrics(tmp_path / "metrics")
        self.file = tmp_path / "policies" / "orders.yaml"
        self.last_good = KeptPolicies(tmp_path / "kept", self.file.parent)
        self.restart()

    def restart(self, *issuers: str, judge: Judge | None = None) -> None:
        """Begin again, with these issuers in the configuration."""
        known = KnownNames(frozenset(issuers), frozenset())
        self.known = PolicyDirectory(self.file.parent, known, self.metrics, self.last_good, judge)

    def keep(self) -> None:
        """As after an activation."""
        self.last_good.write(self.known.take_files(), ACTIVATED)

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


def test_an_edit_whose_tests_fail_is_a_bad_edit(policies: Policies, capsys: pytest.CaptureFixture[str]) -> None:
    """The last good policies stay; the problem is told with its place, and counted, like any other."""
    policies.restart(judge=Gate(IdentitySettings(), 1024, 10.0))
    write_policies(policies.file.parent, {"orders_test.yaml": TESTS})
    assert policies.edit(GOOD)
    plan = policies.known.plan
    assert not policies.edit(GOOD.replace("GET", "GET, DELETE"))
    assert policies.known.plan is plan
    assert [problem.code for problem in policies.known.problems] == ["test_failed"]
    assert policies.sample('authz_reloads_total{result="failed"} 1.0')
    assert policies.sample("authz_policy_problems 1.0")
    told = capsys.readouterr().out
    assert f"{policies.file.parent}/orders_test.yaml:3:56: the test `anonymous: wipe` fails" in told
    assert policies.edit(GOOD.replace("from: anyone", "from: [{anonymous: true}]"))
    assert policies.known.problems == ()


def test_tests_are_not_run_on_policies_with_errors(policies: Policies) -> None:
    """What has an error has no plan to be run on."""
    judged = []
    policies.restart(judge=lambda plan, files: judged.append((plan, files)) or ())  # type: ignore[func-returns-value]
    policies.edit(GOOD.replace("effect", "efect"))
    assert (judged, len(policies.known.problems)) == ([], 1)
    policies.edit(GOOD)
    assert len(judged) == 1


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


def move_away(file: Path) -> None:
    """Let there be no directory."""
    file.parent.rename(file.parent.with_name("elsewhere"))


def put_a_file(file: Path) -> None:
    """Let the directory be a file."""
    move_away(file)
    file.parent.write_text("")


@pytest.mark.parametrize(
    "break_it",
    [lambda file: file.write_text("kind: servce"), Path.unlink, move_away, put_a_file, lambda f: f.chmod(0o666)],
)
def test_with_a_broken_directory_at_the_start_what_was_kept_decides(
    policies: Policies, break_it: Callable[[Path], None]
) -> None:
    """It is known as stale, with its age, until the directory is good; the problems are told as ever."""
    policies.edit(GOOD)
    kept = policies.known.plan
    policies.keep()
    break_it(policies.file)
    policies.restart()
    assert policies.known.reread()
    assert policies.known.plan == kept
    assert policies.known.stale_from == ACTIVATED
    assert policies.known.problems
    assert not policies.known.reread()


def test_a_directory_that_becomes_good_again_replaces_what_was_kept(policies: Policies) -> None:
    """Also where it says the same: what decides is then what is there."""
    policies.edit(GOOD)
    policies.keep()
    policies.file.write_text("kind: servce")
    policies.restart()
    policies.known.reread()
    stale = policies.known.plan
    assert policies.edit(GOOD)
    assert policies.known.plan is not stale
    assert policies.known.plan == stale
    assert policies.known.stale_from is None
    assert policies.known.take_files()
    assert policies.known.take_files() == ()


def test_a_good_directory_wins_whatever_was_kept(policies: Policies) -> None:
    """What was kept is not even looked at, not later either."""
    policies.edit(GOOD)
    policies.keep()
    policies.restart()
    assert policies.edit(GOOD.replace("GET", "PUT"))
    plan = policies.known.plan
    assert policies.known.stale_from is None
    assert not policies.edit("kind: servce")
    assert policies.known.plan is plan


def test_what_was_kept_is_checked_like_a_directory(policies: Policies) -> None:
    """Under another configuration it may say what it should not."""
    policies.restart("corp")
    policies.edit(GOOD.replace("from: anyone", "from: [{users: {issuer: corp}}]"))
    assert policies.known.plan is not None
    policies.keep()
    policies.file.unlink()
    policies.restart()
    with capture_logs() as logs:
        assert not policies.known.reread()
    assert policies.known.plan is None
    [refused] = [line for line in logs if line["event"] == "last_good_refused"]
    assert "does not fit this configuration or version" in refused["problem"]
    assert "corp" in refused["problem"]


def test_what_is_refused_at_the_start_is_not_used_later(policies: Policies) -> None:
    """Why is in the log, once; whoever repairs the file starts again."""
    policies.edit(GOOD)
    policies.keep()
    policies.last_good.path.chmod(0o666)
    policies.file.unlink()
    policies.restart()
    with capture_logs() as logs:
        policies.known.reread()
        policies.last_good.path.chmod(0o600)
        policies.file.write_text("kind: servce")
        policies.known.reread()
    assert policies.known.plan is None
    assert [line["problem"] for line in logs if line["event"] == "last_good_refused"] == [
        "others may use it: its mode is 0666, not 0600"
    ]
