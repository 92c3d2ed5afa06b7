"""Finds the service that speaks for a host and path."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from authz_server.model import Path
from authz_server.policy.folding import fold_segment
from authz_server.policy.patterns import parse_host_pattern

Service = TypeVar("Service")


class _Prefixes(Generic[Service]):
    """The claims on one host, as a tree over folded segments: finding one takes no longer the more there are."""

    __slots__ = ("_further", "_prefix", "_service")

    def __init__(self) -> None:
        self._further: dict[str, _Prefixes[Service]] = {}
        self._prefix: tuple[str, ...] = ()
        self._service: Service | None = None

    def add(self, prefix: tuple[str, ...], service: Service) -> None:
        """Let a service speak for everything below a path; no two have the same one but for the spelling."""
        node = self
        for segment in prefix:
            node = node._further.setdefault(fold_segment(segment), _Prefixes())
        node._prefix, node._service = prefix, service

    def longest(self, segments: tuple[str, ...]) -> "_Prefixes[Service] | None":
        """The claim with the longest prefix that the path has, but for the spelling."""
        node, found = self, self if self._service is not None else None
        for segment in segments:
            if not node._further:
                break
            following = node._further.get(fold_segment(segment))
            if following is None:
                break
            node = following
            if node._service is not None:
                found = node
        return found

    def speaker(self, segments: tuple[str, ...]) -> Service | None:
        """The service, where the path has the prefix as it is written."""
        return self._service if segments[: len(self._prefix)] == self._prefix else None


class HostIndex(Generic[Service]):
    """Services by host and path prefix. Built once, then only read."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, int | None], _Prefixes[Service]] = {}

    def add(self, host: str, path_prefix: str, service: Service) -> None:
        """Let a service speak for a host pattern and everything below a literal path."""
        pattern = parse_host_pattern(host)
        prefixes = self._claims.setdefault((pattern.name, pattern.port), _Prefixes())
        prefixes.add(tuple(part for part in path_prefix.split("/") if part), service)

    def find(self, host: str, port: int | None, path: Path) -> Service | None:
        """The service with the most exact host and then the longest prefix.

        A path that some service claims but for case or trailing dots belongs to nobody: backends that ignore
        the difference would serve it as that service's, whose rules would not have been asked.
        """
        for name in _patterns_for(host):
            for key in ((name, port), (name, None)) if port is not None else ((name, None),):
                prefixes = self._claims.get(key)
                claim = None if prefixes is None else prefixes.longest(path.segments)
                if claim is not None:
                    return claim.speaker(path.segments)
        return None


def _patterns_for(host: str) -> Iterator[str]:
    """The patterns that fit a host, the most exact first: itself, `*.` and ever fewer of its labels, `*`."""
    yield host
    rest = host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    yield "*"
