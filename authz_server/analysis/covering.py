"""Whether everything that fits one part of a rule fits a part of another one too; where that is not plain, no."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_network
from itertools import product

from msgspec.structs import replace

from authz_server.identity.spiffe import SpiffePattern, parse_spiffe_pattern
from authz_server.policy.folding import fold_capture, fold_segment
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import Capture, Literal, PathTemplate, parse_host_pattern
from authz_server.policy.plan import CallerItem, Effect, OperationItem, UserItem

Both = tuple[CallerItem, ...]
"""Items without roles, all of which must fit."""


def ways(item: CallerItem) -> list[Both]:
    """An item of `from` as the ways through its roles."""
    bare = replace(item, any_of=())
    if not item.any_of:
        return [(bare,)]
    return [(bare, *way) for nested in item.any_of for way in ways(nested)]


def covers_callers(wide: Both, narrow: Both) -> bool:
    """Whether whoever fits all of `narrow` fits all of `wide`."""
    return all(any(_covers_field(field, one, wanted) for one in narrow) for wanted in wide for field in _fields(wanted))


def _fields(item: CallerItem) -> list[str]:
    fields = [name for name in ("workloads", "networks", "anonymous") if getattr(item, name)]
    return fields if item.users is None else [*fields, "users"]


def _covers_field(field: str, narrow: CallerItem, wide: CallerItem) -> bool:
    if field == "workloads":
        return bool(narrow.workloads) and _each(narrow.workloads, wide.workloads, covers_workload)
    if field == "networks":
        return bool(narrow.networks) and _each(narrow.networks, wide.networks, _covers_network)
    if field == "anonymous":
        return narrow.anonymous
    return narrow.users is not None and (wide.users is None or _covers_user(wide.users, narrow.users))


def _each(narrow: Iterable[str], wide: Sequence[str], covers: object) -> bool:
    return all(any(covers(one, each) for one in wide) for each in narrow)  # type: ignore[operator]


def covers_workload(wide: str, narrow: str) -> bool:
    """Whether one SPIFFE pattern fits all that another one fits."""
    one, other = parse_spiffe_pattern(wide), parse_spiffe_pattern(narrow)
    if one.trust_domain != other.trust_domain or len(other.segments) < len(one.segments):
        return False
    if other.rest and not one.rest:
        return False
    longer = len(other.segments) > len(one.segments) or other.rest
    if one.rest and not longer:
        return False
    if not one.rest and len(other.segments) != len(one.segments):
        return False
    return all(a in ("*", b) for a, b in zip(one.segments, other.segments, strict=False))


def workloads_meet(one: str, other: str) -> bool:
    """Whether some SPIFFE ID fits both patterns."""
    first, second = parse_spiffe_pattern(one), parse_spiffe_pattern(other)
    if first.trust_domain != second.trust_domain:
        return False
    if not (_may_be_as_long(first, second) and _may_be_as_long(second, first)):
        return False
    return all(a == b or "*" in (a, b) for a, b in zip(first.segments, second.segments, strict=False))


def _may_be_as_long(one: SpiffePattern, other: SpiffePattern) -> bool:
    least = len(other.segments) + other.rest
    return one.rest or len(one.segments) >= least


def _covers_network(wide: str, narrow: str) -> bool:
    one, other = ip_network(wide), ip_network(narrow)
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]


def networks_meet(one: str, other: str) -> bool:
    """Whether some address is in both."""
    return _covers_network(one, other) or _covers_network(other, one)


def _covers_user(wide: UserItem, narrow: UserItem) -> bool:
    claims = {name: {(type(value), value) for value in values} for name, values in narrow.claims}
    return (
        wide.issuer in (None, narrow.issuer)
        and _is_among(narrow.subjects, wide.subjects)
        and set(wide.scopes) <= set(narrow.scopes)
        and _is_among(narrow.roles, wide.roles)
        and _is_among(narrow.groups, wide.groups)
        and _is_among(narrow.actors, wide.actors)
        and all(
            name in claims and claims[name] <= {(type(value), value) for value in values}
            for name, values in wide.claims
        )
    )


def _is_among(narrow: Sequence[str], wide: Sequence[str]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


@lru_cache(maxsize=4096)
def single(item: OperationItem) -> list[tuple[OperationItem, PathTemplate | None]]:
    """An item of `to` with each of its templates."""
    return [(item, template) for template in templates(item)]


def covers_operation(
    wide: tuple[OperationItem, PathTemplate | None],
    narrow: tuple[OperationItem, PathTemplate | None],
    effect: Effect,
    hosts: Sequence[str],
) -> bool:
    """Whether all that fits one way of an allow rule fits one of a rule with this effect; `hosts` are the service's."""
    (item, template), (other, other_template) = wide, narrow
    if effect == "deny":
        protocol = item.upgrade in (None, other.upgrade) and (not item.connect or other.connect)
    else:
        protocol = (item.upgrade, item.connect) == (other.upgrade, other.connect)
        protocol = protocol and (item.grpc is None or other.grpc is not None)
    return (
        protocol
        and _is_among(other.methods, item.methods)
        and (not item.ports or (bool(other.ports) and set(other.ports) <= set(item.ports)))
        and (not item.hosts or _each(other.hosts or hosts, item.hosts, _covers_host))
        and (template is None or (other_template is not None and covers_template(template, other_template, effect)))
    )


