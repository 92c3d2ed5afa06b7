"""The file of API keys: what it says, what is wrong with it, and how it is changed."""

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from authz_server.control.api_key_file import ApiKeyFile, RevokedKey, UnknownKeyId, UnusableKeyFile
from authz_server.control.api_keys import ApiKeys, as_text, load_api_keys, parse_api_keys
from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.errors import Refused
from authz_server.identity.api_keys import ApiKey, ApiKeyVerifier
from authz_server.identity.settings import ApiKeySettings
from authz_server.telemetry.control_metrics import ControlMetrics

HOUR = 3600.0
GOOD = """\
keys:
  k3v9x0q2m7ab:
    owner: nightly
    scopes: ["orders:read"]
    networks: [10.0.0.0/8]
    created: "2026-03-02T10:00:00Z"
    expires: "2026-06-02T10:00:00Z"
    secrets:
      - {salt: AAAAAAAAAAAAAAAAAAAAAA, hash: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}
"""


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> ApiKeyFile:
    return ApiKeyFile(tmp_path / "keys.yaml")


def create(file: ApiKeyFile, owner: str = "nightly", lifetime_s: float = HOUR) -> tuple[str, ApiKey]:
    """A key that may come from anywhere."""
    return file.create(owner, scopes=frozenset({"a"}), networks=(), lifetime_s=lifetime_s)


