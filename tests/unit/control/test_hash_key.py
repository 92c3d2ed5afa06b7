"""The key of hashes in records is this server's own secret."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from authz_server.control.errors import CannotStart
from authz_server.control.settings import Settings
from authz_server.control.worker_settings import all_worker_settings


def hash_key(directory: Path) -> bytes:
    """What workers are told, of a server with this run directory."""
    settings = Settings(workers=1).model_copy(update={"run_directory": directory})
    [worker] = all_worker_settings(settings, lambda slot: directory / f"ring-{slot}", directory)
    return worker.hash_key


def test_it_is_kept(tmp_path: Path) -> None:
    """So that equal values look equal after a restart as well."""
    key = hash_key(tmp_path)
    assert len(key) == 32
    assert hash_key(tmp_path) == key


def _readable(path: Path) -> None:
    path.chmod(0o640)


def _linked(path: Path) -> None:
    os.link(path, path.with_name("other"))


def _pointing(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:31])


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_readable, "others may use it: its mode is 0640, not 0600"),
        (_linked, "it is no regular file of its own"),
        (_pointing, "it cannot be opened"),
        (_cut, "has 31 bytes and is no key"),
        (_longer, "it is larger than 32 bytes"),
    ],
)
def test_one_that_somebody_else_could_have_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """With what to do about it; and it stays as it is."""
    hash_key(tmp_path)
    spoil(tmp_path / "hash.key")
    before = (tmp_path / "hash.key").read_bytes()
    with pytest.raises(CannotStart, match="remove it for another one") as refused:
        hash_key(tmp_path)
    assert message in str(refused.value)
    assert (tmp_path / "hash.key").read_bytes() == before


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns it can read it."""
    hash_key(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CannotStart, match=f"it belongs to the user {os.getuid()}"):
        hash_key(tmp_path)
