"""Policies in a Git repository: the files of a folder, at a branch, tag or commit. They are never checked out."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from msgspec import Struct

from authz_server.bounds import MIB
from authz_server.control.fetching import FetchFailed
from authz_server.control.settings.repositories import is_commit
from authz_server.control.sources.git_program import Access, GitFailed, GitProgram, TooMuchOutput
from authz_server.control.sources.source import Found, Refused
from authz_server.documents.source import MAX_BYTES, printable
from authz_server.policy.bundle import is_safe_path
from authz_server.policy.files import MAX_FILES, MAX_TOTAL_BYTES, PolicyFile, is_ignored, is_policy_file, policy_file

_LISTING_BYTES = 16 * MIB
_FILES = ("100644", "100755", "100664")
_FETCHED = "refs/fetched"
_PREFIX = "git-"


class _Blob(Struct, frozen=True):
    """A file of a commit."""

    path: str
    oid: str
    size: int


class GitTree:
    """Asks for the commit first, and fetches it alone, without its history."""

    def __init__(self, access: Access, ref: str, folder: str, directory: Path, timeout_s: float) -> None:
        """`directory` is where it works; nothing is left there."""
        self._access = access
        self._ref = ref
        self._folder = folder
        self._directory = directory
        self._timeout_s = timeout_s

    async def fetch(self, seen: str | None) -> Found | None:
        """What is there; None where it is still the version `seen`. Raises FetchFailed, Refused."""
        if is_commit(self._ref) and seen == self._ref:
            return None
        work = await asyncio.to_thread(self._workplace)
        try:
            async with asyncio.timeout(self._timeout_s):
                git = await asyncio.to_thread(GitProgram, self._access, work)
                return await self._fetch(git, seen)
        except TimeoutError:
            raise FetchFailed(f"{self._place}: not done within {self._timeout_s:g} s") from None
        except GitFailed as error:
            raise FetchFailed(f"{self._place}: {error}") from None
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))

    @property
    def _place(self) -> str:
        return self._access.url

    def _workplace(self) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What a run that was killed has left.
        for left in self._directory.glob(f"{_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        return Path(mkdtemp(prefix=_PREFIX, dir=self._directory))

    async def _fetch(self, git: GitProgram, seen: str | None) -> Found | None:
        await git.run("init", "--quiet", "--bare", "--template=")
        wanted = self._ref if is_commit(self._ref) else await self._wanted(git, seen)
        if wanted is None:
            return None
        only = ("--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--quiet")
        await git.run("fetch", *only, "--", self._access.url, f"+{wanted}:{_FETCHED}")
        said = await git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{_FETCHED}^{{commit}}")
        commit = said.decode().strip()
        if is_commit(self._ref) and commit != self._ref:
            # To git, what is no hash of this kind of repository is a name like any other.
            raise FetchFailed(f"{self._place}: there is no commit {self._ref}")
        if commit == seen:
            return None
        try:
            blobs = await self._blobs(git, commit)
            files = await _contents(git, blobs)
        except TooMuchOutput:
            raise _refused("git_too_big", f"over {_LISTING_BYTES:,} bytes of names of files", commit) from None
        return Found(commit, tuple(files), None)

    async def _wanted(self, git: GitProgram, seen: str | None) -> str | None:
        """The full name of the ref; None where its commit is `seen`."""
        names = [self._ref] if self._ref.startswith("refs/") else [f"refs/heads/{self._ref}", f"refs/tags/{self._ref}"]
        try:
            said = await git.run("ls-remote", "--quiet", "--", self._access.url, *names, *(f"{n}^{{}}" for n in names))
        except TooMuchOutput:
            raise FetchFailed(f"{self._place}: it has too many refs of that name") from None
        pairs = [line.split("\t") for line in said.decode(errors="replace").splitlines()]
        there = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
        found = [name for name in names if name in there]
        if not found:
            raise FetchFailed(f"{self._place}: there is no branch or tag `{self._ref}`")
        if len(found) > 1:
            message = f"`{self._ref}` is a branch and a tag; write {' or '.join(found)}"
            raise FetchFailed(f"{self._place}: {message}")
        [name] = found
        return None if seen == there.get(f"{name}^{{}}", there[name]) else name

    async def _blobs(self, git: GitProgram, commit: str) -> list[_Blob]:
        tree = f"{commit}:" if self._folder == "." else f"{commit}:{self._folder}"
        try:
            listing = await git.run("ls-tree", "-r", "-z", "-l", "--full-tree", tree, max_bytes=_LISTING_BYTES)
        except GitFailed:
            raise _refused("git_no_such_path", f"there is no folder `{self._folder}` in it", commit) from None
        blobs = list(_policies_in(listing, commit))
        if len(blobs) > MAX_FILES or sum(blob.size for blob in blobs) > MAX_TOTAL_BYTES:
            message = f"over {MAX_FILES:,} files or {MAX_TOTAL_BYTES:,} bytes of policies"
            raise _refused("git_too_big", message, commit)
        return blobs


def _policies_in(listing: bytes, commit: str) -> Iterator[_Blob]:
    """The policy files; what a directory would have refused is refused."""
    for entry in listing.split(b"\0")[:-1]:
        about, _, name = entry.partition(b"\t")
        mode, kind, oid, size = about.decode().split()
        path = name.decode(errors="replace")
        if is_ignored(path):
            continue
        if kind != "blob" or mode not in _FILES:
            what = "a submodule" if kind == "commit" else "a link"
            raise _refused("git_unsafe_member", f"`{printable(path)[:100]}` is {what}, and no file", commit)
        if not is_policy_file(path):
            continue
        if not is_safe_path(path) or "�" in path:
            raise _refused("git_unsafe_member", f"the name `{printable(path)[:100]}` has no place there", commit)
        # One byte more than a file may have: whoever reads it says so, with its place.
        if int(size) > MAX_BYTES:
            raise _refused("git_too_big", f"`{path}` has over {MAX_BYTES:,} bytes", commit)
        yield _Blob(path, oid, int(size))


async def _contents(git: GitProgram, blobs: list[_Blob]) -> list[PolicyFile]:
    asked = "".join(f"{blob.oid}\n" for blob in blobs).encode()
    room = sum(blob.size + 256 for blob in blobs)
    said = memoryview(await git.run("cat-file", "--batch", max_bytes=room, given=asked))
    files = []
    for blob in blobs:
        head = f"{blob.oid} blob {blob.size}\n".encode()
        if bytes(said[: len(head)]) != head:
            raise GitFailed("git gives something else than what it has listed")
        content, said = bytes(said[len(head) : len(head) + blob.size]), said[len(head) + blob.size + 1 :]
        files.append(policy_file(Path(), blob.path, content))
    return files


def _refused(code: str, message: str, commit: str) -> Refused:
    return Refused(code, f"the commit {commit} cannot be taken: {message}", commit)
