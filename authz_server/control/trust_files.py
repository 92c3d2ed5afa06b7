"""Keys and trust bundles in files: read again as long as the server runs; a bad edit changes nothing."""

from collections.abc import Callable
from pathlib import Path

import structlog

from authz_server.bounds import MIB, Bound

MAX_BYTES = MIB
CONTENTS = Bound(
    "files of keys",
    "file",
    entries=2,
    bytes=2 * MAX_BYTES,
    holds="Keys, bundles, API keys or revocations: the file as it is, and its last good content.",
    full="What is larger is refused, and the last good content stays.",
)


class TrustFile:
    """The last good content of a file; `absent` until there is one."""

    def __init__(self, path: Path, parse: Callable[[bytes], object], absent: bytes) -> None:
        """`parse` raises ValueError for content that cannot be used."""
        self.path = path
        self.content = absent
        self.problem: str | None = None
        """What is wrong with the file as it is now."""
        self.was_good = False
        """Whether `content` is from the file."""
        self.parsed: object = parse(absent)
        self._parse = parse
        self._seen: bytes | None = None

    def reread(self, *, tell_again: bool = False) -> bool:
        """Look at the file; whether `content` has changed. What is wrong is told once, or again on demand. Blocks."""
        before = (self.problem, self._seen)
        changed = self._look()
        if self.problem is not None and (tell_again or (self.problem, self._seen) != before):
            structlog.get_logger().error("trust_file_refused", file=str(self.path), problem=self.problem)
        if self.problem is None and before[0] is not None:
            structlog.get_logger().info("trust_file_mended", file=str(self.path))
        return changed

    def _look(self) -> bool:
        try:
            content = read_trust_file(self.path)
        except OSError as error:
            self._seen, self.problem = None, error.strerror or str(error)
            return False
        if content == self._seen:
            return False
        self._seen = content
        try:
            self.parsed = self._parse(content)
        except ValueError as error:
            self.problem = str(error)
            return False
        self.problem, self.was_good = None, True
        changed = content != self.content
        self.content = content
        return changed


def read_trust_file(path: Path) -> bytes:
    """Its content; of a file that is too large, so much that parsers refuse it. Blocks. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)
