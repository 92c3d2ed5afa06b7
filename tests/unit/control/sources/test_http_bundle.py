"""Policies as a bundle from an HTTP server."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from authz_server.control.fetching import FetchFailed
from authz_server.control.sources.http_bundle import HttpBundle
from authz_server.control.sources.web import Web
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
    follows,
    goes_on_without,
)

PATH = "/policies.tar.gz"


@pytest.fixture(name="server")
def _server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


def source(server: FileServer, token_file: Path | None = None) -> HttpBundle:
    """What is at that server."""
    return HttpBundle(Web(5.0, None), f"{server.url}{PATH}?key=secret", [KEY.public_key()], token_file)


@pytest.mark.parametrize("etags", [True, False])
def test_a_bundle_is_followed(server: FileServer, tmp_path: Path, etags: bool) -> None:
    """With ETags, and by its content where the server has none."""
    follows(lambda: Fetching(tmp_path, source(server)), lambda files: server.has(bundle_of(files), etags=etags))
    asked = [headers.get("if-none-match") for _, _, headers in server.asked]
    assert [etag is not None for etag in asked] == ([False, True, True, True] if etags else [False] * 4)


def test_a_server_that_is_down_changes_nothing(server: FileServer, tmp_path: Path) -> None:
    """Also over a restart; its host is named, but not the rest of its URL."""
    goes_on_without(
        lambda: Fetching(tmp_path, source(server)),
        lambda files: server.has(bundle_of(files)),
        server.stop,
        server.start,
    )
    server.stop()
    problem = Fetching(tmp_path, source(server)).after(0).problem()
    server.start()
    assert f": {server.host}: the connection is refused; those of 20" in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (bundle_of(SECOND, None), "bundle_unsigned"),
        (bundle_of(SECOND, OTHER_KEY), "bundle_unknown_key"),
        (bundle_of(SECOND)[:-9], "bundle_unreadable"),
        (b"<html>not here</html>", "bundle_unreadable"),
    ],
)
def test_a_bad_bundle_changes_nothing(
    server: FileServer, tmp_path: Path, content: bytes, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged once, and told as long as it is there."""
    server.has(bundle_of(FIRST))
    fetching = Fetching(tmp_path, source(server)).after(0)
    server.has(content)
    fetching.after().after()
    assert fetching.files() == FIRST
    assert fetching.counted() == {"fetched": 1, "refused": 2}
    assert f"({code}); those of 20" in fetching.problem()
    assert capsys.readouterr().out.count("fetched_policies_refused") == 1
    server.has(bundle_of(FIRST))
    assert fetching.after().problem() == ""


def test_what_was_damaged_on_its_way_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    """Its ETag is that of the bundle as it should be."""
    content = bundle_of(FIRST)
    server.has(content)
    whole = server.answers[PATH]
    etag = f'"{sha256(content).hexdigest()}"'
    server.answers[PATH] = answer(content[:-1] + b"x", 200, etag=etag)
    fetching = Fetching(tmp_path, source(server)).after(0)
    assert fetching.counted() == {"refused": 1}
    server.answers[PATH] = whole
    assert fetching.after().files() == FIRST
    assert fetching.after().counted() == {"refused": 1, "fetched": 1, "unchanged": 1}


def test_a_defect_of_ours_changes_nothing(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told like a source that is away, and asked again; the log says where it is."""
    server.has(bundle_of(FIRST))
    bundles = source(server)
    fetching = Fetching(tmp_path, bundles).after(0)
    with monkeypatch.context() as defect:
        defect.setattr(bundles, "fetch", None)
        assert "a failure inside (TypeError); those of 20" in fetching.after().problem()
    assert "policy_source_failed" in capsys.readouterr().out
    assert fetching.files() == FIRST
    assert fetching.after().problem() == ""


def test_nothing_was_ever_fetched(server: FileServer, tmp_path: Path) -> None:
    """That is said instead of an empty directory."""
    fetching = Fetching(tmp_path, source(server)).after(0)
    assert fetching.problem().endswith(f"{server.host}: the answer has status 404; there are none yet")
    files, [problem] = fetching.store.read()
    assert (files, problem.code) == ([], "nothing_fetched")


def test_a_token_is_shown_and_read_each_time(server: FileServer, tmp_path: Path) -> None:
    """So that it can be replaced."""
    token = tmp_path / "token"
    server.has(bundle_of(FIRST))
    fetching = Fetching(tmp_path, source(server, token))
    assert f"{token} cannot be read: No such file" in fetching.after(0).problem()
    token.write_text("first\n")
    fetching.after()
    token.write_text("second\n")
    fetching.after()
    assert [headers["authorization"] for _, _, headers in server.asked] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [b"", b"two\nlines\n", b"\xff", b"a" * 20_000])
def test_a_token_is_one_line(server: FileServer, tmp_path: Path, content: bytes) -> None:
    """What is in the file is not told."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(FetchFailed, match=r"token holds no secret: one line of ASCII characters$"):
        asyncio.run(source(server, tmp_path / "token").fetch(None))
    assert server.asked == []


@pytest.mark.parametrize("etag", ['"' + "a" * 300 + '"', "abc", '"a\tb"'])
def test_an_etag_that_cannot_be_sent_back_is_none(server: FileServer, etag: str) -> None:
    """The hash of the content is the version then."""
    server.answers[PATH] = answer(bundle_of(FIRST), etag=etag)
    found = asyncio.run(source(server).fetch(None))
    assert found is not None
    assert found.version.startswith("sha256:")


def test_not_modified_without_having_asked_is_a_failure(server: FileServer) -> None:
    """There is nothing that could be the same."""
    server.answers[PATH] = answer(b"", 304)
    with pytest.raises(FetchFailed, match="status 304"):
        asyncio.run(source(server).fetch(None))
