"""Which files of a directory are policies."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from authz_server.policy import files
from authz_server.policy.files import read_directory, revision


def put(directory: Path, *names: str, content: str = "kind: service\n") -> None:
    """Write files with the same content."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def paths(directory: Path) -> list[str]:
    """The paths of the policy files of a directory without problems."""
    found, problems = read_directory(directory)
    assert problems == []
    return [file.path for file in found]


def codes(directory: Path) -> list[tuple[str, str]]:
    """Path below the directory and code of each problem."""
    _, problems = read_directory(directory)
    return [(os.path.relpath(problem.position.file, directory), problem.code) for problem in problems]


def test_yaml_files_are_found_in_all_folders(tmp_path: Path) -> None:
    """Sorted by path, each with its folders; other files are nobody's business."""
    put(
        tmp_path, "b.yaml", "a.yml", "shop/orders.yaml", "shop/eu/orders.yaml", "README.md", "orders.json", "x.yaml.txt"
    )
    found, problems = read_directory(tmp_path)
    assert problems == []
    assert [(file.path, file.folders) for file in found] == [
        ("a.yml", ()),
        ("b.yaml", ()),
        ("shop/eu/orders.yaml", ("shop", "eu")),
        ("shop/orders.yaml", ("shop",)),
    ]


def test_what_editors_and_tools_leave_behind_is_ignored(tmp_path: Path) -> None:
    """Hidden files and folders, backups, swap and probe files."""
    put(
        tmp_path,
        "a.yaml",
        ".a.yaml.swp",
        ".#a.yaml",
        "a.yaml~",
        "#a.yaml#",
        "4913",
        ".git/x.yaml",
        "a.yaml.swp",
        ".yaml",
    )
    os.symlink("nobody@nowhere:1", tmp_path / ".#b.yaml")
    assert paths(tmp_path) == ["a.yaml"]


def test_a_mounted_config_map_is_read_through_its_links(tmp_path: Path) -> None:
    """Kubernetes: files are links into `..data`, which links to a folder with a time as its name."""
    put(tmp_path / "..2026_03_02_10_00_00.1", "orders.yaml", "shop/web.yaml")
    os.symlink("..2026_03_02_10_00_00.1", tmp_path / "..data")
    os.symlink("..data/orders.yaml", tmp_path / "orders.yaml")
    os.symlink("..data/shop", tmp_path / "shop")
    assert paths(tmp_path) == ["orders.yaml", "shop/web.yaml"]


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    """What leaves it is measured from where it leads to."""
    put(tmp_path / "real", "a.yaml")
    os.symlink("real", tmp_path / "link")
    assert paths(tmp_path / "link") == ["a.yaml"]


def _outside_file(directory: Path) -> None:
    put(directory.parent, "outside.yaml")
    os.symlink("../outside.yaml", directory / "x.yaml")


def _outside_folder(directory: Path) -> None:
    put(directory.parent / "outside", "a.yaml")
    os.symlink("../outside", directory / "x.yaml")


def _sibling(directory: Path) -> None:
    put(directory.parent / f"{directory.name}-evil", "a.yaml")
    os.symlink(f"../{directory.name}-evil/a.yaml", directory / "x.yaml")


def _folder_loop(directory: Path) -> None:
    os.symlink(".", directory / "x.yaml")


def _self(directory: Path) -> None:
    os.symlink("x.yaml", directory / "x.yaml")


def _nowhere(directory: Path) -> None:
    os.symlink("nowhere", directory / "x.yaml")


def _fifo(directory: Path) -> None:
    os.mkfifo(directory / "x.yaml")


def _writable_file(directory: Path) -> None:
    put(directory, "x.yaml")
    (directory / "x.yaml").chmod(0o646)


def _writable_folder(directory: Path) -> None:
    put(directory / "x.yaml", "a.yaml")
    (directory / "x.yaml").chmod(0o777)


