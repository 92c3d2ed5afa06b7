"""Policies from a Git repository."""

import asyncio
import os
import re
import stat
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from authz_server.control.fetching import FetchFailed
from authz_server.control.settings import Settings
from authz_server.control.sources import git_program, git_tree
from authz_server.control.sources.git_program import Access
from authz_server.control.sources.git_tree import GitTree
from authz_server.control.sources.source import Found, Refused
from tests.programs import need
from tests.unit.control.issuer_server import answer
from tests.unit.control.sources.bundles import FIRST, SECOND, Fetching, follows, goes_on_without
from tests.unit.control.sources.git_server import GitServer, Repository, git_server

Tree = Callable[..., GitTree]


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "policies.git")


@pytest.fixture(name="server")
def _server(repository: Repository) -> Iterator[GitServer]:
    with git_server(repository.directory.parent) as server:
        yield server


@pytest.fixture(name="tree")
def _tree(server: GitServer, tmp_path: Path) -> Tree:
    """What is at that server."""

    def make(ref: str = "main", folder: str = ".", timeout_s: float = 30.0, **access: object) -> GitTree:
        url = f"{server.url}/policies.git"
        return GitTree(Access(url, **access), ref, folder, tmp_path / "work", timeout_s)  # type: ignore[arg-type]

    return make


def fetched(tree: GitTree, seen: str | None = None) -> Found:
    """What is there now."""
    found = asyncio.run(tree.fetch(seen))
    assert found is not None
    return found


def contents(found: Found) -> dict[str, str]:
    """Path -> text."""
    return {file.path: file.content.decode() for file in found.files}


def test_a_branch_is_followed(repository: Repository, tree: Tree, tmp_path: Path) -> None:
    """By its commit; nothing is left of what git needs."""
    follows(lambda: Fetching(tmp_path, tree()), repository.commit)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_host_that_is_down_changes_nothing(
    repository: Repository, server: GitServer, tree: Tree, tmp_path: Path
) -> None:
    """Also over a restart."""
    goes_on_without(lambda: Fetching(tmp_path, tree()), repository.commit, server.stop, server.start)


def test_nothing_is_fetched_where_nothing_is_new(repository: Repository, server: GitServer, tree: Tree) -> None:
    """The refs are asked for alone; of a commit that is there nothing at all."""
    commit = repository.commit(FIRST)
    assert asyncio.run(tree().fetch(commit)) is None
    assert {path.partition("?")[0].rpartition("/")[2] for _, path, _ in server.asked} <= {"refs", "git-upload-pack"}
    asked = len(server.asked)
    fetched(tree())
    assert len(server.asked) > 2 * asked
    server.asked.clear()
    assert asyncio.run(tree(commit).fetch(commit)) is None
    assert server.asked == []


def test_tags_and_commits_are_refs(repository: Repository, tree: Tree) -> None:
    """An annotated tag is the commit that it is about; an earlier commit is had by its hash."""
    first = repository.commit(FIRST)
    repository.git("tag", "-a", "v1", "-m", "the first", first)
    repository.commit(SECOND)
    for ref in ("v1", "refs/tags/v1", first):
        found = fetched(tree(ref))
        assert (found.version, contents(found), found.key) == (first, FIRST, None)
        assert asyncio.run(tree(ref).fetch(first)) is None


def test_a_folder_is_all_that_counts(repository: Repository, tree: Tree) -> None:
    """Of what is outside of it, nothing is looked at; of what is in it, the policies are."""
    text = FIRST["orders.yaml"]
    repository.commit({"README.md": "x", "policies/orders.yaml": text, "policies/notes.txt": "x", "x.yaml": "["})
    assert contents(fetched(tree(folder="policies"))) == FIRST
    repository.commit({"policies/orders.yaml": text, "policies/.hidden.yaml": "[", "policies/x.yaml~": "["})
    assert contents(fetched(tree(folder="policies"))) == FIRST


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("nowhere", "there is no branch or tag `nowhere`"),
        ("refs/heads/v1", "there is no branch or tag `refs/heads/v1`"),
        ("both", "`both` is a branch and a tag; write refs/heads/both or refs/tags/both"),
        ("0" * 40, "git says: fatal: remote error: upload-pack: not our ref"),
    ],
)
def test_a_ref_that_leads_nowhere_is_told(repository: Repository, tree: Tree, ref: str, message: str) -> None:
    """With the repository."""
    commit = repository.commit(FIRST)
    for name in ("refs/tags/v1", "refs/heads/both", "refs/tags/both"):
        repository.git("update-ref", name, commit)
    with pytest.raises(FetchFailed, match=f"/policies.git: {message}"):
        asyncio.run(tree(ref).fetch(None))


