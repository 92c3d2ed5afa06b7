"""Who does what, as the least that rules have to allow."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from authz_server.analysis.covering import covers_template
from authz_server.learning.asked import Asked, Caller
from authz_server.learning.observations import Seen
from authz_server.model import Path
from authz_server.policy.patterns import Literal, PathTemplate, parse_path_template

_REPEATEDLY = 5
"""So often, on average, each of a few users has to be seen before a rule names them alone."""
_MANY = 5
"""A few users are so many times fewer than those of the same caller, who may not be meant."""


class Operation(Struct, frozen=True, order=True):
    """One kind of request."""

    host: str
    path: str
    """A template; of a gRPC call its path."""
    method: str
    is_grpc: bool
    upgrade: str


class Who(Struct, frozen=True):
    """A caller, as a rule names one."""

    caller: Caller
    subjects: frozenset[str] | None = None
    """The only users who are meant; None is any of the issuer."""

    @property
    def demands(self) -> int:
        """How many things a caller must have."""
        caller = self.caller
        return sum(each is not None for each in (caller.workload, caller.issuer, caller.actor, self.subjects))

    def covers(self, other: "Who") -> bool:
        """Whether every caller who fits the other fits this one."""
        one, two = self.caller, other.caller
        if one.anonymous or two.anonymous:
            return self == other
        pairs = ((one.workload, two.workload), (one.issuer, two.issuer), (one.actor, two.actor))
        return all(mine in (None, others) for mine, others in pairs) and (
            self.subjects is None or (other.subjects is not None and self.subjects >= other.subjects)
        )


class Observed(Struct):
    """All requests of one caller for one operation."""

    seen: Seen
    asked: list[Asked]
    subjects: set[str]

    def names_users(self, max_subjects: int) -> bool:
        """Whether they are few, and were seen so often that a rule can name them."""
        return 0 < len(self.subjects) <= max_subjects and self.seen.count >= _REPEATEDLY * len(self.subjects)


class Grant(Struct):
    """A caller who may do something, and what was seen of it."""

    who: Who
    operation: Operation
    seen: Seen
    example: Asked


def observed(requests: Mapping[Asked, Seen], templates: Mapping[Path, str]) -> dict[tuple[Caller, Operation], Observed]:
    """Requests by caller and operation; `templates` are those of paths that are no gRPC calls."""
    found: dict[tuple[Caller, Operation], Observed] = {}
    for asked, seen in requests.items():
        path = asked.path_text if asked.is_grpc else templates[asked.path]
        key = (asked.caller, Operation(asked.host, path, asked.method, asked.is_grpc, asked.upgrade))
        entry = found.get(key)
        if entry is None:
            entry = found[key] = Observed(Seen(seen.example), [], set())
        entry.seen.add(seen.count, seen.first, seen.last)
        entry.asked.append(asked)
        if asked.subject is not None:
            entry.subjects.add(asked.subject)
    return found


def by_few_of_many(
    found: Mapping[tuple[Caller, Operation], Observed], max_subjects: int
) -> set[tuple[Caller, Operation]]:
    """What few of many users were seen to do, and too seldom to name them: neither they nor all others may be meant."""
    users: dict[Caller, set[str]] = {}
    for (caller, _), entry in found.items():
        users.setdefault(caller, set()).update(entry.subjects)
    return {
        (caller, operation)
        for (caller, operation), entry in found.items()
        if 0 < len(entry.subjects) <= max_subjects
        and not entry.names_users(max_subjects)
        and len(users[caller]) >= _MANY * len(entry.subjects)
    }


def grants_of(found: Mapping[tuple[Caller, Operation], Observed], max_subjects: int) -> list[Grant]:
    """The least grants for all of it: none that another covers. A few users, often seen, are named one by one."""
    grants = []
    for (caller, operation), entry in found.items():
        who = Who(caller, frozenset(entry.subjects) if entry.names_users(max_subjects) else None)
        seen = replace(entry.seen)
        grants.append(Grant(who, operation, seen, entry.asked[0]))
    return _uncovered(grants)


def _uncovered(grants: Iterable[Grant]) -> list[Grant]:
    """Without those that another covers, which then counts their requests."""
    kept: dict[tuple[str, str, bool, str], list[tuple[Grant, PathTemplate]]] = {}
    for grant in sorted(grants, key=_narrowness):
        operation = grant.operation
        kind = (operation.host, operation.method, operation.is_grpc, operation.upgrade)
        template = parse_path_template(operation.path)
        wider = kept.setdefault(kind, [])
        cover = next(
            (each for each, its in wider if each.who.covers(grant.who) and covers_template(its, template, "allow")),
            None,
        )
        if cover is None:
            wider.append((grant, template))
        else:
            cover.seen.add(grant.seen.count, grant.seen.first, grant.seen.last)
    return sorted((grant for each in kept.values() for grant, _ in each), key=lambda grant: grant.operation)


def _narrowness(grant: Grant) -> tuple[int, int, int, Operation]:
    """What covers another comes before it."""
    template = parse_path_template(grant.operation.path)
    literals = sum(
        1_000_000 if isinstance(each, Literal) else len(each.prefix) + len(each.suffix) + (each.kind != "text")
        for each in template.segments
    )
    rest = 0 if template.rest is not None else 1
    return grant.who.demands, rest * 1_000_000_000_000 + literals, -len(grant.who.subjects or ()), grant.operation
