"""The names that policies use and a configuration defines."""

from collections.abc import Callable
from typing import NamedTuple

from authz_server.documents.problem import Problem

Report = Callable[[Problem], None]
"""Takes each problem that is found."""


class TooManyProblemsError(Exception):
    """There are so many problems that nobody would read another."""


class KnownNames(NamedTuple):
    """What a configuration defines."""

    issuers: frozenset[str]
    trust_domains: frozenset[str]
    written_headers: frozenset[str] = frozenset()
    """Headers that the server itself writes for upstreams, in lower case."""
    metadata: frozenset[str] = frozenset()
    """Namespaces of Envoy's metadata."""
