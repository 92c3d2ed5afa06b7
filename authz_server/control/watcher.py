"""Tells of changes below the policy directory and beside single files.

Events are a convenience: they make changes quick, and a rescan of the contents makes up for those that are lost.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
import watchfiles

DEBOUNCE_MS = 400
"""Changes that follow each other are told of together, this long at most."""
_STEP_MS = 50
_PAUSE_S = 1.0


async def watch(directory: Path, files: Iterable[Path], on_change: Callable[[], None]) -> None:
    """Call `on_change` after changes, until cancelled."""
    # A file that is replaced is seen from its directory only. Those can hold a lot else: not what is below them.
    parents = sorted({file.parent for file in files})
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch([directory], on_change, recursive=True))
        if parents:
            group.create_task(_watch(parents, on_change, recursive=False))


async def _watch(places: list[Path], on_change: Callable[[], None], *, recursive: bool) -> None:
    told = False
    while True:
        there = [place for place in places if place.is_dir()]
        try:
            if there:
                await _watch_until_gone(there, on_change, recursive=recursive)
        except Exception as error:  # noqa: BLE001  # the library raises errors of its own, in groups; rescanning goes on
            if not told:
                structlog.get_logger().warning("watch_failed", problem=f"{error}; changes are found by rescanning")
                told = True
        # A directory that is not there (any more) may come (back).
        await asyncio.sleep(_PAUSE_S)
        on_change()


async def _watch_until_gone(places: list[Path], on_change: Callable[[], None], *, recursive: bool) -> None:
    identities = [_identity(place) for place in places]
    changes = watchfiles.awatch(
        *places,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=_STEP_MS,
        recursive=recursive,
        rust_timeout=1000,
        yield_on_timeout=True,
    )
    async for changed in changes:
        if changed:
            on_change()
        if [_identity(place) for place in places] != identities:
            return


def _identity(place: Path) -> tuple[int, int] | None:
    """Which directory this is: one that was replaced is watched anew."""
    try:
        info = place.stat()
    except OSError:
        return None
    return (info.st_dev, info.st_ino)