def _badly_named_folder(directory: Path) -> None:
    put(directory / "x.yaml", "a.yaml")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_outside_file, "symlink_outside"),
        (_outside_folder, "symlink_outside"),
        (_sibling, "symlink_outside"),
        (_folder_loop, "symlink_loop"),
        (_self, "symlink_loop"),
        (_nowhere, "unreadable_file"),
        (_fifo, "not_a_file"),
        (_writable_file, "world_writable"),
        (_writable_folder, "world_writable"),
        (_badly_named_folder, "invalid_name"),
    ],
)
def test_what_only_looks_like_a_policy_is_a_problem(make: Callable[[Path], None], code: str, tmp_path: Path) -> None:
    """Links that leave, loops, pipes, and what everybody can write; the other files are read all the same."""
    directory = tmp_path / "policies"
    put(directory, "a.yaml")
    make(directory)
    assert codes(directory) == [("x.yaml", code)]


def test_a_device_is_a_problem(tmp_path: Path) -> None:
    """Wherever a link to one leads."""
    os.symlink("/dev/zero", tmp_path / "x.yaml")
    assert codes(tmp_path) == [("x.yaml", "symlink_outside")]


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The same as one without policies."""
    assert codes(tmp_path / "none") == [(".", "missing_directory")]


def test_folders_are_nested_only_so_deep(tmp_path: Path) -> None:
    """A tree without end is not walked to its end."""
    deep = tmp_path.joinpath(*["a"] * (files.MAX_FOLDERS + 2))
    put(deep, "a.yaml")
    assert [code for _, code in codes(tmp_path)] == ["too_deep"]


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the bound is refused as a whole."""
    monkeypatch.setattr(files, "MAX_FILES", 2)
    put(tmp_path, "a.yaml", "b.yaml")
    assert paths(tmp_path) == ["a.yaml", "b.yaml"]
    put(tmp_path, "c.yaml")
    assert codes(tmp_path) == [("c.yaml", "too_many_policies")]


def test_a_name_cannot_change_the_terminal(tmp_path: Path) -> None:
    """Control characters and bytes that are not UTF-8 in names of files are shown as replacement characters."""
    put(tmp_path, "a\x1b[2J.yaml")
    (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("kind: service\n")
    found, problems = read_directory(tmp_path)
    assert problems == []
    assert {os.path.basename(file.shown) for file in found} == {"a\ufffd[2J.yaml", "\ufffd.yaml"}
    assert len(revision(found)) == 32


def test_a_file_that_changes_while_the_directory_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes out is what stood there at one time, and not half of the one and half of the other."""
    put(tmp_path, "a.yaml", "b.yaml", content="old")
    reads: list[str] = []
    real_open = os.open

    def open_and_change(path: str, flags: int) -> int:
        if not reads:
            put(tmp_path, "a.yaml", "b.yaml", content="new content")
        reads.append(path)
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", open_and_change)
    found, problems = read_directory(tmp_path)
    assert problems == []
    assert {file.content for file in found} == {b"new content"}
    assert len(reads) == 4


def test_a_directory_that_never_rests_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read only so often."""
    put(tmp_path, "a.yaml")
    real_open = os.open

    def open_and_change(path: str, flags: int) -> int:
        os.replace(tmp_path / "a.yaml", tmp_path / "b.yaml")
        put(tmp_path, "a.yaml")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", open_and_change)
    assert codes(tmp_path) == [(".", "changing_directory")]


def test_the_revision_is_that_of_names_and_contents(tmp_path: Path) -> None:
    """Neither times nor the order of files matter; every byte of a name or a content does."""
    put(tmp_path, "a.yaml", "shop/b.yaml")
    found, _ = read_directory(tmp_path)
    first = revision(found)
    assert revision(list(reversed(found))) == first
    (tmp_path / "a.yaml").touch()
    assert revision(read_directory(tmp_path)[0]) == first
    os.rename(tmp_path / "a.yaml", tmp_path / "c.yaml")
    renamed = revision(read_directory(tmp_path)[0])
    put(tmp_path, "c.yaml", content="kind: servicf\n")
    changed = revision(read_directory(tmp_path)[0])
    assert len({first, renamed, changed}) == 3


def test_a_file_that_cannot_be_read_is_a_problem_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions, for one, which tests that run as root do not have."""
    put(tmp_path, "a.yaml", "b.yaml")
    real_open = os.open

    def refuse(path: str, flags: int) -> int:
        if path.endswith("a.yaml"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    found, problems = read_directory(tmp_path)
    assert [file.path for file in found] == ["b.yaml"]
    assert [str(problem) for problem in problems] == [
        f"{tmp_path}/a.yaml:1:1: the file cannot be read: Permission denied"
    ]
