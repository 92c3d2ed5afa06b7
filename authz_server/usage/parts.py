"""The parts of an allow rule that was used: which of them were, and what of the wide ones."""

from collections.abc import Iterable, Iterator

from authz_server.identity.spiffe import InvalidSpiffeId, SpiffePattern, parse_spiffe_id, parse_spiffe_pattern
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import parse_path_template
from authz_server.policy.plan import CallerItem, OperationItem, Rule
from authz_server.usage.counted import Counted, Seen, Use, last_of
from authz_server.usage.found import Called, Place, Unknown, Unused, Wide

MAX_OPERATIONS = 12
"""That are named of one caller."""


def parts(rule: Rule, counted: Counted, cutoff: float) -> Iterator[Unused | Wide]:
    """What nobody has used since `cutoff`, and what of the wide grants somebody has."""
    looked = _Looked(rule, counted, cutoff)
    if not looked.items_known:
        return
    for number, caller in enumerate(rule.callers or ()):
        place: Place = ("from", number)
        if not looked.is_used(0, number):
            yield looked.unused(place, _caller_in_words(caller), looked.seen_of_items(0, number))
        elif looked.uses_known:
            yield from _workloads(looked, place, caller)
    for position, operation in enumerate(rule.operations or ()):
        place = ("to", position)
        if not looked.is_used(1, position):
            yield looked.unused(place, operation_in_words(operation), looked.seen_of_items(1, position))
        elif looked.uses_known:
            yield from _operation(looked, place, operation)
    if rule.operations is None and looked.uses_known:
        yield looked.wide(("to",), "every operation", {in_words(rule, use) for use in looked.uses})
    if rule.callers is None and looked.uses_known:
        yield looked.wide(("from",), "anyone", {_caller(use) for use in looked.uses})


def unknown(rule: Rule, counted: Counted, cutoff: float) -> Iterator[Unknown]:
    """What records do not say of a rule's uses since `cutoff`."""
    looked = _Looked(rule, counted, cutoff)
    if not looked.items_known:
        yield Unknown(rule.id, rule.location, counted.unknown_items.count, "items")
    elif not looked.uses_known:
        yield Unknown(rule.id, rule.location, counted.unlisted.count, "uses")


def called(rule: Rule, counted: Counted, cutoff: float) -> Iterator[Called]:
    """What each caller has used of a rule since `cutoff`, the most frequent first."""
    by_caller: dict[str, list[tuple[Use, Seen]]] = {}
    for use, seen in counted.uses.items():
        if seen.last >= cutoff:
            by_caller.setdefault(_caller(use), []).append((use, seen))
    rows = []
    for caller, uses in by_caller.items():
        operations = sorted({in_words(rule, use) for use, _ in uses})
        count, last = sum(seen.count for _, seen in uses), max(seen.last for _, seen in uses)
        rows.append(Called(rule.id, caller, tuple(operations), count, last))
    yield from sorted(rows, key=lambda row: (-row.decisions, row.caller))


class _Looked:
    """One rule, its uses since a moment, and what is known of them."""

    def __init__(self, rule: Rule, counted: Counted, cutoff: float) -> None:
        self._rule = rule
        self._counted = counted
        self._cutoff = cutoff
        self.ever = counted.uses.items()
        """Uses however long ago."""
        self.uses = [use for use, seen in self.ever if seen.last >= cutoff]
        self.items_known = not counted.unknown_items.count or counted.unknown_items.last < cutoff
        self.uses_known = not counted.unlisted.count or counted.unlisted.last < cutoff

    def is_used(self, side: int, number: int) -> bool:
        """Whether the item of `from` (0) or `to` (1) with this number was used."""
        return any(seen.last >= self._cutoff for seen in self.seen_of_items(side, number))

    def seen_of_items(self, side: int, number: int) -> list[Seen]:
        """The uses by the item of `from` (0) or `to` (1) with this number, however long ago."""
        return [seen for items, seen in self._counted.items.items() if items[side] == number]

    def unused(self, place: Place, grants: str, seen: Iterable[Seen]) -> Unused:
        """A part that nobody has used; `seen` are its uses before."""
        last = last_of(seen) or 0.0
        since, rule = max(last, self._counted.since), self._rule
        timed = rule.times is not None
        return Unused(rule.id, rule.location, rule.effect, place, grants, since, since == last, timed)

    def wide(self, place: Place, grants: str, used: Iterable[str]) -> Wide:
        """A grant that does not end, and what was used of it."""
        return Wide(self._rule.id, self._rule.location, place, grants, tuple(sorted(used)))


