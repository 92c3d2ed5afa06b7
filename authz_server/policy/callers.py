"""Which callers an item of `from` fits."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec
from msgspec import Struct

from authz_server.identity.claims import find_claim
from authz_server.identity.spiffe import SCHEME, SpiffePattern, parse_spiffe_pattern
from authz_server.model import Actor, IpAddress, User, Workload
from authz_server.policy.plan import CallerItem, Effect, Scalar, UserItem

Key = tuple[str, str]
"""A thing that a caller can have exactly: its kind and value."""

ANONYMOUS: Key = ("anonymous", "")
ANY_USER: Key = ("user", "")


class Caller:
    """Everything about the caller of one request that `from` can ask for."""

    __slots__ = ("_keys", "ip", "user", "workload")

    def __init__(self, workload: Workload | None, user: User | None, ip: IpAddress | None) -> None:
        self.workload = workload
        self.user = user
        self.ip = ip
        self._keys: list[Key] | None = None

    def keys(self) -> list[Key]:
        """Everything that the caller has, to look rules up by; made when the first index asks."""
        if self._keys is None:
            keys: list[Key] = []
            if self.workload is not None:
                keys.append(("workload", self.workload.id.text))
            if (user := self.user) is not None:
                keys += [ANY_USER, ("subject", user.subject)]
                keys += [("group", group) for group in user.groups]
                keys += [("role", role) for role in user.roles]
                keys += [("scope", scope) for scope in user.scopes]
            self._keys = keys or [ANONYMOUS]
        return self._keys


class ActorMatch(Struct, frozen=True):
    """Which actors fit: one of either."""

    subjects: frozenset[str]
    patterns: tuple[SpiffePattern, ...]

    def fits(self, actor: Actor | None) -> bool:
        """Whether this is one of those who may act."""
        if actor is None:
            return False
        if actor.id is None:
            return actor.subject in self.subjects
        return any(pattern.matches(actor.id) for pattern in self.patterns)


class UserMatch(Struct, frozen=True):
    """Which users fit: every field that is not empty must."""

    issuer: str | None
    subjects: frozenset[str]
    scopes: frozenset[str]
    roles: frozenset[str]
    groups: frozenset[str]
    claims: tuple[tuple[str, tuple[Scalar, ...]], ...]
    actors: ActorMatch | None = None
    """None does not ask who acts."""

    def fits(self, user: User) -> bool:
        """Whether the user has all that is asked for."""
        return (
            (self.issuer is None or user.issuer == self.issuer)
            and (not self.subjects or user.subject in self.subjects)
            and (not self.scopes or self.scopes <= user.scopes)
            and (not self.roles or not self.roles.isdisjoint(user.roles))
            and (not self.groups or not self.groups.isdisjoint(user.groups))
            and (
                not self.claims
                or all(_claim_fits(find_claim(user.claims, name), wanted) for name, wanted in self.claims)
            )
            and (self.actors is None or self.actors.fits(user.actor))
        )


class CallerMatch(Struct, frozen=True):
    """Which callers fit: every field that is not empty must."""

    workloads: tuple[SpiffePattern, ...]
    users: UserMatch | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    fits_unknown_address: bool
    anonymous: bool
    any_of: tuple["CallerMatch", ...]

    def fits(self, caller: Caller) -> bool:
        """Whether the caller has all that is asked for."""
        return (
            (not self.workloads or self._workload_fits(caller.workload))
            and (self.users is None or (caller.user is not None and self.users.fits(caller.user)))
            and (not self.networks or self._network_fits(caller.ip))
            and (not self.anonymous or (caller.workload is None and caller.user is None))
            and (not self.any_of or any(item.fits(caller) for item in self.any_of))
        )

    def beyond_index(self) -> "CallerMatch | None":
        """What is left to ask of a caller that was found by index under its workload; None is nothing."""
        rest = msgspec.structs.replace(self, workloads=())
        anything = rest.users or rest.networks or rest.anonymous or rest.any_of
        return rest if anything else None

    def _workload_fits(self, workload: Workload | None) -> bool:
        return workload is not None and any(pattern.matches(workload.id) for pattern in self.workloads)

    def _network_fits(self, ip: IpAddress | None) -> bool:
        if ip is None:
            return self.fits_unknown_address
        return any(ip in network for network in self.networks)


def caller_match(item: CallerItem, effect: Effect) -> CallerMatch:
    """The item, ready to be asked. An unknown address fits the networks of deny rules only."""
    return CallerMatch(
        workloads=tuple(parse_spiffe_pattern(pattern) for pattern in item.workloads),
        users=None if item.users is None else user_match(item.users),
        networks=tuple(ip_network(network) for network in item.networks),
        fits_unknown_address=effect == "deny",
        anonymous=item.anonymous,
        any_of=tuple(caller_match(nested, effect) for nested in item.any_of),
    )


def user_match(item: UserItem) -> UserMatch:
    """The users of an item, ready to be asked about."""
    return UserMatch(
        issuer=item.issuer,
        subjects=frozenset(item.subjects),
        scopes=frozenset(item.scopes),
        roles=frozenset(item.roles),
        groups=frozenset(item.groups),
        claims=item.claims,
        actors=actor_match(item.actors) if item.actors else None,
    )


def actor_match(actors: tuple[str, ...]) -> ActorMatch:
    """Those who may act for a user, ready to be asked about."""
    return ActorMatch(
        subjects=frozenset(actor for actor in actors if not actor.startswith(SCHEME)),
        patterns=tuple(parse_spiffe_pattern(actor) for actor in actors if actor.startswith(SCHEME)),
    )


def _claim_fits(value: object, wanted: tuple[Scalar, ...]) -> bool:
    if isinstance(value, list):
        return any(_same(element, one) for element in value for one in wanted)
    return any(_same(value, one) for one in wanted)


def _same(value: object, wanted: Scalar) -> bool:
    """Equal and of one kind: to Python `True == 1`, to the author of a rule it is not."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)
