"""What was fetched last, on disk."""

from pathlib import Path

import pytest

from authz_server.control.sources.source import Found, Refused
from authz_server.control.sources.store import FetchedPolicies, NotRestored, NotTrusted
from authz_server.policy.files import policy_file
from tests.unit.control.sources.bundles import FIRST, SECOND, numbered


def found(files: dict[str, str], version: str = "1", key: str | None = "k") -> Found:
    """As a source gives it."""
    return Found(version, tuple(policy_file(Path("p"), path, text.encode()) for path, text in files.items()), key)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> FetchedPolicies:
    return FetchedPolicies(tmp_path / "fetched", "the source")


def restored(store: FetchedPolicies, *keys: str) -> FetchedPolicies:
    """As the next run has it."""
    again = FetchedPolicies(store.directory, "the source")
    again.restore(set(keys))
    return again


def test_only_its_owner_reads_what_is_there(store: FetchedPolicies) -> None:
    """Whatever the mask of the process is."""
    store.put(found({**FIRST, "a/b.yaml": "x"}), 1.0, accept_older=False)
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.directory.rglob("*"))


@pytest.mark.parametrize("how", ["edited", "added", "removed"])
def test_what_was_not_fetched_is_not_read(store: FetchedPolicies, how: str) -> None:
    """An edit of the files is a problem, and the same policies can be put there again."""
    store.put(found(FIRST), 1.0, accept_older=False)
    file = store.policies / "orders.yaml"
    if how == "edited":
        file.write_text(SECOND["orders.yaml"])
    elif how == "added":
        file.with_name("more.yaml").write_text(SECOND["orders.yaml"])
    else:
        file.unlink()
    for each in (store, restored(store, "k")):
        files, [problem] = each.read()
        assert (files, problem.code, each.damaged) == ([], "fetched_altered", True)
    assert store.put(found(FIRST), 2.0, accept_older=False)
    assert [file.content.decode() for file in store.read()[0]] == [*FIRST.values()]
    assert not store.damaged


def test_the_same_files_under_another_version_stay_where_they_are(store: FetchedPolicies) -> None:
    """Only what is known about them changes, such as who vouches for them."""
    store.put(found(FIRST), 1.0, accept_older=False)
    place = store.policies.resolve()
    assert not store.put(found(FIRST, "2", "other"), 2.0, accept_older=False)
    assert store.policies.resolve() == place
    state = restored(store, "other").state
    assert state is not None
    assert (state.version, state.key, state.fetched) == ("2", "other", 2.0)


def test_what_a_key_has_signed_goes_with_the_key(store: FetchedPolicies) -> None:
    """Whoever stops to trust a key means its policies as well."""
    store.put(found(FIRST), 1.0, accept_older=False)
    with pytest.raises(NotTrusted, match="key k, which is trusted no longer"):
        restored(store, "another")
    assert restored(store, "k").state is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 1}'])
def test_a_state_that_cannot_be_read_is_none(store: FetchedPolicies, content: bytes) -> None:
    """Nobody could say what the files must be."""
    store.put(found(FIRST), 1.0, accept_older=False)
    (store.directory / "current" / "fetched.json").write_bytes(content)
    with pytest.raises(NotRestored, match="cannot be read"):
        restored(store, "k")
    assert restored(store, "k").state is None


@pytest.mark.parametrize("later", [FIRST, numbered(FIRST, 6), numbered(FIRST, 0)])
def test_a_smaller_number_is_refused(store: FetchedPolicies, later: dict[str, str]) -> None:
    """SRC-02: or none where there was one, in the next run as well; unless the operator says so."""
    store.put(found(numbered(SECOND, 7)), 1.0, accept_older=False)
    for each in (store, restored(store, "k")):
        with pytest.raises(Refused, match="the number of those before is 7") as refused:
            each.put(found(later, "2"), 2.0, accept_older=False)
        assert refused.value.code == "older_policies"
    assert store.put(found(numbered(FIRST, 7), "3"), 3.0, accept_older=False)
    assert store.put(found(later, "4"), 4.0, accept_older=True)


@pytest.mark.parametrize("files", [{"a.yaml": "x", "a.yaml/b.yaml": "x"}, {"a" * 300 + ".yaml": "x"}])
def test_names_that_a_disk_does_not_take_are_a_failure(store: FetchedPolicies, files: dict[str, str]) -> None:
    """Nothing is left of it."""
    store.put(found(FIRST), 1.0, accept_older=False)
    with pytest.raises(OSError, match=r"File name too long|Not a directory|File exists|Is a directory"):
        store.put(found(files, "2"), 2.0, accept_older=False)
    assert len(list(store.directory.glob("fetched-*"))) == 1
    assert store.read()[1] == []


@pytest.mark.parametrize("name", [".hidden.yaml", "notes.txt", "x.yaml~", "/".join("abcdefghijklmnopqrs") + ".yaml"])
def test_files_that_nobody_would_read_are_refused(store: FetchedPolicies, name: str) -> None:
    """What is vouched for is all of it."""
    with pytest.raises(Refused, match="are not those of policies") as refused:
        store.put(found({**FIRST, name: "kind: service"}), 1.0, accept_older=False)
    assert refused.value.code == "fetched_unusable_names"
    assert list(store.directory.iterdir()) == []
