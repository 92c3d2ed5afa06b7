"""Requests that learned rules are meant to allow, told without the engine that the rules are for."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from authz_server.learning.asked import Caller
from authz_server.learning.grants import Grant, Operation, Who
from authz_server.policy.patterns import PathTemplate, parse_path_template
from authz_server.request.path import canonical_path


class Tried(Struct, frozen=True):
    """A request of a test."""

    caller: Caller
    subject: str | None
    method: str
    host: str
    path: str
    is_grpc: bool = False
    upgrade: str = ""


class Permitted:
    """What some grants are about."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._grants: dict[tuple[str, str, str, bool], list[tuple[Who, PathTemplate]]] = {}
        for grant in grants:
            operation = grant.operation
            entry = (grant.who, parse_path_template(operation.path))
            self._grants.setdefault(_kind(operation), []).append(entry)

    def __contains__(self, tried: Tried) -> bool:
        """Whether a rule is meant to allow this."""
        path = canonical_path(tried.path).path
        # Rules for paths are about gRPC calls as well.
        kinds = (replace(tried, is_grpc=False), tried) if tried.is_grpc else (tried,)
        return any(
            _fits(who, tried) and template.match(path) is not None
            for kind in kinds
            for who, template in self._grants.get(_kind(kind), ())
        )


def _kind(each: Operation | Tried) -> tuple[str, str, str, bool]:
    return each.host, each.method, each.upgrade, each.is_grpc


def _fits(who: Who, tried: Tried) -> bool:
    one, other = who.caller, tried.caller
    if one.anonymous:
        return other.anonymous
    pairs = ((one.workload, other.workload), (one.issuer, other.issuer), (one.actor, other.actor))
    return all(mine in (None, its) for mine, its in pairs) and (who.subjects is None or tried.subject in who.subjects)
