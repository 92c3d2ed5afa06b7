"""Reads a directory of policies, all of it as it stood at one time."""

import errno
import os
import re
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from authz_server.bounds import MIB, Bound
from authz_server.documents.problem import Position, Problem
from authz_server.documents.source import MAX_BYTES, printable
from authz_server.documents.suggest import quoted
from authz_server.policy.values import is_name

MAX_FILES = 10_000
MAX_ENTRIES = 2 * MAX_FILES
MAX_TOTAL_BYTES = 64 * MIB
POLICIES = Bound(
    "policy files",
    "server",
    entries=MAX_FILES,
    bytes=MAX_TOTAL_BYTES,
    holds="The text of all policies, while they are read.",
    full="They are refused (`too_many_policies`), and the last good ones stay.",
)
MAX_FOLDERS = 16
_MISSING_DIRECTORY = "missing_directory"
"""The code where the directory itself is not there."""

_ATTEMPTS = 5
_SUFFIXES = (".yaml", ".yml")
# Hidden files and folders, and what editors leave behind: vim's `4913` and `x.swp`, emacs' `#x#`, everybody's `x~`.
_IGNORED = re.compile(r"\..*|#.*#|.*~|4913|.*\.sw[a-p]", re.DOTALL)


class PolicyFile(Struct, frozen=True):
    """A file as it was read."""

    path: str
    """Relative to the directory, with `/` between the names."""
    shown: str
    """The name that messages show."""
    folders: tuple[str, ...]
    content: bytes
    digest: str
    """SHA-256 of the content, hexadecimal."""


class _Entry(Struct, frozen=True):
    """A file that is to be read; that two entries are equal means that nothing was written in between."""

    path: str
    shown: str
    folders: tuple[str, ...]
    real_path: str
    state: tuple[int, ...]


def read_directory(directory: Path) -> tuple[list[PolicyFile], list[Problem]]:
    """The policy files below the directory, sorted by path, and what is there but cannot be taken for one.

    A directory that changes while it is read is read again.
    """
    for _ in range(_ATTEMPTS):
        before = _Walk(directory)
        files, problems = _read(before.entries)
        if _Walk(directory).entries == before.entries:
            return files, before.problems + problems
    return [], [_problem(str(directory), "changing_directory", "the directory keeps changing while it is read")]


def are_none(files: Sequence[PolicyFile], problems: Sequence[Problem]) -> bool:
    """Whether a directory, by what was read of it, has nothing in it, or is not there."""
    return not files and all(problem.code == _MISSING_DIRECTORY for problem in problems)


def is_policy_file(path: str) -> bool:
    """Whether the file with this path below the directory is one, by its name."""
    return path.endswith(_SUFFIXES) and not is_ignored(path)


def is_ignored(path: str) -> bool:
    """Whether a path below the directory is one that nobody looks at: hidden, or left behind by an editor."""
    return any(_IGNORED.fullmatch(name) for name in path.split("/"))


def no_namespace(name: str) -> tuple[str, str]:
    """What is wrong with a folder of this name, and what to do."""
    return f"the folder {quoted(name)} is no namespace", "lower-case letters, digits and hyphens make its name"


def policy_file(directory: Path, path: str, content: bytes) -> PolicyFile:
    """The file with this path below the directory and this content, wherever that comes from."""
    folders = tuple(path.split("/")[:-1])
    return PolicyFile(path, _shown(str(directory / path)), folders, content, sha256(content).hexdigest())


def revision(files: Sequence[PolicyFile]) -> str:
    """One hash of the names and contents of all files, whatever their order: 32 hexadecimal digits."""
    whole = sha256()
    for file in sorted(files, key=lambda file: file.path):
        name = os.fsencode(file.path)
        whole.update(b"%d:%b%b" % (len(name), name, file.digest.encode()))
    return whole.hexdigest()[:32]


