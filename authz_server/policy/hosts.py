"""Finds the service that speaks for a host and path."""

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from authz_server.model import Path
from authz_server.policy.folding import fold_segment
from authz_server.policy.patterns import parse_host_pattern

Service = TypeVar("Service")


class _Claim(NamedTuple, Generic[Service]):
    """One service's claim on a host: everything below a path prefix."""

    prefix: tuple[str, ...]
    service: Service


class HostIndex(Generic[Service]):
    """Services by host and path prefix. Built once, then only read."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, int | None], list[_Claim[Service]]] = {}

    def add(self, host: str, path_prefix: str, service: Service) -> None:
        """Let a service speak for a host pattern and everything below a literal path."""
        pattern = parse_host_pattern(host)
        claims = self._claims.setdefault((pattern.name, pattern.port), [])
        claims.append(_Claim(tuple(part for part in path_prefix.split("/") if part), service))
        claims.sort(key=lambda claim: len(claim.prefix), reverse=True)

    def find(self, host: str, port: int | None, path: Path) -> Service | None:
        """The service with the most exact host and then the longest prefix.

        A path that some service claims but for case or trailing dots belongs to nobody: backends that ignore
        the difference would serve it as that service's, whose rules would not have been asked.
        """
        for name in _patterns_for(host):
            for key in ((name, port), (name, None)) if port is not None else ((name, None),):
                for prefix, service in self._claims.get(key, ()):
                    if not prefix or path.segments[: len(prefix)] == prefix:
                        return service
                    if _is_spelling_of(path.segments, prefix):
                        return None
        return None


def _is_spelling_of(segments: Sequence[str], prefix: Sequence[str]) -> bool:
    """Whether a path begins with a prefix but for the spelling."""
    begins = zip(segments, prefix, strict=False)
    return len(segments) >= len(prefix) and all(fold_segment(one) == fold_segment(other) for one, other in begins)


def _patterns_for(host: str) -> Iterator[str]:
    """The patterns that fit a host, the most exact first: itself, `*.` and ever fewer of its labels, `*`."""
    yield host
    rest = host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    yield "*"
