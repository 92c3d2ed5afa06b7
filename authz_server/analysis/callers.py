"""Callers, one of each kind that rules tell apart."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

from msgspec import Struct

from authz_server.analysis.judge import Who
from authz_server.analysis.segments import of_workload, representatives
from authz_server.identity.spiffe import SCHEME, InvalidSpiffeId, parse_spiffe_id, parse_spiffe_pattern
from authz_server.model import Actor, IpAddress, User
from authz_server.policy.callers import actor_match, user_match
from authz_server.policy.plan import CallerItem, Scalar, UserItem

MAX_USERS = 4_000
OUTSIDE_ADDRESSES = ("203.0.113.7", "198.51.100.7", "2001:db8:ffff::7")


class Named(Struct):
    """Everything about callers that rules and conditions name."""

    workloads: list[str] = []
    """SPIFFE patterns."""
    users: list[UserItem] = []
    networks: list[str] = []

    def add(self, items: Iterable[CallerItem]) -> None:
        """Take note of what items of `from` name, those of roles included."""
        for item in items:
            self.workloads += item.workloads
            self.networks += item.networks
            if item.users is not None:
                self.users.append(item.users)
            self.add(item.any_of)


def workloads(patterns: Iterable[str]) -> list[str | None]:
    """One SPIFFE ID of each kind that the patterns tell apart, and none."""
    parsed = [of_workload(parse_spiffe_pattern(text)) for text in dict.fromkeys(patterns)]
    found: list[str | None] = [None]
    for segments in representatives(parsed):
        if not segments:
            continue
        text = f"{SCHEME}{'/'.join(segments)}"
        try:
            parse_spiffe_id(text)
        except InvalidSpiffeId:
            continue
        found.append(text)
    return found if parsed else [None, f"{SCHEME}example.org/workload"]


def addresses(networks: Iterable[str]) -> list[str]:
    """One address of each kind that the networks tell apart, and an unknown one."""
    parsed = [ip_network(text) for text in dict.fromkeys(networks)]
    if not parsed:
        return [""]
    candidates: list[IpAddress] = [ip_address(text) for text in OUTSIDE_ADDRESSES]
    for network in parsed:
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = type(network.network_address)
        largest = 2**network.max_prefixlen - 1
        # Each kind begins where a network does, or behind the end of one.
        candidates += [kind(number) for number in (first + 1, first, last + 1, first - 1) if 0 <= number <= largest]
    kinds: dict[tuple[bool, ...], str] = {}
    for candidate in candidates:
        kinds.setdefault(tuple(candidate in network for network in parsed), str(candidate))
    return ["", *kinds.values()]


class _Wanted(Struct, frozen=True):
    """A user in the making: what must be there."""

    issuer: str | None = None
    subject: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    claims: frozenset[tuple[str, type, Scalar]] = frozenset()
    actor: str | None = None


def users(items: Iterable[UserItem], issuers: Sequence[str]) -> tuple[list[User | None], bool]:
    """One user of each kind that the items tell apart, no user first; and whether these are all.

    The least user that fits some of the items fits no other one that it need not fit: so one for each choice of items,
    and of the values by which each fits, is one of each kind. `issuers` are known names.
    """
    made: dict[_Wanted, None] = {_Wanted(): None}
    complete = True
    distinct = list(dict.fromkeys(items))
    acting = _actors([actor for item in distinct for actor in item.actors])
    for item in distinct:
        ways = list(_ways(item, acting))
        for wanted in list(made):
            for way in ways:
                if (both := _merged(wanted, way)) is not None:
                    made[both] = None
            if len(made) > MAX_USERS:
                complete = False
                break
    named = {item.issuer for item in distinct}
    other = next((name for name in issuers if name not in named), "another-issuer")
    kinds: dict[tuple[bool, ...], User] = {}
    matches = [user_match(item) for item in distinct]
    for wanted in made:
        user = _user(wanted, other)
        kinds.setdefault(tuple(match.fits(user) for match in matches), user)
    return [None, *kinds.values()], complete


def _ways(item: UserItem, acting: Sequence[str]) -> Iterator[_Wanted]:
    subjects: Sequence[str | None] = item.subjects or (None,)
    roles: Sequence[str | None] = item.roles or (None,)
    groups: Sequence[str | None] = item.groups or (None,)
    fitting = actor_match(item.actors) if item.actors else None
    fits = [actor for actor in acting if fitting is not None and fitting.fits(_actor(actor))]
    actors: Sequence[str | None] = fits or (None,)
    claims = [[(name, type(value), value) for value in values] for name, values in item.claims]
    for subject, role, group, actor, chosen in product(subjects, roles, groups, actors, product(*claims)):
        yield _Wanted(
            item.issuer,
            subject,
            frozenset(item.scopes),
            frozenset() if role is None else frozenset({role}),
            frozenset() if group is None else frozenset({group}),
            frozenset(chosen),
            actor,
        )


def _actors(named: Sequence[str]) -> list[str]:
    """One actor of each kind."""
    patterns = [actor for actor in named if actor.startswith(SCHEME)]
    known = [each for each in workloads(patterns) if each is not None] if patterns else []
    return [*known, *[actor for actor in named if not actor.startswith(SCHEME)]]


def _actor(name: str) -> Actor:
    return Actor(name, parse_spiffe_id(name) if name.startswith(SCHEME) else None)


def _merged(one: _Wanted, other: _Wanted) -> _Wanted | None:
    """Who is both; None where nobody can be."""
    for field in ("issuer", "subject", "actor"):
        mine, theirs = getattr(one, field), getattr(other, field)
        if mine is not None and theirs is not None and mine != theirs:
            return None
    return _Wanted(
        one.issuer or other.issuer,
        one.subject or other.subject,
        one.scopes | other.scopes,
        one.roles | other.roles,
        one.groups | other.groups,
        one.claims | other.claims,
        one.actor or other.actor,
    )


def _user(wanted: _Wanted, other_issuer: str) -> User:
    claims: dict[str, Any] = {}
    for name, _, value in sorted(wanted.claims, key=repr):
        claims[name] = value if name not in claims else [*_as_list(claims[name]), value]
    return User(
        issuer=wanted.issuer or other_issuer,
        subject=wanted.subject or "somebody",
        scopes=wanted.scopes,
        roles=wanted.roles,
        groups=wanted.groups,
        claims=claims,
        actor=None if wanted.actor is None else _actor(wanted.actor),
    )


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401  # of claims
    return value if isinstance(value, list) else [value]


def everybody(named: Named, issuers: Sequence[str]) -> tuple[list[Who], bool]:
    """One caller of each kind, the plainest first; and whether these are all."""
    all_users, complete = users(named.users, issuers)
    found = [
        Who(workload, user, address)
        for user in all_users
        for workload in workloads(named.workloads)
        for address in addresses(named.networks)
    ]
    return sorted(found, key=lambda who: who.weight), complete
