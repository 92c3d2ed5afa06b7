"""Attacks on policies on their way from their source."""

import asyncio
import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from authz_server.control.fetching import FetchFailed
from authz_server.control.settings import Settings
from authz_server.control.settings.images import parse_image
from authz_server.control.sources import git_tree
from authz_server.control.sources.git_program import Access
from authz_server.control.sources.git_tree import GitTree
from authz_server.control.sources.http_bundle import HttpBundle
from authz_server.control.sources.oci_bundle import OciBundle
from authz_server.control.sources.oci_login import Login
from authz_server.control.sources.source import Found
from authz_server.control.sources.store import FetchedPolicies, NotRestored
from authz_server.control.sources.web import Web
from authz_server.policy import bundle
from authz_server.policy.files import policy_file
from tests.unit.control.issuer_server import answer
from tests.unit.control.sources.bundles import (
    FIRST,
    KEY,
    OTHER_KEY,
    SECOND,
    Fetching,
    FileServer,
    bundle_of,
    file_server,
    numbered,
)
from tests.unit.control.sources.git_server import Repository, git_server
from tests.unit.control.sources.registry import Registry, registry_server
from tests.unit.control.sources.test_web import BAD_ANSWERS

PATH = "/policies.tar.gz"
SSH_KEYS = {"ssh_key_file": "k", "known_hosts_file": "h"}


@pytest.fixture(name="server")
def _server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture(name="fetching")
def _fetching(server: FileServer, tmp_path: Path) -> Fetching:
    """What follows the server, and has the first policies, with the number 7."""
    (tmp_path / "token").write_text("secret\n")
    source = HttpBundle(Web(2.0, None), f"{server.url}{PATH}", [KEY.public_key()], tmp_path / "token")
    server.has(bundle_of(numbered(FIRST, 7)))
    return Fetching(tmp_path, source).after(0)


def assert_refused(fetching: Fetching, result: str = "refused") -> None:
    """The next look changes nothing, is counted, and told in readiness."""
    before = fetching.counted().get(result, 0)
    fetching.after()
    assert fetching.counted()[result] == before + 1
    assert fetching.files() == numbered(FIRST, 7)
    assert fetching.changes == 1
    assert fetching.problem()


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A gzipped tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue())


def packed(members: dict[str, bytes]) -> bytes:
    """A bundle of these members."""
    return archive(*[(tarfile.TarInfo(name), content) for name, content in members.items()])


def unpacked(content: bytes) -> dict[str, bytes]:
    """Name -> content of a bundle's members."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_src_01_policies_that_no_trusted_key_has_signed_are_refused(server: FileServer, fetching: Fetching) -> None:
    """Unsigned, signed by another, with files or a manifest of another bundle, and with an empty set of files."""
    mine = unpacked(bundle_of(numbered(FIRST, 8)))
    others = unpacked(bundle_of(numbered(SECOND, 8), OTHER_KEY))
    swapped = {**others, "manifest.json": mine["manifest.json"], "manifest.json.sig": mine["manifest.json.sig"]}
    borrowed = {**others, "manifest.json.sig": mine["manifest.json.sig"]}
    emptied = {name: content for name, content in mine.items() if not name.startswith("policies/")}
    forged = [bundle_of(numbered(SECOND, 8), None), bundle_of(numbered(SECOND, 8), OTHER_KEY)]
    forged += [packed(members) for members in (swapped, borrowed, emptied)]
    for content in forged:
        server.has(content)
        assert_refused(fetching)


def test_src_02_an_older_bundle_does_not_come_back(server: FileServer, fetching: Fetching) -> None:
    """It is signed, and its number gives it away; so does that it has none."""
    for older in (numbered(SECOND, 6), SECOND):
        server.has(bundle_of(older))
        assert_refused(fetching)


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_src_03_an_answer_is_bounded_and_whole(
    server: FileServer, fetching: Fetching, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In size and in time, and never compressed; what is cut is not taken."""
    monkeypatch.setattr("authz_server.control.sources.http_bundle.MAX_BUNDLE_BYTES", 1000)
    server.answers[PATH] = BAD_ANSWERS[case][0]
    assert_refused(fetching, "failed")


