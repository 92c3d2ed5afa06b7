"""Collects what the server's image holds: the interpreter, our environment, the libraries that they load; little else.

    python3 image_root.py /root /opt/authz             in the stage that has installed everything
    python3 image_root.py /root /opt/authz git ssh     with these programs as well

The rest of the base image (a package manager, Perl, documentation) would be as much again, and the server needs none
of it.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

TOOLS = ("sh", "cat", "ls", "tar", "test")
"""For `exec` into a container, and for the compose file."""
SYSTEM = (
    *("/bin/sh", "/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/share/zoneinfo"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
)
"""Certificates, time zones, names, where libraries are; some bases have not all of them."""
GIT_PROGRAMS = ("git-remote-http", "git-remote-https")
UNUSED_OF_PYTHON = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo")
UNUSED_OF_DEPENDENCIES = ("cel_expr_python/ext",)
"""Extension modules that only who imports them needs; the engine has its libraries inside."""
WITHOUT_BYTECODE = ("envoy_data_plane", "pygments")
"""Large, and loaded by commands rather than by the server."""
_LIBRARY = re.compile(rb"(/\S+) \(0x")
_ELF = b"\x7fELF"


class Root:
    """A directory that becomes the root of an image."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._taken: set[Path] = set()

    def take(self, path: Path, without: tuple[str, ...] = ()) -> None:
        """Copy a file, a link with what it leads to, or a directory but for what is named, with its libraries."""
        path = self._through_links(path)
        if path in self._taken:
            return
        self._taken.add(path)
        if path.is_dir():
            self._make(path)
            for inside in sorted(path.iterdir()):
                if inside.name not in without:
                    self.take(inside)
        elif path.is_file():
            self._make(path.parent)
            shutil.copy2(path, self._in(path), follow_symlinks=False)
            for library in _libraries(path):
                self.take(library)

    def _through_links(self, path: Path) -> Path:
        """Where the path leads; every link on the way is copied as it is."""
        walked = Path("/")
        parts = list(Path(os.path.abspath(path)).parts[1:])
        while parts:
            walked = walked / parts.pop(0)
            if walked.is_symlink():
                self._link(walked)
                aim = Path(os.path.normpath(walked.parent / os.readlink(walked)))
                parts, walked = [*aim.parts[1:], *parts], Path("/")
        return walked

    def _link(self, link: Path) -> None:
        self._make(link.parent)
        if not self._in(link).is_symlink():
            self._in(link).symlink_to(os.readlink(link))

    def _make(self, directory: Path) -> None:
        for each in (*reversed(directory.parents), directory):
            if not self._in(each).exists():
                self._in(each).mkdir()
                shutil.copystat(each, self._in(each))

    def _in(self, path: Path) -> Path:
        return self._directory / path.relative_to("/")


def _libraries(file: Path) -> Iterator[Path]:
    """The shared libraries that a program or a library loads."""
    with file.open("rb") as stream:
        if stream.read(len(_ELF)) != _ELF:
            return
    found = subprocess.run(["ldd", str(file)], capture_output=True, check=False).stdout
    yield from (Path(os.fsdecode(name)) for name in _LIBRARY.findall(found))


def main(directory: Path, environment: Path, programs: Sequence[str]) -> int:
    """Fill the directory; returns the exit code."""
    for name in WITHOUT_BYTECODE:
        for cache in environment.glob(f"lib/python3*/site-packages/{name}/**/__pycache__"):
            shutil.rmtree(cache)
    for name in UNUSED_OF_DEPENDENCIES:
        for unused in environment.glob(f"lib/python3*/site-packages/{name}"):
            shutil.rmtree(unused)
    for pattern in ("*.pyi", "*.pxd", "*.pyx", "*.c", "*.h"):
        for source in environment.rglob(pattern):
            source.unlink()
    root = Root(directory)
    root.take(environment)
    root.take(Path(sysconfig.get_path("stdlib")), without=(*UNUSED_OF_PYTHON, f"config-{_platform()}"))
    for tool in (*TOOLS, *programs):
        found = shutil.which(tool)
        if found is None:
            print(f"{tool} is missing in the base image", file=sys.stderr)
            return 1
        root.take(Path(found))
    if "git" in programs:
        # Of its many programs those that fetch; all others that it needs are in itself.
        place = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        for name in GIT_PROGRAMS:
            root.take(Path(place, name))
    for name in SYSTEM:
        if os.path.lexists(name):
            root.take(Path(name))
    (directory / "tmp").mkdir()
    (directory / "tmp").chmod(stat.S_ISVTX | 0o777)
    return subprocess.run(["ldconfig", "-r", str(directory)], check=False).returncode


def _platform() -> str:
    """As the directory with what is needed to build an interpreter is named."""
    return f"{sys.version_info.major}.{sys.version_info.minor}-{sysconfig.get_config_var('MULTIARCH')}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
