"""The revisions that are kept, and how one of them is put back."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from authz_server.control import replacement
from authz_server.control.kept_policies import Size
from authz_server.control.replacement import BARRIER, NotReplaced, Unfinished
from authz_server.control.revisions import NoRevision, Revisions
from authz_server.control.rollback import RolledBack, roll_back
from authz_server.policy.files import PolicyFile, policy_file, read_directory, revision
from authz_server.policy.loader import load_policies
from tests.builders import write_policies
from tests.unit.control.server_process import POLICY

KIB = 1024
OTHER = POLICY.replace("GET", "PUT")
EMPTY = "kind: namespace\nhosts: [more.shop.example]\n"


def files_of(number: int, size: int = 0) -> list[PolicyFile]:
    """One file, another one for each number."""
    return [policy_file(Path("/p"), "a.yaml", f"# {number}{' ' * size}".encode())]


def kept(directory: Path, keep: int, max_bytes: int, sizes: Sequence[int]) -> list[int]:
    """Which of so many revisions, of these sizes, remain."""
    store = Revisions(directory, Path("/p"), keep, max_bytes)
    for number, size in enumerate(sizes):
        store.write(files_of(number, size), float(number))
        os.utime(directory / revision(files_of(number, size)), (number, number))
    return [int(store.read(name).activated) for name in store.names()]


def test_the_latest_remain(tmp_path: Path) -> None:
    """As many as are wanted, and those that fit; the last one always."""
    assert kept(tmp_path / "few", 3, 100 * KIB, [0] * 5) == [4, 3, 2]
    assert kept(tmp_path / "small", 9, 10 * KIB, [0, 0, 6 * KIB, 0, 6 * KIB]) == [4, 3]
    assert kept(tmp_path / "large", 9, KIB, [0, 9 * KIB]) == [1]
    assert kept(tmp_path / "none", 0, 100 * KIB, []) == []


def test_none_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    """Those of before are removed."""
    Revisions(tmp_path, Path("/p"), 9, KIB).write(files_of(1), 1.0)
    store = Revisions(tmp_path, Path("/p"), 0, KIB)
    store.write(files_of(2), 2.0)
    assert store.names() == []


def test_a_revision_that_decides_again_is_the_latest(tmp_path: Path) -> None:
    """It is kept once, with the time of its last activation."""
    store = Revisions(tmp_path, Path("/p"), 9, 100 * KIB)
    for number, activated in ((1, 1.0), (2, 2.0)):
        store.write(files_of(number), activated, Size(1, 1))
        os.utime(tmp_path / revision(files_of(number)), (activated, activated))
    store.write(files_of(1), 3.0, Size(1, 1))
    assert [store.read(name).activated for name in store.names()] == [3.0, 2.0]


def test_a_revision_is_found_by_its_beginning(tmp_path: Path) -> None:
    """Where it is that of one alone; names of files elsewhere are none."""
    store = Revisions(tmp_path, Path("/p"), 9, 100 * KIB)
    store.write(files_of(1), 1.0)
    [name] = store.names()
    assert store.full_name(name[:4]) == name
    for wrong in ("", name[:3], "../../etc", name[:8].upper() + "X"):
        with pytest.raises(NoRevision, match="is no revision"):
            store.full_name(wrong)
    (tmp_path / (name[:31] + ("0" if name[31] != "0" else "1"))).touch()
    with pytest.raises(NoRevision, match="is the beginning of 2 revisions"):
        store.full_name(name[:4])
    with pytest.raises(NoRevision, match="is no revision"):
        store.read(f"../{tmp_path.name}/{name}")


def test_a_revision_under_another_name_is_refused(tmp_path: Path) -> None:
    """The name is what records speak of."""
    store = Revisions(tmp_path, Path("/p"), 9, 100 * KIB)
    store.write(files_of(1), 1.0)
    (tmp_path / store.names()[0]).rename(tmp_path / ("0" * 32))
    with pytest.raises(NoRevision, match="it holds another one"):
        store.read("0" * 32)
    with pytest.raises(NoRevision, match="is not kept"):
        store.read("1" * 32)


class Scene:
    """A directory with one revision of before, and another one now; both kept."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "policies"
        self.store = Revisions(tmp_path / "revisions", self.directory, 9, 1024 * KIB)
        self.first = self.edit({"orders.yaml": POLICY, "shop/gone.yaml": EMPTY})
        (self.directory / "shop/gone.yaml").unlink()
        self.second = self.edit({"orders.yaml": OTHER, "stock/more.yaml": EMPTY})
        (self.directory / "notes.txt").write_text("mine")

    def edit(self, files: dict[str, str]) -> str:
        """Write these, and keep what is there."""
        write_policies(self.directory, files)
        self.store.write(read_directory(self.directory)[0], 1.0, Size(1, 1))
        return self.here()

    def here(self) -> str:
        """The revision of the directory."""
        return revision(read_directory(self.directory)[0])

    def roll_back(self, name: str, *, force: bool = False) -> RolledBack:
        """To this revision."""
        return roll_back(self.store, self.directory, self.store.read(name), None, force=force)

    def hidden(self) -> list[Path]:
        """What is left of writing."""
        return [path for path in self.directory.rglob("*") if path.name.startswith(".") or path.name == BARRIER]


