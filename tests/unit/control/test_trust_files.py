"""Keys and bundles in files."""

import re
from pathlib import Path

import pytest

from authz_server.control.keys import NO_KEYS
from authz_server.control.trust_files import TrustFile
from authz_server.identity.keys import parse_jwks

GOOD = b'{"keys": [ ]}'


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "jwks.json"


@pytest.fixture(name="file")
def _file(path: Path) -> TrustFile:
    return TrustFile(path, parse_jwks, NO_KEYS)


def test_a_missing_file_has_the_content_of_none(file: TrustFile) -> None:
    """At the start there is nothing to keep."""
    assert not file.reread()
    assert (file.content, file.problem) == (NO_KEYS, "No such file or directory")


def test_a_change_is_found_by_content(file: TrustFile, path: Path) -> None:
    """Reading the same again is no change."""
    path.write_bytes(GOOD)
    assert file.reread()
    assert not file.reread()
    assert (file.content, file.problem) == (GOOD, None)


@pytest.mark.parametrize("damage", [b"{}", b"", b"\xff", b" " * (2 * 1024 * 1024)])
def test_a_bad_edit_keeps_the_last_good_content(file: TrustFile, path: Path, damage: bytes) -> None:
    """The problem is there to be seen, until the file is mended."""
    path.write_bytes(GOOD)
    file.reread()
    path.write_bytes(damage)
    assert not file.reread()
    assert file.content == GOOD
    assert file.problem is not None
    path.write_bytes(GOOD)
    assert not file.reread()
    assert file.problem is None


def test_a_file_that_is_deleted_keeps_the_last_good_content(file: TrustFile, path: Path) -> None:
    """Deleting is no way to withdraw keys: an empty set is."""
    path.write_bytes(GOOD)
    file.reread()
    path.unlink()
    assert not file.reread()
    assert (file.content, file.problem) == (GOOD, "No such file or directory")


def test_what_is_wrong_is_told_once_and_so_is_its_end(
    file: TrustFile, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or again on demand."""

    def told(*, tell_again: bool = False) -> list[str]:
        file.reread(tell_again=tell_again)
        return re.findall(r"trust_file_\w+", capsys.readouterr().out)

    path.write_bytes(b"{")
    assert told() == ["trust_file_refused"]
    assert told() == []
    assert told(tell_again=True) == ["trust_file_refused"]
    path.write_bytes(b"}")
    assert told() == ["trust_file_refused"]
    path.unlink()
    assert told() == ["trust_file_refused"]
    assert told() == []
    path.write_bytes(GOOD)
    assert told() == ["trust_file_mended"]
    assert told(tell_again=True) == []
