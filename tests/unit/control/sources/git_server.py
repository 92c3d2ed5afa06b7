"""Git repositories over smart HTTP on loopback, for tests."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.programs import need
from tests.unit.control.issuer_server import answer
from tests.unit.control.sources.bundles import FileServer

BACKEND = ["git", "http-backend"]
IDENTITY = {
    "GIT_AUTHOR_NAME": "ann",
    "GIT_AUTHOR_EMAIL": "ann@shop.example",
    "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@shop.example",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


class Repository:
    """A repository with files that a test chooses, and no working tree."""

    def __init__(self, directory: Path) -> None:
        need("git")
        self.directory = directory
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main")

    def git(self, *arguments: str, given: bytes = b"") -> str:
        """Run git here."""
        environment = {**os.environ, **IDENTITY, "GIT_DIR": str(self.directory)}
        done = subprocess.run(["git", *arguments], env=environment, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        """Keep a content; returns its id."""
        return self.git("hash-object", "-w", "--stdin", "--literally", given=content)

    def tree(self, entries: list[tuple[str, str, str]]) -> str:
        """Keep a folder of modes, ids and names, as they are."""
        kinds = {"040000": "tree", "160000": "commit"}
        lines = [f"{mode} {kinds.get(mode, 'blob')} {oid}\t{name}\0" for mode, oid, name in entries]
        return self.git("mktree", "-z", "--missing", given="".join(lines).encode())

    def commit(self, files: dict[str, str], ref: str = "refs/heads/main") -> str:
        """Let the ref be a commit with these files; returns it."""
        folders: dict[str, dict[str, str]] = {}
        for path, text in files.items():
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {})[name] = text
        entries = [("100644", self.blob(text.encode()), name) for name, text in folders.pop("", {}).items()]
        for folder, inside in folders.items():
            below = [("100644", self.blob(text.encode()), name) for name, text in inside.items()]
            entries.append(("040000", self.tree(below), folder))
        return self.commit_tree(self.tree(entries), ref)

    def commit_tree(self, tree: str, ref: str = "refs/heads/main") -> str:
        """Let the ref be a commit with this tree."""
        commit = self.git("commit-tree", tree, "-m", "a change")
        self.git("update-ref", ref, commit)
        return commit


class GitServer(FileServer):
    """Serves the repositories below a directory; `wants` is what has to be shown for that."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wants: str | None = None
        super().__init__()

    def answer_other(self, request: BaseHTTPRequestHandler) -> None:
        """By the program that comes with git."""
        if self.wants is not None and request.headers.get("authorization") != self.wants:
            answer(b"", 401, www_authenticate='Basic realm="here"')(request)
            return
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("content-length", "0")))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        said = subprocess.run(BACKEND, env=environment, input=body, capture_output=True, check=False).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200 OK").split()[0])
        answer(content, status, **headers)(request)


@contextmanager
def git_server(directory: Path) -> Iterator[GitServer]:
    """A running server."""
    server = GitServer(directory)
    try:
        yield server
    finally:
        server.stop()
