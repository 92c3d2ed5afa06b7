"""By which of the operations that it lists an allow rule was used."""

from typing import NamedTuple

from authz_server.bounds import MIB, Bound, Room
from authz_server.errors import Refused
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import PathTemplate
from authz_server.policy.plan import OperationItem, Rule
from authz_server.request.path import canonical_path
from authz_server.usage.shapes import shape_of

ROUTES = Bound(
    "routes of paths",
    "server",
    entries=50_000,
    bytes=16 * MIB,
    holds="Which template of a rule a recorded path fits, to count what is used.",
    full="All are forgotten, and found again.",
    kept_in=("Routes._rules", "Routes._known"),
)
_ENTRY_BYTES = 256


class Route(NamedTuple):
    """Which template of an item of `to`, and what the template leaves open."""

    template: int | None
    """By its position; None where the item names no paths."""
    shape: str
    """Of what `**` stands for, or of the whole path without a template; empty where the template says it all."""


class Routes:
    """Finds the routes of recorded paths, for the rules of one set of policies."""

    def __init__(self) -> None:
        self._rules: dict[str, list[list[PathTemplate | None]]] = {}
        self._known: dict[tuple[str, int, str], Route | None] = {}
        self._room = Room(ROUTES)

    def of(self, rule: Rule, item: int | None, path: str) -> Route | None:
        """The route of a path as it is on record, by this item of the rule's `to`; None where nobody can tell."""
        key = (rule.id, item or 0, path)
        if key not in self._known:
            if self._room.is_full_for(_ENTRY_BYTES + len(path)):
                self._known.clear()
                self._rules.clear()
            self._known[key] = self._find(rule, item or 0, path)
        return self._known[key]

    def _find(self, rule: Rule, item: int, path: str) -> Route | None:
        if rule.id not in self._rules:
            self._rules[rule.id] = [templates(each) for each in rule.operations or (OperationItem(),)]
        try:
            canonical = canonical_path(path, allow_empty=True).path
        except Refused:
            return None
        found = self._rules[rule.id]
        for number, template in enumerate(found[item] if item < len(found) else ()):
            if template is None:
                return Route(None, shape_of(canonical))
            if template.match(canonical) is not None:
                named = template.rest is None and not _is_any_call(rule, item)
                return Route(number, "" if named else shape_of(canonical, len(template.segments) - (not template.rest)))
        return None


def _is_any_call(rule: Rule, item: int) -> bool:
    """Whether the item is about all methods of a gRPC service."""
    grpc = None if rule.operations is None else rule.operations[item].grpc
    return grpc is not None and not grpc.methods