def test_src_03_half_a_bundle_is_none(server: FileServer, fetching: Fetching) -> None:
    """Wherever it ends, and whatever follows it."""
    whole = bundle_of(numbered(SECOND, 8))
    for content in (*(whole[: len(whole) * part // 10] for part in range(10)), whole + b"x", whole + whole):
        server.has(content)
        assert_refused(fetching)


def test_src_04_a_redirect_takes_no_credentials_along(server: FileServer, fetching: Fetching) -> None:
    """To another host, which is asked without them; what it has must be signed all the same."""
    with file_server() as other:
        server.answers[PATH] = answer(b"", 307, location=f"{other.url}{PATH}")
        other.has(bundle_of(numbered(SECOND, 8), OTHER_KEY))
        assert_refused(fetching)
        assert [headers["authorization"] for _, _, headers in server.asked] == ["Bearer secret"] * 2
        [(_, _, headers)] = other.asked
        assert "authorization" not in headers
        assert "secret" not in str(headers)


def tricks() -> Iterator[bytes]:
    """Archives that mean ill to who unpacks them."""
    text = FIRST["orders.yaml"].encode()
    for name in ("../orders.yaml", "/etc/orders.yaml", "policies/../../orders.yaml", "policies/a\\..\\b.yaml"):
        yield archive((tarfile.TarInfo("manifest.json"), b"{}"), (tarfile.TarInfo(name), text))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("policies/orders.yaml")
        member.type, member.linkname = kind, "/etc/passwd"
        yield archive((member, b""))
    twice = tarfile.TarInfo("policies/orders.yaml")
    yield archive((twice, text), (twice, text))
    yield gzip.compress(b"\0" * (bundle.MAX_UNPACKED_BYTES + 1))


def test_src_05_an_archive_writes_nowhere_and_does_not_swell(
    server: FileServer, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that lead out, links, devices, a name twice, and a bomb: nothing of it is ever written."""
    monkeypatch.setattr(bundle, "MAX_UNPACKED_BYTES", 1_000_000)
    before = sorted(fetching.store.directory.rglob("*"))
    for content in tricks():
        server.has(content)
        assert_refused(fetching)
    assert sorted(fetching.store.directory.rglob("*")) == before


def test_src_06_what_was_fetched_is_not_edited_here(fetching: Fetching) -> None:
    """Whoever writes to the directory makes a problem and no policies; they are fetched again."""
    (fetching.store.policies / "orders.yaml").write_text(SECOND["orders.yaml"])
    files, [problem] = fetching.store.read()
    assert (files, problem.code) == ([], "fetched_altered")
    asyncio.run(fetching.fetcher.step())
    assert fetching.after().files() == numbered(FIRST, 7)


@pytest.fixture(name="registry")
def _registry() -> Iterator[Registry]:
    with registry_server() as registry:
        yield registry


@pytest.fixture(name="pulling")
def _pulling(registry: Registry, tmp_path: Path) -> Fetching:
    """What follows the registry with a password, and has the first policies."""
    (tmp_path / "password").write_text("secret\n")
    web, image = Web(2.0, None), parse_image(registry.image)
    login = Login(web, image, "ann", tmp_path / "password", None)
    registry.push(numbered(FIRST, 7))
    return Fetching(tmp_path, OciBundle(web, image, [KEY.public_key()], login)).after(0)


def test_src_07_a_registry_does_not_get_the_password_sent_elsewhere(registry: Registry, pulling: Fetching) -> None:
    """By a challenge of its own, by a redirect, or by a challenge of whom it redirects to."""
    registry.push(numbered(SECOND, 8))
    with registry_server() as thief:
        registry.wants, registry.challenge = "Bearer t", f'Bearer realm="{thief.url}/token",service="here"'
        thief.gives_tokens("t")
        assert_refused(pulling, "failed")
        thief.wants, thief.challenge = "Bearer t", 'Basic realm="here"'
        thief.push(numbered(SECOND, 8))
        for path in [*registry.answers]:
            registry.answers[path] = answer(b"", 307, location=f"{thief.url}{path}")
        registry.asked.clear()
        assert_refused(pulling, "failed")
        # Whoever is asked without having asked for anything gets no second try.
        assert registry.methods() == ["HEAD manifest"]
        assert thief.asked
        assert all("authorization" not in headers for _, _, headers in thief.asked)


@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_src_08_what_a_registry_sends_has_the_digest_that_was_asked_for(
    registry: Registry, pulling: Fetching, what: str
) -> None:
    """A bundle that is signed as well, but an older one: each step is tied to the one before."""
    older = bundle_of(numbered(FIRST, 7))
    registry.push(numbered(SECOND, 8))
    for path in [*registry.answers]:
        if f"/{what}/sha256:" in path:
            registry.answers[path] = answer(older)
    assert_refused(pulling, "failed")
    # How long a bundle is depends on the key that signed it: a longer one is not even read to its end.
    assert "has not the digest" in pulling.problem() or "the answer is larger than" in pulling.problem()


@pytest.mark.parametrize(
    "git",
    [
        *(
            {"url": url}
            for url in ("-uhelp", "--upload-pack=touch x", "ext::sh -c x", "file:///etc", "/etc", "git@h:p.git")
        ),
        *(
            {"url": f"ssh://{rest}", **SSH_KEYS}
            for rest in ("-oProxyCommand=x/p.git", "a@-oProxyCommand=x/p.git", "h/-x")
        ),
        *({"url": f"ssh://{rest}", **SSH_KEYS} for rest in ("h/$(touch x)", "h/p.git;x", "h/`x`", "h/a b", "h:x/p")),
        *({"url": f"https://h/{path}"} for path in ("", "-x", "a/../b", "a%0ab", "p.git?a=b", "p.git#a", "a'b")),
        *(
            {"url": url}
            for url in ("https://user:secret@h/p.git", "http://git.shop.example/p.git", "https://h\n.example/p")
        ),
        *(
            {"ref": ref}
            for ref in ("-x", "--upload-pack=x", "a..b", "a:b", "a b", "a~1", "a^", "@{u}", "@", "a.lock", "/a", "a//b")
        ),
        *({"path": path} for path in ("-x", "..", "a/../b", "/etc", "a//b", "a:b", ".git", "a/", "")),
        *({"ssh_key_file": "k", "known_hosts_file": "h"}, {"username": "ann"}, {"password_file": "p"}),
        {"url": "ssh://git@h/p.git"},
        {"url": "ssh://git@h/p.git", **SSH_KEYS, "username": "ann", "password_file": "p"},
    ],
    ids=str,
)
def test_src_09_no_setting_of_a_repository_is_an_option_or_a_command(git: dict[str, str]) -> None:
    """Of git, of ssh, or of a shell."""
    source = {"git": {"url": "https://git.shop.example/p.git", **git}}
    with pytest.raises(ValidationError):
        Settings.model_validate({"policies": {"source": source}})


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "p.git")


@pytest.fixture(name="cloning")
def _cloning(repository: Repository, tmp_path: Path) -> Iterator[Fetching]:
    """What follows the repository, and has the first policies."""
    repository.commit(numbered(FIRST, 7))
    with git_server(repository.directory.parent) as server:
        tree = GitTree(Access(f"{server.url}/p.git"), "main", ".", tmp_path / "work", 20.0)
        yield Fetching(tmp_path, tree).after(0)


def test_src_10_hostile_entries_of_a_repository_are_refused(repository: Repository, cloning: Fetching) -> None:
    """Links to files and folders, submodules, and names that no folder of policies has."""
    policy, link = repository.blob(SECOND["orders.yaml"].encode()), repository.blob(b"/etc/passwd")
    for hostile in (
        *(("120000", link, "orders.yaml"), ("120000", link, "folder"), ("160000", "1" * 40, "vendored")),
        *(("100644", policy, "a\nb.yaml"), ("100644", policy, "a\\..\\b.yaml"), ("100644", policy, "a\x1b[2Jb.yaml")),
        ("100644", policy, "a\u202eb.yaml"),
    ):
        repository.commit_tree(repository.tree([hostile]))
        assert_refused(cloning)
        assert "git_unsafe_member" in cloning.problem()


@pytest.mark.parametrize("name", ["..", ".", ".git", "a/b"])
def test_src_10_a_folder_that_leads_elsewhere_is_not_fetched(
    repository: Repository, cloning: Fetching, name: str
) -> None:
    """Git itself makes no such tree, and takes none."""
    inner = repository.tree([("100644", repository.blob(SECOND["orders.yaml"].encode()), "x.yaml")])
    entry = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)
    oid = repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=entry)
    repository.commit_tree(oid)
    assert_refused(cloning, "failed")


def test_src_10_nothing_of_a_repository_is_run(repository: Repository, cloning: Fetching, tmp_path: Path) -> None:
    """No hooks, no filters, no configuration that it brings along: its files are texts."""
    proof = tmp_path / "proof"
    files = {
        ".gitattributes": "*.yaml filter=evil diff=evil merge=evil export-subst\n",
        ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {proof}\n\tprocess = touch {proof}\n',
        ".gitmodules": f'[submodule "a"]\n\tpath = a\n\turl = ext::touch {proof}\n',
        ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/\n",
    }
    repository.commit({**numbered(SECOND, 8), **files, "hooks/post-checkout": f"#!/bin/sh\ntouch {proof}\n"})
    assert cloning.after().files() == numbered(SECOND, 8)
    assert not proof.exists()


def test_src_11_a_repository_cannot_swell(
    repository: Repository, cloning: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few small objects that are endless files when listed, and a content that compresses well."""
    below = repository.tree([("100644", repository.blob(b"x"), f"{number}.yaml") for number in range(10)])
    for _ in range(9):
        below = repository.tree([("040000", below, f"f{number}") for number in range(10)])
    repository.commit_tree(below)
    monkeypatch.setattr(git_tree, "_LISTING_BYTES", 1_000_000)
    assert_refused(cloning)
    assert "git_too_big" in cloning.problem()
    repository.commit({"orders.yaml": "#" * 50_000_000})
    assert_refused(cloning)
    assert "git_too_big" in cloning.problem()


@pytest.mark.parametrize("digits", [40, 64])
def test_src_12_a_branch_is_no_commit_because_it_is_called_like_one(
    repository: Repository, tmp_path: Path, digits: int
) -> None:
    """A host must not choose what a hash stands for; that of another kind of repository is a name to git."""
    pinned = "ab" * (digits // 2)
    commit = repository.commit(FIRST)
    for name in (f"refs/heads/{pinned}", f"refs/tags/{pinned}", pinned):
        (repository.directory / name).write_text(f"{commit}\n")
    with git_server(repository.directory.parent) as server:
        tree = GitTree(Access(f"{server.url}/p.git"), pinned, ".", tmp_path / "work", 20.0)
        with pytest.raises(FetchFailed):
            asyncio.run(tree.fetch(None))


@pytest.mark.parametrize("change", ["mode", "link", "second name"])
def test_src_13_what_somebody_else_could_have_written_is_not_taken_for_fetched(tmp_path: Path, change: str) -> None:
    """Whoever writes the state says what the files must be, whoever has signed them."""
    store = FetchedPolicies(tmp_path, "https://policies.shop.example")
    files = tuple(policy_file(Path(), path, text.encode()) for path, text in FIRST.items())
    store.put(Found("1", files, "k"), 1.0, accept_older=False)
    state = tmp_path / "current" / "fetched.json"
    if change == "mode":
        state.chmod(0o666)
    elif change == "link":
        state.symlink_to(state.rename(tmp_path / "elsewhere"))
    else:
        (tmp_path / "elsewhere").hardlink_to(state)
    again = FetchedPolicies(tmp_path, "https://policies.shop.example")
    with pytest.raises(NotRestored):
        again.restore({"k"})
    assert again.read()[0] == []
