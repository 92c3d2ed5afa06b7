"""By which of the operations that it lists an allow rule was used."""

from typing import NamedTuple

from authz_server.audit.record import is_whole
from authz_server.bounds import MIB, Bound, Room
from authz_server.errors import Refused
from authz_server.policy.operation_index import templates
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
    kept_in=("Routes._known",),
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
        self._rules: dict[str, list[_Item]] = {}
        self._known: dict[tuple[str, int, str], Route | None] = {}
        self._room = Room(ROUTES)

    def of(self, rule: Rule, item: int | None, path: str) -> Route | None:
        """The route of a path as it is on record, by this item of the rule's `to`; None where nobody can tell."""
        routed = self._rules.get(rule.id)
        if routed is None:
            routed = self._rules[rule.id] = [_Item(each) for each in rule.operations or (OperationItem(),)]
        number = item or 0
        if number >= len(routed):
            return None
        if routed[number].only is not None:
            return routed[number].only
        key = (rule.id, number, path)
        try:
            return self._known[key]
        except KeyError:
            if self._room.is_full_for(_ENTRY_BYTES + len(path)):
                self._known.clear()
            self._known[key] = found = routed[number].route(path)
            return found


class _Item:
    """An item of `to`."""

    def __init__(self, item: OperationItem) -> None:
        self._templates = templates(item)
        self._any_call = item.grpc is not None and not item.grpc.methods
        [first, *further] = self._templates
        bounded = first is not None and first.rest is None and not further and not self._any_call
        self.only = Route(0, "") if bounded else None
        """The route of whatever fits, where there is no other: nobody has to look at paths."""

    def route(self, path: str) -> Route | None:
        """By which template a path fits; None where by none, or where nobody can tell."""
        if not is_whole(path):
            return None
        try:
            canonical = canonical_path(path, allow_empty=True).path
        except Refused:
            return None
        for number, template in enumerate(self._templates):
            if template is None:
                return Route(None, shape_of(canonical))
            if template.match(canonical) is not None:
                if template.rest is not None:
                    return Route(number, shape_of(canonical, len(template.segments)))
                # Of a gRPC service all of whose methods fit, the method is what is used.
                return Route(number, shape_of(canonical, 1) if self._any_call else "")
        return None
