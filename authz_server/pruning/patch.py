"""Changes of files as a patch that `git apply` and `patch -p1` take."""

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from io import StringIO
from pathlib import Path

_NO_END = "\\ No newline at end of file\n"


def patch_of(directory: Path, files: Mapping[str, tuple[bytes, bytes]]) -> str:
    """The patch of files below a directory, from their contents before and after.

    Names are relative to where this runs, or to the directory where it is elsewhere.
    """
    return "".join(line for path in sorted(files) for line in _diff(_shown(directory, path), *files[path]))


def _shown(directory: Path, path: str) -> str:
    try:
        return (directory.absolute() / path).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path


def _diff(name: str, before: bytes, after: bytes) -> Iterator[str]:
    # Lines end with a line feed alone, as for the programs that read patches.
    old, new = ([*StringIO(content.decode(), newline="\n")] for content in (before, after))
    for line in unified_diff(old, new, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n{_NO_END}"
