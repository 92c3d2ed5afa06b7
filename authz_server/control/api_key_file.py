"""Changes of the file of API keys: one writer at a time, and whoever reads it sees all of a change or nothing."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import choice

import msgspec

from authz_server.control.api_keys import ApiKeys, as_text, load_api_keys
from authz_server.documents.problem import Problem
from authz_server.identity.api_keys import ID_CHARACTERS, ApiKey, Secret, make_secret

_OWNER_ALONE = 0o600
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class UnusableKeyFile(Exception):
    """The file cannot be changed, because of what is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("the file of API keys is not acceptable")
        self.problems = problems


class UnknownKeyId(LookupError):
    """No key has this id."""


class RevokedKey(Exception):
    """What is revoked gets no other secret."""


class ApiKeyFile:
    """A file of API keys. All methods block, and raise OSError and UnusableKeyFile."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[ApiKey, ...]:
        """All keys; none where there is no file."""
        return self._read().keys

    def create(
        self, owner: str, *, scopes: frozenset[str], networks: tuple[str, ...], lifetime_s: float
    ) -> tuple[str, ApiKey]:
        """Add a key. The text that its owner shows is given back, and kept nowhere."""
        with self._change() as keys:
            key_id = "".join(choice(_LETTERS) for _ in range(ID_CHARACTERS))
            text, secret = make_secret(key_id)
            now = time.time()
            key = ApiKey(key_id, owner, now, now + lifetime_s, (secret,), scopes, networks)
            keys[key_id] = key
        return text, key

    def rotate(self, key_id: str, *, overlap_s: float, lifetime_s: float) -> tuple[str, ApiKey]:
        """Give a key another secret and life; the one before is good for the overlap.

        Raises UnknownKeyId and RevokedKey.
        """
        with self._change() as keys:
            before, now = _find(keys, key_id), time.time()
            if before.revoked:
                raise RevokedKey(key_id)
            text, secret = make_secret(key_id)
            secrets = (secret, *_until(before, now, min(now + overlap_s, before.expires)))
            key = msgspec.structs.replace(before, secrets=secrets, expires=now + lifetime_s)
            keys[key_id] = key
        return text, key

    def revoke(self, key_id: str) -> ApiKey:
        """Let a key be good no longer; it stays in the file, for those who read records. Raises UnknownKeyId."""
        with self._change() as keys:
            keys[key_id] = key = msgspec.structs.replace(_find(keys, key_id), revoked=True)
        return key

    @contextmanager
    def _change(self) -> Iterator[dict[str, ApiKey]]:
        """The keys by their ids; what the block makes of them is written."""
        # The directory is what stays: the file is replaced by another one.
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            keys = {key.id: key for key in self._read().keys}
            yield keys
            text = as_text(ApiKeys(tuple(keys.values())))
            # What could not be read again would take all other keys with it.
            problems = load_api_keys(text.encode(), str(self.path))[1]
            if problems:
                raise UnusableKeyFile(problems)
            self._write(text)
            os.fsync(directory)
        finally:
            os.close(directory)

    def _read(self) -> ApiKeys:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ApiKeys()
        keys, problems = load_api_keys(content, str(self.path))
        if keys is None:
            raise UnusableKeyFile(problems)
        return keys

    def _write(self, text: str) -> None:
        try:
            before = self.path.stat()
        except FileNotFoundError:
            before = None
        draft = self.path.with_name(f".{self.path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ALONE)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if before is not None:
                # The server may read it as another user.
                os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o777)
            os.fsync(descriptor)
        draft.replace(self.path)


def _until(key: ApiKey, now: float, end: float) -> list[Secret]:
    """The secret of a key that stays good until `end` at most: of several, the one that is good for longest."""
    ends = [(end if secret.until is None else min(secret.until, end), secret) for secret in key.secrets]
    last, secret = max(ends, key=lambda pair: pair[0])
    return [msgspec.structs.replace(secret, until=last)] if now < last else []


def _find(keys: dict[str, ApiKey], key_id: str) -> ApiKey:
    try:
        return keys[key_id]
    except KeyError:
        raise UnknownKeyId(key_id) from None
