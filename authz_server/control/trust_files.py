"""Keys and trust bundles in files: read again as long as the server runs; a bad edit changes nothing."""

from collections.abc import Callable
from pathlib import Path

import structlog

_MAX_BYTES = 1024 * 1024 + 1


class TrustFile:
    """The last good content of a file; `absent` until there is one."""

    def __init__(self, path: Path, parse: Callable[[bytes], object], absent: bytes) -> None:
        """`parse` raises ValueError for content that cannot be used."""
        self.path = path
        self.content = absent
        self.problem: str | None = None
        """What is wrong with the file as it is now."""
        self.parsed: object = parse(absent)
        self._parse = parse
        self._seen: bytes | None = None

    def reread(self) -> bool:
        """Look at the file; whether `content` has changed. Blocks."""
        try:
            with self.path.open("rb") as stream:
                content = stream.read(_MAX_BYTES)
        except OSError as error:
            self._refuse(None, error.strerror or str(error))
            return False
        if content == self._seen:
            return False
        try:
            parsed = self._parse(content)
        except ValueError as error:
            self._refuse(content, str(error))
            return False
        self._seen, self.problem, self.parsed = content, None, parsed
        changed = content != self.content
        self.content = content
        return changed

    def _refuse(self, content: bytes | None, problem: str) -> None:
        if problem != self.problem or content != self._seen:
            structlog.get_logger().error("trust_file_refused", file=str(self.path), problem=problem)
        self._seen, self.problem = content, problem
