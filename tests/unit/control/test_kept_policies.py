"""The policies that decided last, on disk: what may be used of them, and what may not."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from authz_server.control.checked_file import NothingKept
from authz_server.control.kept_policies import KeptPolicies, Size
from authz_server.policy.files import read_directory
from tests.builders import write_policies
from tests.unit.control.server_process import POLICY

ACTIVATED = 1772442000.5
FORMAT = b"authz-server last good policies, format 1\n"


@pytest.fixture(name="last_good")
def _last_good(tmp_path: Path) -> KeptPolicies:
    """With two files kept, one of them in a folder with a name that is no UTF-8."""
    directory = write_policies(tmp_path / "policies", {"orders.yaml": POLICY, "shop/more.yaml": "kind: roles"})
    (directory / os.fsdecode(b"\xff.yaml")).write_text("# odd\n")
    kept = KeptPolicies(tmp_path / "kept", directory)
    kept.write(read_directory(directory)[0], ACTIVATED, Size(2, 3))
    return kept


def test_what_was_kept_comes_back(last_good: KeptPolicies, tmp_path: Path) -> None:
    """The very files, by path, folders and content, and when they began to decide; for the owner alone."""
    assert last_good.read() == (ACTIVATED, read_directory(tmp_path / "policies")[0], (2, 3))
    assert last_good.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "policies"]


def rewritten(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    """Changes what is kept, with a checksum that fits."""

    def rewrite(path: Path) -> None:
        kept = msgspec.msgpack.decode(path.read_bytes()[len(FORMAT) + 32 :])
        change(kept)
        payload = msgspec.msgpack.encode(kept)
        path.write_bytes(FORMAT + sha256(payload).digest() + payload)

    return rewrite


def flip(path: Path, at: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def link_elsewhere(path: Path) -> None:
    """Put a symbolic link in place of the file."""
    path.rename(path.with_name("target"))
    path.symlink_to("target")


def into_directory(path: Path) -> None:
    """Put a directory in place of the file."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (Path.unlink, "there is none yet"),
        (lambda path: path.write_bytes(b""), "no file of this format"),
        (lambda path: flip(path, len(FORMAT) - 2), "no file of this format"),
        (lambda path: flip(path, len(FORMAT)), "its checksum is wrong"),
        (lambda path: flip(path, -1), "its checksum is wrong"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its checksum is wrong"),
        (lambda path: path.write_bytes(FORMAT + sha256(b"").digest()), "it cannot be read"),
        (rewritten(lambda kept: kept.update(files=1)), "it cannot be read"),
        (rewritten(lambda kept: kept.update(directory=b"/elsewhere")), "another directory of policies, '/elsewhere'"),
        (rewritten(lambda kept: kept.update(revision="r")), "not those of its revision 'r'"),
        (rewritten(lambda kept: kept.update(files=[[b"orders.yaml", b"kind: roles"]])), "not those of its revision"),
        (lambda path: path.chmod(0o640), "others may use it: its mode is 0640, not 0600"),
        (lambda path: path.chmod(0o602), "others may use it"),
        (lambda path: os.link(path, path.with_name("second")), "no regular file of its own"),
        (link_elsewhere, "cannot be opened"),
        (into_directory, "no regular file of its own"),
    ],
)
def test_what_may_not_be_used_is_refused_with_the_reason(
    last_good: KeptPolicies, damage: Callable[[Path], None], problem: str
) -> None:
    """Damaged, of another directory, or where somebody else could have put it."""
    damage(last_good.path)
    with pytest.raises(NothingKept, match=problem):
        last_good.read()


def test_the_file_of_another_user_is_refused(last_good: KeptPolicies, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that others can write, the owner tells who made it."""
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NothingKept, match=f"belongs to the user {owner}"):
        last_good.read()


def test_a_write_that_fails_leaves_what_was_there(last_good: KeptPolicies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and nothing beside it."""
    before = last_good.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        last_good.write([], ACTIVATED)
    assert last_good.path.read_bytes() == before
    assert sorted(path.name for path in last_good.path.parent.iterdir()) == ["kept", "policies"]
