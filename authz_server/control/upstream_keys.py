"""The private keys of upstream tokens: the operator's, or our own, which are kept in a file and rotated."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from authz_server.control.secret_file import write_secret_file
from authz_server.control.settings import Settings
from authz_server.control.trust_files import TrustFile, read_trust_file
from authz_server.identity.signing_keys import (
    NO_SIGNING_KEYS,
    InvalidSigningKeys,
    Rotation,
    SigningKey,
    key_for,
    parse_signing_keys,
    private_document,
    rotated,
)

_CLOCKS_APART_S = 60.0
"""How far behind the clock of a backend may be."""


def signing_keys_of(settings: Settings) -> "OwnKeys | TrustFile | None":
    """Where the keys come from; None where upstreams get no tokens of ours."""
    token = settings.upstream_token
    if token is None:
        return None
    if token.key_file is not None:
        return TrustFile(token.key_file, _operators_keys, NO_SIGNING_KEYS)
    keep_s = token.lifetime + token.keys_max_age + _CLOCKS_APART_S
    return OwnKeys(settings.run_directory / "upstream-keys.json", Rotation(token.rotate, keep_s))


def _operators_keys(content: bytes) -> tuple[SigningKey, ...]:
    keys = parse_signing_keys(content)
    # What stands for no file yet is this very object.
    if not keys and content is not NO_SIGNING_KEYS:
        raise InvalidSigningKeys("it has no key")
    return keys


class OwnKeys:
    """Kept so that a restart goes on with them: what has been signed and copied stays good."""

    def __init__(self, path: Path, rotation: Rotation, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.content = NO_SIGNING_KEYS
        """The private keys as a JWK Set."""
        self.problem: str | None = None
        """Why the keys are not those that they should be now."""
        self._rotation = rotation
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()

    def reread(self, *, tell_again: bool = False) -> bool:
        """Make what is due; whether `content` has changed. What is wrong is told once, or again on demand. Blocks."""
        before = self.problem
        try:
            changed = self._rotate()
            self.problem = None
        except OSError as error:
            changed, self.problem = False, error.strerror or str(error)
        if self.problem is not None and (tell_again or self.problem != before):
            structlog.get_logger().error("upstream_keys_not_kept", file=str(self.path), problem=self.problem)
        return changed

    def _rotate(self) -> bool:
        now = self._clock()
        kept = self._keys or self._read()
        keys = rotated(kept, now, self._rotation)
        if keys != self._keys:
            # In the file before anybody signs with one: a restart must not forget it.
            if keys != kept:
                write_secret_file(self.path, private_document(keys))
                structlog.get_logger().info("upstream_keys_rotated", key=key_for(keys, now).kid, next_key=keys[-1].kid)
            self._keys, self.content = keys, private_document(keys)
            return True
        return False

    def _read(self) -> tuple[SigningKey, ...]:
        try:
            return parse_signing_keys(read_trust_file(self.path))
        except FileNotFoundError:
            return ()
        except InvalidSigningKeys as error:
            # They cannot be had any more; others are better than none.
            structlog.get_logger().error("upstream_keys_lost", file=str(self.path), problem=str(error))
            return ()