@pytest.mark.parametrize("folder", ["nowhere", "orders.yaml"])
def test_a_folder_that_is_not_there_is_refused(repository: Repository, tree: Tree, folder: str) -> None:
    """Once for each commit."""
    commit = repository.commit(FIRST)
    with pytest.raises(Refused, match=f"the commit {commit} cannot be taken: there is no folder `{folder}`") as refused:
        asyncio.run(tree(folder=folder).fetch(None))
    assert (refused.value.code, refused.value.version) == ("git_no_such_path", commit)


def test_a_password_is_shown_to_the_host(repository: Repository, server: GitServer, tree: Tree, tmp_path: Path) -> None:
    """Whatever characters it has; a wrong one is told, and git asks nobody."""
    repository.commit(FIRST)
    (tmp_path / "password").write_text("a:b@c/d %41'\n")
    server.wants = "Basic " + b64encode(b"ann@shop:a:b@c/d %41'").decode()
    known = {"username": "ann@shop", "password_file": tmp_path / "password"}
    assert contents(fetched(tree(**known))) == FIRST
    server.wants = "Basic none"
    with pytest.raises(FetchFailed, match="git says: fatal: Authentication failed for"):
        fetched(tree(**known))
    with pytest.raises(FetchFailed, match="git says: fatal: could not read Username for"):
        fetched(tree())


SSH = """\
#!{python}
import os, sys
open({log!r}, "w").write("\\n".join(sys.argv[1:]))
os.execvp("sh", ["sh", "-c", sys.argv[-1]])
"""


def have_ssh(script: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be what is run for ssh."""
    programs = directory / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(script)
    (programs / "ssh").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


def test_ssh_believes_the_known_host_and_nothing_else(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its options; here a program stands for it that runs on this machine what it should run there."""
    repository.commit(FIRST)
    have_ssh(SSH.format(python=sys.executable, log=str(tmp_path / "log")), tmp_path, monkeypatch)
    url = f"ssh://git@git.shop.example:2222{repository.directory}"
    access = Access(url, ssh_key_file=Path("/keys/deploy key"), known_hosts_file=Path("/keys/known hosts"))
    assert contents(fetched(GitTree(access, "main", ".", tmp_path / "work", 30.0))) == FIRST
    said = (tmp_path / "log").read_text().splitlines()
    assert said[:2] == ["-F", "none"]
    assert said[said.index("-i") + 1] == "/keys/deploy key"
    options = {said[number + 1] for number, word in enumerate(said) if word == "-o"}
    assert {
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "IdentityAgent=none",
        "GlobalKnownHostsFile=/dev/null",
    } < options
    assert 'UserKnownHostsFile="/keys/known hosts"' in options
    assert said[-2] == "git@git.shop.example"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Warning: a\r\ngit@git: Permission denied (publickey).\r\n", "ssh says: git@git: Permission denied"),
        ("No user exists for uid 12345\r\n", "ssh says: No user exists for uid 12345"),
        ("fatal: '/none' does not appear to be a git repository\n", "git says: fatal: '/none' does not appear to be a"),
        ("", "git says: fatal: Could not read from remote repository."),
    ],
    ids=["no key", "no user", "no repository", "nothing"],
)
def test_why_ssh_does_not_reach_a_repository_is_told(
    said: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own words: git says the same of all that keeps ssh from it."""
    need("git")
    have_ssh(f"#!{sys.executable}\nimport sys\nsys.stderr.write({said!r})\nsys.exit(255)\n", tmp_path, monkeypatch)
    access = Access("ssh://git@git/none", ssh_key_file=Path("/k"), known_hosts_file=Path("/h"))
    with pytest.raises(FetchFailed, match=re.escape(f"ssh://git@git/none: {told}")):
        fetched(GitTree(access, "main", ".", tmp_path / "work", 30.0))


def test_the_configuration_of_the_user_has_no_say(
    repository: Repository, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has that of a repository in which the server runs, nor variables."""
    repository.commit(FIRST)
    other = tmp_path / "other"
    other.mkdir()
    config = f'[url "{other}/"]\n\tinsteadOf = http://\n[core]\n\thooksPath = {other}\n'
    (tmp_path / ".gitconfig").write_text(config)
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "work" / ".git" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{other}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "http://")
    monkeypatch.setenv("GIT_EXEC_PATH", str(other))
    assert contents(fetched(tree())) == FIRST