def _workloads(looked: _Looked, place: Place, item: CallerItem) -> Iterator[Unused | Wide]:
    used = {use.workload for use in looked.uses if use.caller_item == place[1] and use.workload is not None}
    for number, text in enumerate(item.workloads):
        pattern = parse_spiffe_pattern(text)
        here: Place = (*place, "workloads", number)
        fitting = {workload for workload in used if _fits(pattern, workload)}
        if not fitting and len(item.workloads) > 1:
            yield looked.unused(here, text, [seen for use, seen in looked.ever if _fits(pattern, use.workload or "")])
        elif pattern.rest or "*" in pattern.segments:
            yield looked.wide(here, text, fitting)


def _operation(looked: _Looked, place: Place, item: OperationItem) -> Iterator[Unused | Wide]:
    uses = [use for use in looked.uses if use.operation_item == place[1]]

    ever = [(use, seen) for use, seen in looked.ever if use.operation_item == place[1]]
    methods = {use.method for use in uses}
    for number, method in enumerate(item.methods):
        if method not in methods and len(item.methods) > 1:
            before = [seen for use, seen in ever if use.method == method]
            yield looked.unused((*place, "methods", number), method, before)
    if item.connect:
        return
    if item.grpc is not None:
        for number, call in enumerate(item.grpc.methods):
            if all(use.template != number for use in uses) and len(item.grpc.methods) > 1:
                grants = f"{item.grpc.service}/{call}"
                before = [seen for use, seen in ever if use.template == number]
                yield looked.unused((*place, "grpc", "methods", number), grants, before)
        if not item.grpc.methods:
            calls = {use.shape.removeprefix("/") for use in uses}
            yield looked.wide((*place, "grpc", "methods"), f"every method of {item.grpc.service}", calls)
        return
    if not item.methods:
        yield looked.wide((*place, "methods"), "every method", methods)
    if not item.paths:
        yield looked.wide((*place, "paths"), "every path", {use.shape for use in uses})
    for number, text in enumerate(item.paths):
        shapes = {use.shape for use in uses if use.template == number}
        if not shapes and len(item.paths) > 1:
            before = [seen for use, seen in ever if use.template == number]
            yield looked.unused((*place, "paths", number), text, before)
        elif parse_path_template(text).rest is not None:
            yield looked.wide((*place, "paths", number), text, {joined(text, shape) for shape in shapes})


def joined(template: str, shape: str) -> str:
    """A template that ends in `**`, or in a capture of all that follows, with a shape in place of that."""
    return f"{template.rpartition('/')[0]}{shape}"


def in_words(rule: Rule, use: Use) -> str:
    """Method and path of a use."""
    item = OperationItem() if rule.operations is None else rule.operations[use.operation_item or 0]
    template = templates(item)[use.template or 0]
    if template is None:
        return f"{use.method} {use.shape}"
    return f"{use.method} {joined(template.text, use.shape) if use.shape else template.text}"


def operation_in_words(item: OperationItem) -> str:
    """What an item of `to` is about."""
    if item.grpc is not None:
        calls = f" ({', '.join(item.grpc.methods)})" if item.grpc.methods else ""
        return f"gRPC {item.grpc.service}{calls}"
    words = ["CONNECT"] if item.connect else [", ".join(item.methods) or "every method"]
    words += [", ".join(item.paths) or "every path"] if not item.connect else []
    words += [f"upgrade to {item.upgrade}"] if item.upgrade else []
    words += [f"at {', '.join(item.hosts)}"] if item.hosts else []
    words += [f"port {', '.join(map(str, item.ports))}"] if item.ports else []
    return " ".join(words)


def _caller_in_words(item: CallerItem) -> str:
    words = [*item.workloads, *item.networks]
    if item.users is not None:
        words.append(f"users of {item.users.issuer}" if item.users.issuer else "any user")
    words += ["anonymous"] if item.anonymous else []
    words += ["callers with a role"] if item.any_of else []
    return ", ".join(words)


def _caller(use: Use) -> str:
    workload = use.workload or "no workload"
    return workload if use.issuer is None else f"{workload}, user of {use.issuer}"


def _fits(pattern: SpiffePattern, workload: str) -> bool:
    try:
        return pattern.matches(parse_spiffe_id(workload))
    except InvalidSpiffeId:
        return False