def _covers_host(wide: str, narrow: str) -> bool:
    one, other = parse_host_pattern(wide), parse_host_pattern(narrow)
    below = one.name.startswith("*.") and other.name.removeprefix("*").endswith(one.name[1:])
    return one.port in (None, other.port) and (one.name in ("*", other.name) or below)


def covers_template(wide: PathTemplate, narrow: PathTemplate, effect: Effect) -> bool:
    """Whether all paths of an allow rule's template fit another one; deny rules fold."""
    if len(narrow.segments) < len(wide.segments) or (narrow.rest is not None and wide.rest is None):
        return False
    if wide.rest is None:
        same_end = effect == "deny" or narrow.trailing_slash == wide.trailing_slash
        if len(narrow.segments) != len(wide.segments) or not same_end:
            return False
    elif len(narrow.segments) == len(wide.segments) and narrow.rest is None:
        return False
    pairs = zip(wide.segments, narrow.segments, strict=False)
    return all(_covers_segment(one, other, effect) for one, other in pairs)


def _covers_segment(wide: Literal | Capture, narrow: Literal | Capture, effect: Effect) -> bool:
    folds = effect == "deny"
    if isinstance(wide, Literal):
        if not isinstance(narrow, Literal):
            return False
        return (fold_segment(wide.text) == fold_segment(narrow.text)) if folds else wide.text == narrow.text
    if isinstance(narrow, Literal):
        capture = fold_capture(wide) if folds else wide
        return wide.accepts(narrow.text) is not None or (
            folds and capture.accepts(fold_segment(narrow.text)) is not None
        )
    if wide.kind != "text" and (wide.kind, wide.prefix, wide.suffix) != (narrow.kind, narrow.prefix, narrow.suffix):
        return False
    return narrow.prefix.startswith(wide.prefix) and narrow.suffix.endswith(wide.suffix)


def nobody_fits(both: Both) -> bool:
    """Whether the items of one way exclude each other."""
    return any(_exclude(one, other) for one, other in product(both, repeat=2) if one is not other)


def _exclude(one: CallerItem, other: CallerItem) -> bool:
    if one.anonymous and (other.workloads or other.users is not None):
        return True
    if one.workloads and other.workloads and not _some(one.workloads, other.workloads, workloads_meet):
        return True
    if one.networks and other.networks and not _some(one.networks, other.networks, networks_meet):
        return True
    if one.users is None or other.users is None:
        return False
    issuers = {one.users.issuer, other.users.issuer} - {None}
    subjects = bool(one.users.subjects and other.users.subjects)
    return len(issuers) > 1 or (subjects and not set(one.users.subjects) & set(other.users.subjects))


def _some(ones: Sequence[str], others: Sequence[str], meet: object) -> bool:
    return any(meet(one, other) for one in ones for other in others)  # type: ignore[operator]