def test_a_rollback_and_its_undoing(tmp_path: Path) -> None:
    """Files that are no policies stay; the mode of a file is as it was."""
    scene = Scene(tmp_path)
    (scene.directory / "orders.yaml").chmod(0o600)
    done = scene.roll_back(scene.first)
    assert done == RolledBack(scene.first, scene.second, ("orders.yaml", "shop/gone.yaml"), ("stock/more.yaml",))
    assert scene.here() == scene.first
    assert (scene.directory / "orders.yaml").stat().st_mode & 0o777 == 0o600
    assert scene.roll_back(scene.second).before == scene.first
    assert scene.here() == scene.second
    assert (scene.directory / "notes.txt").read_text() == "mine"
    assert scene.hidden() == []
    assert scene.roll_back(scene.second) == RolledBack(scene.second, scene.second, (), ())


def test_an_edit_that_never_decided_is_not_lost(tmp_path: Path) -> None:
    """It is refused, and with force kept first."""
    scene = Scene(tmp_path)
    (scene.directory / "orders.yaml").write_text("kind: half written")
    edited = scene.here()
    with pytest.raises(NotReplaced, match="changes that no server has activated"):
        scene.roll_back(scene.first)
    assert scene.here() == edited
    assert scene.roll_back(scene.first, force=True).before == edited
    assert scene.here() == scene.first
    assert scene.store.read(edited).files[0].content == b"kind: half written"


