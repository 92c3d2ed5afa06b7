"""What rules could say instead, so that they allow what was used and less beside it."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from authz_server.learning.names import capture_name
from authz_server.policy.patterns import parse_path_template
from authz_server.policy.plan import OperationItem, Plan, Rule
from authz_server.usage.found import Findings, Place, Unused, Wide, by_rule
from authz_server.usage.shapes import INT, TEXT, UUID

MAX_PATHS = 12
"""That take the place of one; where more were used, it stays."""
MAX_WORKLOADS = 12
MAX_METHODS = 20
_KINDS = {INT: ":int", UUID: ":uuid", TEXT: ""}


class Edit(Struct, frozen=True):
    """A change of a document: what stands at the place goes, or the list there becomes another one."""

    place: Place
    """Below the rule; `()` is the rule."""
    becomes: tuple[object, ...] | None = None


class Narrowing(Struct, frozen=True):
    """The edits of one rule."""

    rule: str
    edits: tuple[Edit, ...]


def narrowings_of(found: Findings, plan: Plan) -> list[Narrowing]:
    """What can be narrowed by what was found: allow rules that are old enough, and decide at any time."""
    rules = {rule.id: rule for service in plan.services for rule in service.rules}
    unused, wide = by_rule(found.unused), by_rule(found.wide)
    narrowings = []
    for name, rule in rules.items():
        if rule.effect == "allow" and not rule.audit and rule.times is None:
            edits = tuple(_edits(rule, unused.get(name, []), wide.get(name, [])))
            if edits:
                narrowings.append(Narrowing(name, edits))
    return narrowings


def _edits(rule: Rule, unused: Sequence[Unused], wide: Sequence[Wide]) -> Iterator[Edit]:
    gone = [each.place for each in unused]
    if () in gone:
        yield Edit(())
        return
    yield from (Edit(place) for place in gone if len(place) == 2)
    lists: dict[Place, list[object]] = {}
    for place in gone:
        if len(place) > 2:
            _remove(lists, rule, place)
    for each in wide:
        if each.place == ("to",):
            yield from _operations(each)
        elif each.place != ("from",) and (instead := _instead(rule, each)) is not None:
            _replace(lists, rule, each.place, instead)
    yield from (Edit(place, tuple(dict.fromkeys(values))) for place, values in lists.items())


def _remove(lists: dict[Place, list[object]], rule: Rule, place: Place) -> None:
    """Leave a value out of its list."""
    number = int(place[-1])
    written = _written(rule, place[:-1])
    values = lists.setdefault(place[:-1], list(written))
    values.remove(written[number])


def _replace(lists: dict[Place, list[object]], rule: Rule, place: Place, instead: Sequence[object]) -> None:
    """Put others in the place of a value, or of a list that is not there."""
    if isinstance(place[-1], str):
        lists[place] = list(instead)
        return
    written = _written(rule, place[:-1])
    values = lists.setdefault(place[:-1], list(written))
    at = values.index(written[place[-1]])
    values[at : at + 1] = instead


def _written(rule: Rule, place: Place) -> tuple[object, ...]:
    field, number, *names = place
    item: object = ((rule.callers if field == "from" else rule.operations) or ())[int(number)]
    for name in names:
        item = getattr(item, str(name))
    assert isinstance(item, tuple)  # noqa: S101 - only lists are narrowed
    return item


def _instead(rule: Rule, wide: Wide) -> Sequence[object] | None:
    """What takes the place of a wide grant; None where that stays."""
    field = next(name for name in reversed(wide.place) if isinstance(name, str))
    if not wide.used:
        return None
    if field == "workloads":
        return wide.used if len(wide.used) <= MAX_WORKLOADS else None
    if field == "methods":
        return wide.used if len(wide.used) <= MAX_METHODS else None
    operation = OperationItem() if rule.operations is None else rule.operations[int(wide.place[1])]
    if operation.upgrade is not None or len(wide.used) > MAX_PATHS:
        return None
    if isinstance(wide.place[-1], int):
        template = parse_path_template(operation.paths[wide.place[-1]])
        if template.rest is not None and template.rest.name is not None:
            # Conditions and answers may read what it captures.
            return None
    templates = [template_of(used) for used in wide.used]
    return None if wide.grants in templates else templates


def _operations(wide: Wide) -> Iterator[Edit]:
    """A `to` for a rule without one: an item for each set of methods that paths have in common."""
    methods: dict[str, list[str]] = {}
    for used in wide.used:
        method, _, shape = used.partition(" ")
        methods.setdefault(shape, []).append(method)
    if not 0 < len(methods) <= MAX_PATHS:
        return
    items: dict[tuple[str, ...], list[str]] = {}
    for shape, names in methods.items():
        items.setdefault(tuple(sorted(names)), []).append(template_of(shape))
    yield Edit(("to",), tuple([{"methods": list(names), "paths": paths} for names, paths in items.items()]))


def template_of(shape: str) -> str:
    """A path template for a shape: its open segments get names, from what stands in front of them."""
    made: list[str] = []
    literals: list[str] = []
    used = list(_captures(shape.split("/")))
    for segment in shape.split("/"):
        if segment not in _KINDS:
            made.append(segment)
            literals += [segment] if segment and "{" not in segment else []
            continue
        name = capture_name(literals, "id", used)
        used.append(name)
        made.append(f"{{{name}{_KINDS[segment]}}}")
    return "/".join(made)


def _captures(segments: Iterable[str]) -> Iterator[str]:
    """The names that a template has already."""
    for segment in segments:
        if segment not in _KINDS and "{" in segment:
            yield from parse_path_template(f"/{segment}").captures
