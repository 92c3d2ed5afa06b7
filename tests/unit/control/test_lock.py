"""One server to a directory."""

import os
from pathlib import Path

import pytest

from authz_server.control.lock import DirectoryLock, FileLock, Locked


def test_a_second_server_is_told_who_has_the_directory(tmp_path: Path) -> None:
    """The process is named, for whoever has to end it."""
    with DirectoryLock(tmp_path / "run"), pytest.raises(Locked, match=rf"run is in use .*\(process {os.getpid()}\)"):
        DirectoryLock(tmp_path / "run")


def test_a_lock_that_was_released_can_be_taken(tmp_path: Path) -> None:
    """Also again and again."""
    for _ in range(2):
        with DirectoryLock(tmp_path):
            pass


def test_no_lock_is_written_through_a_link(tmp_path: Path) -> None:
    """In a directory that others may write to, it could lead to any file."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".authz.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        DirectoryLock(tmp_path)
    assert victim.read_text() == "mine"


def test_a_file_is_locked_by_itself(tmp_path: Path) -> None:
    """Others beside it can be had by other servers."""
    with FileLock(tmp_path / "a.yaml"), FileLock(tmp_path / "b.yaml"):
        with pytest.raises(Locked, match=r"a\.yaml is in use"):
            FileLock(tmp_path / "a.yaml")
        assert not (tmp_path / "a.yaml").exists()