class _Walk:
    """One look at the directory and all folders below it."""

    def __init__(self, directory: Path) -> None:
        self.entries: list[_Entry] = []
        self.problems: list[Problem] = []
        self._root = os.path.realpath(directory)
        self._looked_at = 0
        self._folder(str(directory), (), frozenset())
        self.entries.sort(key=lambda entry: entry.path)

    def _folder(self, path: str, folders: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        try:
            info = os.stat(path)
            names = sorted(os.listdir(path))
        except OSError as error:
            code = _MISSING_DIRECTORY if error.errno == errno.ENOENT and not folders else "unreadable_directory"
            self._report(path, code, f"the directory cannot be read: {error.strerror}")
            return
        identity = (info.st_dev, info.st_ino)
        if identity in above or len(folders) > MAX_FOLDERS:
            message = "the link leads back up" if identity in above else f"over {MAX_FOLDERS} folders in each other"
            self._report(path, "symlink_loop" if identity in above else "too_deep", message)
        elif self._is_safe(path, info):
            for name in names:
                if not _IGNORED.fullmatch(name):
                    self._item(os.path.join(path, name), name, folders, above | {identity})

    def _item(self, path: str, name: str, folders: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        self._looked_at += 1
        if self._looked_at > MAX_ENTRIES:
            if self._looked_at == MAX_ENTRIES + 1:
                # Links that fan out make a small tree an endless one.
                self._report(path, "too_many_policies", f"over {MAX_ENTRIES:,} files and folders, links followed")
            return
        try:
            info = os.stat(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._report(path, "symlink_loop", "the link leads round in a circle")
            elif name.endswith(_SUFFIXES):
                self._report(path, "unreadable_file", f"the file cannot be read: {error.strerror}")
            return
        if stat.S_ISDIR(info.st_mode):
            found = len(self.entries)
            self._folder(path, (*folders, name), above)
            if len(self.entries) > found and not is_name(name):
                self._report(path, "invalid_name", *no_namespace(name))
        elif name.endswith(_SUFFIXES) and self._is_safe(path, info):
            relative = "/".join((*folders, name))
            # Everything that a write, a rename over it or a change of its mode would alter.
            state = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
            self.entries.append(_Entry(relative, _shown(path), folders, os.path.realpath(path), state))

    def _is_safe(self, path: str, info: os.stat_result) -> bool:
        real_path = os.path.realpath(path)
        if real_path != self._root and not real_path.startswith(os.path.join(self._root, "")):
            self._report(path, "symlink_outside", "the link leads out of the directory of policies", "put a copy here")
        elif not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
            self._report(path, "not_a_file", "this is no regular file", "remove it")
        elif info.st_mode & stat.S_IWOTH:
            self._report(
                path, "world_writable", "everybody on this machine can write here", f"chmod o-w {_shown(path)}"
            )
        else:
            return True
        return False

    def _report(self, path: str, code: str, message: str, hint: str = "") -> None:
        self.problems.append(_problem(path, code, message, hint))


def _read(entries: list[_Entry]) -> tuple[list[PolicyFile], list[Problem]]:
    files: list[PolicyFile] = []
    problems: list[Problem] = []
    size = 0
    for entry in entries:
        try:
            # Never a file that somebody has put in the place of the one that was looked at, nor a wait for its writer.
            descriptor = os.open(entry.real_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as stream:
                is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
                content = stream.read(MAX_BYTES + 1) if is_file else b""
        except OSError as error:
            problems.append(_problem(entry.shown, "unreadable_file", f"the file cannot be read: {error.strerror}"))
            continue
        if not is_file:
            problems.append(_problem(entry.shown, "not_a_file", "this is no regular file", "remove it"))
            continue
        size += len(content)
        if size > MAX_TOTAL_BYTES or len(files) == MAX_FILES:
            message = f"over {MAX_FILES:,} files or {MAX_TOTAL_BYTES:,} bytes of policies"
            return [], [_problem(entry.shown, "too_many_policies", message)]
        digest = sha256(content).hexdigest()
        files.append(PolicyFile(entry.path, entry.shown, entry.folders, content, digest))
    return files, problems


def _problem(path: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(Position(_shown(path), 1, 1), code, printable(message), printable(hint))


def _shown(path: str) -> str:
    return printable(os.fsencode(path).decode(errors="replace"))