def is_good(file: ApiKeyFile, text: str, in_s: float = 0.0) -> bool:
    """Whether a server would take it."""
    verifier = ApiKeyVerifier(ApiKeySettings("api-keys", "x-api-key"), file.load(), b"k" * 32)
    try:
        verifier.verify(text, None, time.time() + in_s)
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("owner: nightly", "owner: ''", "4:12"),
        ("owner: nightly", "ovner: nightly", "did you mean `owner`?"),
        ("k3v9x0q2m7ab", "K3v9", "`K3v9` is no id of a key"),
        ("owner: nightly", 'owner: " nightly"', "is printable"),
        ("2026-06-02T10:00:00Z", "0001-01-01T00:00:00+23:59", "not between the years"),
        ("2026-06-02T10:00:00Z", "9999-12-31T23:59:59-23:59", "not between the years"),
        ("orders:read", "a b", "`a b` is no scope"),
        ("10.0.0.0/8", "10.0.0.1/8", "has bits that a network of length 8 does not have"),
        ("10:00:00Z", "10:00:00", "has no zone"),
        ("salt: AAAA", "salt: AAA", "16 bytes in base64url"),
        ("hash: AAAA", "hash: A+AA", "32 bytes in base64url"),
        ("secrets:\n      - {", "secrets: []\n    x: {", "secrets"),
        (GOOD, "", "the file is empty"),
        (GOOD, "keys:\n  k3v9x0q2m7ab: &a {}\n", "anchor"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(before: str, after: str, complaint: str) -> None:
    """As of policies; a server keeps the keys that it has."""
    assert load_api_keys(GOOD.encode(), "keys.yaml")[1] == []
    text = GOOD.replace(before, after, 1).replace("  k3v", "\n  k3v", 1 if complaint == "4:12" else 0)
    keys, problems = load_api_keys(text.encode(), "keys.yaml")
    assert keys is None
    told = "\n".join(map(str, problems))
    assert complaint in told
    assert told.startswith("keys.yaml:")
    with pytest.raises(ValueError, match="line"):
        parse_api_keys(text.encode())


def test_what_is_written_is_read_again() -> None:
    """Every field, and to the second."""
    keys = parse_api_keys(GOOD.encode())
    assert parse_api_keys(as_text(keys).encode()) == keys
    [key] = keys.keys
    before = msgspec.structs.replace(key.secrets[0], until=key.created)
    changed = ApiKeys(
        (msgspec.structs.replace(key, revoked=True, scopes=frozenset(), networks=(), secrets=(*key.secrets, before)),)
    )
    assert parse_api_keys(as_text(changed).encode()) == changed


def test_a_key_is_kept_without_its_secret(file: ApiKeyFile) -> None:
    """In a file that its owner alone can read."""
    text, key = create(file)
    assert is_good(file, text)
    assert not is_good(file, text, HOUR + 1)
    assert text.split("_", 2)[2] not in file.path.read_text()
    assert key.id in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.yaml"]


def test_who_may_read_the_file_stays_as_it_was(file: ApiKeyFile) -> None:
    """The server may be another user."""
    create(file)
    file.path.chmod(0o640)
    create(file, "other")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
    assert [key.owner for key in file.load()] == ["nightly", "other"]


def test_a_rotated_key_has_two_secrets_for_a_while(file: ApiKeyFile) -> None:
    """Its id stays, and a third secret ends the first one."""
    first, key = create(file)
    second, rotated = file.rotate(key.id, overlap_s=60, lifetime_s=2 * HOUR)
    assert rotated.id == key.id
    assert [is_good(file, text) for text in (first, second)] == [True, True]
    assert [is_good(file, text, 61) for text in (first, second)] == [False, True]
    assert is_good(file, second, 1.5 * HOUR)
    third, _ = file.rotate(key.id, overlap_s=60, lifetime_s=HOUR)
    assert [is_good(file, text) for text in (first, second, third)] == [False, True, True]
    fourth, _ = file.rotate(key.id, overlap_s=0, lifetime_s=HOUR)
    assert [is_good(file, text) for text in (second, third, fourth)] == [False, False, True]


def test_a_rotation_makes_no_secret_live_longer(file: ApiKeyFile) -> None:
    """Not even when the key itself does."""
    first, key = create(file, lifetime_s=60)
    file.rotate(key.id, overlap_s=HOUR, lifetime_s=2 * HOUR)
    assert not is_good(file, first, 61)


def test_a_revoked_key_stays_in_the_file_and_is_good_no_more(file: ApiKeyFile) -> None:
    """It gets no other secret either."""
    text, key = create(file)
    file.revoke(key.id)
    assert not is_good(file, text)
    assert [(one.id, one.revoked) for one in file.load()] == [(key.id, True)]
    with pytest.raises(RevokedKey):
        file.rotate(key.id, overlap_s=0, lifetime_s=HOUR)
    with pytest.raises(UnknownKeyId):
        file.revoke("a" * 12)


def test_a_file_that_is_bad_is_not_written_over(file: ApiKeyFile) -> None:
    """Whoever edited it finds it as it was."""
    file.path.write_text("keys: [")
    with pytest.raises(UnusableKeyFile) as error:
        create(file)
    assert error.value.problems
    assert file.path.read_text() == "keys: ["


def test_two_writers_lose_nothing(file: ApiKeyFile) -> None:
    """One waits for the other."""
    with ThreadPoolExecutor(8) as pool:
        texts = [made[0] for made in pool.map(lambda number: create(file, f"o{number}"), range(24))]
    assert len(file.load()) == 24
    assert all(is_good(file, text) for text in texts)


def trust(path: Path) -> Trust:
    """What a control process knows."""
    return Trust(Settings.model_validate({"api_keys": {"file": path}}), ControlMetrics(path.parent), lambda: None)


@pytest.mark.parametrize("owner", ["089", "y", "null", "1e3", "0o17", "2026-03-02", "\u00ab", "#x", "a: b", "'", '"\\'])
def test_what_is_written_can_be_read_whatever_it_looks_like(file: ApiKeyFile, owner: str) -> None:
    """A name that reads as a number or a truth elsewhere takes no other key with it."""
    _, first = create(file)
    _, key = file.create(owner, scopes=frozenset({"1e3", "0o7"}), networks=(), lifetime_s=HOUR)
    assert [(one.owner, one.scopes) for one in file.load()][1] == (owner, key.scopes)
    file.revoke(first.id)
    assert [one.revoked for one in file.load()] == [True, False]


def test_a_file_that_is_cut_makes_no_secret_good_again(file: ApiKeyFile) -> None:
    """The time until when the one before is good stands behind its hash."""
    _, key = create(file)
    file.rotate(key.id, overlap_s=60, lifetime_s=HOUR)
    content = file.path.read_bytes()
    keys, problems = load_api_keys(content[: content.rindex(b"\n", 0, content.rindex(b"until"))], "keys.yaml")
    assert keys is None
    assert "`until`" in str(problems[0])


def test_a_bad_edit_keeps_the_keys_and_is_told_of(file: ApiKeyFile) -> None:
    """A server without a good file takes no key, serves all the same, and says so."""
    known = trust(file.path)
    known.reread()
    assert known.api_keys() == ()
    assert known.missing() == {"there are no API keys": False}
    assert known.troubled() == {"API keys"}
    create(file)
    assert known.reread()
    assert [key.owner for key in known.api_keys()] == ["nightly"]
    assert (known.missing(), known.troubled()) == ({}, set())
    file.path.write_text("keys: [")
    assert not known.reread()
    assert [key.owner for key in known.api_keys()] == ["nightly"]
    assert known.troubled() == {"API keys"}
    assert "line 1" in known.problems()[0]