def test_a_host_that_keeps_us_waiting_is_given_up(server: GitServer, tree: Tree, tmp_path: Path) -> None:
    """And so is git, with all that it has started."""
    started: list[str] = []

    def hang(request: BaseHTTPRequestHandler) -> None:
        started.extend(pids_in(tmp_path / "work"))
        request.rfile.read(1)

    server.answers["/policies.git/info/refs"] = hang
    with pytest.raises(FetchFailed, match=r"/policies\.git: not done within 1 s"):
        asyncio.run(tree(timeout_s=1.0).fetch(None))
    assert len(started) >= 2
    assert [pid for pid in started if Path(f"/proc/{pid}").exists() and not is_zombie(pid)] == []
    assert list((tmp_path / "work").iterdir()) == []


def pids_in(directory: Path) -> list[str]:
    """The processes whose working directory is below this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append(process.name)
        except OSError:
            continue
    return found


def is_zombie(pid: str) -> bool:
    """Whether it has ended, and only its exit code is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_without_git_that_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in an image that has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailed, match="there is no program `git` here"):
        asyncio.run(tree().fetch(None))


def test_more_than_is_allowed_ends_it(
    repository: Repository, tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes over the wire, the names, the sizes and the number of files."""
    noise = os.urandom(300_000)
    repository.commit_tree(repository.tree([("100644", repository.blob(noise), "noise")]))
    monkeypatch.setattr(git_program, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(FetchFailed, match="git gave up: what it fetches has over 100,000 bytes"):
        asyncio.run(tree().fetch(None))
    monkeypatch.undo()
    repository.commit({**FIRST, "more.yaml": "x" * 2000})
    for name, limit in (("_LISTING_BYTES", 50), ("MAX_FILES", 1), ("MAX_TOTAL_BYTES", 1000), ("MAX_BYTES", 1500)):
        with monkeypatch.context() as patch:
            patch.setattr(git_tree, name, limit)
            with pytest.raises(Refused) as refused:
                asyncio.run(tree().fetch(None))
            assert refused.value.code == "git_too_big", name
    assert list((tmp_path / "work").iterdir()) == []


def settings(**git: object) -> Settings:
    """With this source."""
    return Settings.model_validate({"policies": {"source": {"git": {"url": "https://git.shop.example/p.git", **git}}}})


KEYS = {"ssh_key_file": "a", "known_hosts_file": "b"}


@pytest.mark.parametrize(
    "git",
    [
        *({"ref": "v1.2-rc+3"}, {"ref": "refs/heads/team@home/x_y"}, {"ref": "a" * 40}),
        *({"path": "."}, {"path": "a-b/c.d/e_f"}),
        {"url": "ssh://git@git.shop.example:22/~ann/p.git", **KEYS},
        {"url": "http://127.0.0.1:8080/p.git/"},
    ],
)
def test_ordinary_names_are_taken(git: dict[str, object]) -> None:
    """Of branches, folders and repositories."""
    assert settings(**git).policies.source is not None


def test_a_redirect_is_not_followed(repository: Repository, server: GitServer, tree: Tree) -> None:
    """It could lead anywhere."""
    repository.commit(FIRST)
    server.answers["/policies.git/info/refs"] = answer(b"", 302, location=f"{server.url}/other.git/info/refs")
    with pytest.raises(FetchFailed, match="git says: fatal: unable to access"):
        asyncio.run(tree().fetch(None))
    assert {path.split("/")[1] for _, path, _ in server.asked} == {"policies.git"}