def test_an_edit_that_cannot_be_kept_is_not_replaced(tmp_path: Path) -> None:
    """Not by force either."""
    scene = Scene(tmp_path)
    (scene.directory / "orders.yaml").write_text("kind: half written")
    edited, wanted = scene.here(), scene.store.read(scene.first)
    nowhere = Revisions(tmp_path / "other", scene.directory, 0, KIB)
    with pytest.raises(NotReplaced, match="cannot be kept"):
        roll_back(nowhere, scene.directory, wanted, None, force=True)
    (scene.directory / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(NotReplaced, match="cannot be read"):
        scene.roll_back(scene.first, force=True)
    (scene.directory / "loop.yaml").unlink()
    assert scene.here() == edited


def test_a_directory_that_is_gone_comes_back(tmp_path: Path) -> None:
    """There is nothing to lose."""
    scene = Scene(tmp_path)
    for path in sorted(scene.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    scene.directory.rmdir()
    assert scene.roll_back(scene.first).before is None
    assert scene.here() == scene.first


def test_a_revision_that_does_not_fit_any_more_is_refused(tmp_path: Path) -> None:
    """A server would not take it."""
    scene = Scene(tmp_path)
    bad = scene.edit({"orders.yaml": "kind: servce"})
    scene.edit({"orders.yaml": OTHER})
    with pytest.raises(NotReplaced, match="does not fit this configuration") as refused:
        scene.roll_back(bad)
    assert refused.value.problems
    assert scene.here() == scene.second


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves nothing behind."""
    scene = Scene(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(NotReplaced, match="No space left"):
            scene.roll_back(scene.first)
    assert scene.here() == scene.second
    assert scene.hidden() == []


@pytest.mark.parametrize("steps", [1, 2])
def test_what_is_interrupted_is_never_served_and_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Of the barrier and two files so many were put in place: no server takes the mixture."""
    scene = Scene(tmp_path)
    put_in_place = replacement._put_in_place
    done: list[str] = []

    def put(root: int, path: str) -> None:
        if len(done) == steps:
            raise OSError(5, "Input/output error")
        done.append(path)
        put_in_place(root, path)

    with monkeypatch.context() as broken:
        broken.setattr(replacement, "_put_in_place", put)
        with pytest.raises(Unfinished, match="did not finish"):
            scene.roll_back(scene.first)
    loaded = load_policies(scene.directory)
    assert loaded.plan is None
    assert BARRIER in str(loaded.problems[0])
    scene.roll_back(scene.first, force=True)
    assert scene.here() == scene.first
    assert scene.hidden() == []


def test_what_somebody_edits_meanwhile_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is refused until somebody has looked."""
    scene = Scene(tmp_path)
    put_in_place = replacement._put_in_place

    def put(root: int, path: str) -> None:
        put_in_place(root, path)
        (scene.directory / "more.yaml").write_text(EMPTY)

    monkeypatch.setattr(replacement, "_put_in_place", put)
    with pytest.raises(Unfinished, match="did somebody edit it"):
        scene.roll_back(scene.first)
    assert load_policies(scene.directory).plan is None


def test_the_owner_of_a_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback by root leaves the server its files; who may not say whose they are rolls back all the same."""
    scene = Scene(tmp_path)
    info = (scene.directory / "orders.yaml").stat()
    owners: list[tuple[int, int]] = []

    def fchown(_: int, user: int, group: int) -> None:
        owners.append((user, group))
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    scene.roll_back(scene.first)
    assert scene.here() == scene.first
    assert owners == [(info.st_uid, info.st_gid)]


def test_two_rollbacks_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    """They would share their drafts and their barrier, and leave a mixture without one."""
    scene = Scene(tmp_path)
    other = os.open(scene.directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(NotReplaced, match="another rollback or promotion in this directory"):
        scene.roll_back(scene.first)
    assert scene.here() == scene.second
    os.close(other)
    assert scene.roll_back(scene.first).before == scene.second


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may not let who rolls back, root perhaps, write and remove files elsewhere."""
    scene = Scene(tmp_path)
    victim, aside = tmp_path / "victim", tmp_path / "aside"
    for path in (victim, victim / "stock", victim / "shop"):
        path.mkdir()
    for name in ("orders.yaml", "stock/more.yaml"):
        (victim / name).write_text("theirs")
    put_in_place = replacement._put_in_place

    def put(root: int, path: str) -> None:
        if not aside.exists():
            scene.directory.rename(aside)
            scene.directory.symlink_to(victim)
        put_in_place(root, path)

    monkeypatch.setattr(replacement, "_put_in_place", put)
    with pytest.raises(Unfinished, match="does not hold the revision"):
        scene.roll_back(scene.first)
    found = {str(path.relative_to(victim)): path.read_text() for path in victim.rglob("*") if path.is_file()}
    assert found == {"orders.yaml": "theirs", "stock/more.yaml": "theirs"}
    assert (aside / BARRIER).exists()


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for what is written there nor for what is removed."""
    scene = Scene(tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "more.yaml").write_text("theirs")
    put_in_place = replacement._put_in_place

    def put(root: int, path: str) -> None:
        if path == BARRIER:
            (scene.directory / "stock").rename(tmp_path / "aside")
            (scene.directory / "stock").symlink_to(victim)
        put_in_place(root, path)

    monkeypatch.setattr(replacement, "_put_in_place", put)
    with pytest.raises(Unfinished, match=r"Not a directory|Too many levels"):
        scene.roll_back(scene.first)
    assert (victim / "more.yaml").read_text() == "theirs"


def test_a_folder_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    """Nothing is changed then."""
    scene = Scene(tmp_path)
    (scene.directory / "shop").rmdir()
    (scene.directory / "shop").symlink_to("stock")
    with pytest.raises(NotReplaced):
        scene.roll_back(scene.first, force=True)
    assert scene.hidden() == []


def test_what_takes_the_place_of_a_link_is_read_by_the_same(tmp_path: Path) -> None:
    """A file whose mode nobody else may write, whatever that of the link's target is."""
    scene = Scene(tmp_path)
    orders = scene.directory / "orders.yaml"
    orders.rename(scene.directory / "target")
    orders.symlink_to("target")
    (scene.directory / "target").chmod(0o660)
    scene.roll_back(scene.first)
    assert not orders.is_symlink()
    assert orders.stat().st_mode & 0o777 == 0o640
