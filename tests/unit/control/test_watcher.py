"""Changes of files are told of, however they are made."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from authz_server.control.watcher import watch

PATIENCE_S = 20


def write_in_place(directory: Path, number: int) -> None:
    """Write into the file."""
    (directory / "orders.yaml").write_text(str(number))


def rename_over(directory: Path, number: int) -> None:
    """What editors do: a new file takes the name of the old one."""
    draft = directory.parent / "draft"
    draft.write_text(str(number))
    draft.rename(directory / "orders.yaml")


def delete(directory: Path, number: int) -> None:
    """Remove a file that was there at the beginning."""
    (directory / f"{number}.yaml").unlink(missing_ok=True)


def add_below_a_folder(directory: Path, number: int) -> None:
    """A file in a namespace."""
    (directory / "shop" / f"{number}.yaml").write_text("")


def swap_data_link(directory: Path, number: int) -> None:
    """What Kubernetes does to a mounted ConfigMap: the link `..data` is replaced."""
    link = directory.parent / "link"
    link.symlink_to(f"..{number}")
    link.rename(directory / "..data")


def replace_directory(directory: Path, number: int) -> None:
    """The whole directory is another one."""
    shutil.rmtree(directory)
    directory.mkdir()


async def told(change: Callable[[int], None], directory: Path, files: list[Path]) -> bool:
    """Whether the change, made again and again, is told of: nobody can tell when the watch has been set up."""
    heard = asyncio.Event()
    watching = asyncio.create_task(watch(directory, files, heard.set))
    try:
        for number in range(100 * PATIENCE_S):
            change(number)
            await asyncio.sleep(0.01)
            if heard.is_set():
                return True
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return False


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    (directory / "shop").mkdir(parents=True)
    for number in range(200):
        (directory / f"{number}.yaml").write_text("")
    return directory


@pytest.mark.parametrize(
    "change", [write_in_place, rename_over, delete, add_below_a_folder, swap_data_link, replace_directory]
)
def test_a_change_below_the_directory_is_told_of(directory: Path, change: Callable[[Path, int], None]) -> None:
    """Within moments; what the change means is for others to find out."""
    assert asyncio.run(told(lambda number: change(directory, number), directory, []))


@pytest.mark.parametrize("change", [write_in_place, rename_over])
def test_a_change_of_a_single_file_is_told_of(
    tmp_path: Path, directory: Path, change: Callable[[Path, int], None]
) -> None:
    """Also one that is replaced, such as a certificate."""
    other = tmp_path / "certs" / "keys"
    other.mkdir(parents=True)
    assert asyncio.run(told(lambda number: change(other, number), directory, [other / "orders.yaml"]))


def test_a_directory_that_comes_later_is_told_of(tmp_path: Path) -> None:
    """Policies that are not there yet do not keep the watch from seeing them come."""

    def come(number: int) -> None:
        if number == 10:
            (tmp_path / "policies").mkdir()

    assert asyncio.run(told(come, tmp_path / "policies", []))
