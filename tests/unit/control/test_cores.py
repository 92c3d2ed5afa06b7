"""How many workers there are."""

from pathlib import Path

import pytest

from authz_server.control.cores import cpu_quota, worker_count


@pytest.mark.parametrize(
    ("cores", "quota", "workers"),
    [(4, None, 4), (4, 2.0, 2), (4, 1.5, 1), (4, 0.5, 1), (2, 8.0, 2)],
)
def test_there_is_a_worker_for_each_core_within_the_quota(cores: int, quota: float | None, workers: int) -> None:
    """A worker without a whole core of time would only make the others wait."""
    assert worker_count(range(cores), quota) == workers


@pytest.fixture(name="proc")
def _proc(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def test_the_smallest_quota_on_the_way_up_holds(tmp_path: Path, proc: Path) -> None:
    """Version 2: a limit of a group above holds for those below it."""
    proc.write_text("0::/pods/authz\n")
    for path, limit in (("pods", "200000 100000"), ("pods/authz", "max 100000")):
        (tmp_path / path).mkdir()
        (tmp_path / path / "cpu.max").write_text(f"{limit}\n")
    assert cpu_quota(proc, tmp_path) == 2.0


def test_the_older_cgroups_are_read_as_well(tmp_path: Path, proc: Path) -> None:
    """Version 1: the quota stands in files of its own, and -1 is no limit."""
    proc.write_text("4:memory:/\n1:cpu,cpuacct:/box\n")
    group = tmp_path / "cpu,cpuacct" / "box"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("150000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(proc, tmp_path) == 1.5
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(proc, tmp_path) is None


def test_in_a_container_the_group_is_the_mount_itself(tmp_path: Path, proc: Path) -> None:
    """The path is the host's and does not exist there."""
    proc.write_text("0::/docker/0123\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cpu_quota(proc, tmp_path) == 0.5


@pytest.mark.parametrize("text", ["", "max 100000", "nonsense", "1 2 3", "1 0", "x y"])
def test_without_a_readable_limit_there_is_none(tmp_path: Path, proc: Path, text: str) -> None:
    """What cannot be read does not keep the server from starting."""
    proc.write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(proc, tmp_path) is None
    assert cpu_quota(tmp_path / "none", tmp_path) is None
