"""What a worker counts of a candidate."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz_server.telemetry.candidate_counts import candidate_counts
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.candidates import CandidateWatch


@pytest.fixture(name="control")
def _control(tmp_path: Path) -> ControlMetrics:
    return ControlMetrics(tmp_path / "metrics")


@pytest.fixture(name="watch")
def _watch(tmp_path: Path, control: ControlMetrics) -> CandidateWatch:
    return CandidateWatch("r2", WorkerMetrics(tmp_path / "metrics", 0).candidate)


def sample(control: ControlMetrics, decided_by: str, outcome: str) -> float:
    """How often this came."""
    name = f'authz_candidate_decisions_total{{decided_by="{decided_by}",outcome="{outcome}"}} '
    [value] = [line.removeprefix(name) for line in control.render().decode().splitlines() if line.startswith(name)]
    return float(value)


def test_outcomes_and_time_are_counted(tmp_path: Path, control: ControlMetrics, watch: CandidateWatch) -> None:
    """By who decided, from zero on; of a roll-out also how many decisions were made and closed something."""
    assert sample(control, "candidate", "closed") == 0
    watch.compared("opened", 0.25, by_candidate=False)
    watch.compared("closed", 0.5, by_candidate=True)
    watch.compared("same", 0.5, by_candidate=True, denied_by_both=True)
    assert sample(control, "in_force", "opened") == 1
    assert sample(control, "candidate", "closed") == 1
    assert "authz_candidate_seconds_total 1.25" in control.render().decode()
    counts = candidate_counts(tmp_path / "metrics")
    assert (counts.seconds, counts.rolled_out, counts.told, counts.closed) == (1.25, 2, 1, 1)
    assert {key: count for key, count in counts.checks.items() if count} == {
        ("in_force", "opened"): 1,
        ("candidate", "closed"): 1,
        ("candidate", "same"): 1,
    }


def test_a_defect_is_told_once_without_what_it_says(control: ControlMetrics, watch: CandidateWatch) -> None:
    """It may say what a request held; and it may come with every request."""
    with capture_logs() as logs:
        for _ in range(3):
            try:
                raise ValueError("secret")
            except ValueError as error:
                watch.failed(error)
    assert sample(control, "in_force", "failed") == 3
    [told] = logs
    assert (told["event"], told["revision"], told["error"]) == ("candidate_failed", "r2", "ValueError")
    assert "test_candidates.py:" in told["where"]
    assert "secret" not in str(told)
