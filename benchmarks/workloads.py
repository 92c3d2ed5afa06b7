"""What is asked of whom, as data."""

from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from benchmarks.policies import Policies, path

Transport = Literal["grpcio", "lean"]
TRANSPORTS: tuple[Transport, ...] = ("grpcio", "lean")


class Setup(Struct, frozen=True):
    """What a server of ours runs with; each has processes of its own."""

    policies: Policies
    transport: Transport
    earlier: bool = False
    """Its code is that of the revision that is compared with."""
    candidate: Policies | None = None
    """Asked about each check beside its policies."""


Asked = Setup | Literal["constant", "other"]
"""A server of ours, the one that answers a constant, or one that somebody else has started."""


class Workload(Struct, frozen=True):
    """One request, asked again and again."""

    name: str
    server: Asked
    path: str
    in_flight: int
    token: bool = True
    """The request has a user's token beside the workload's certificate."""
    tokens: int = 0
    """So many tokens take turns, sent by a client of our own, because h2load repeats one request."""
    allowed: bool = True


CALLS = {32: 6_000, 1: 2_000}
"""Calls of one round, by how many are in flight."""
QUICK_CALLS = {32: 2_000, 1: 500}
ROUNDS = 12
QUICK_ROUNDS = 3

NAMES = {32: "", 1: ", one at a time"}
"""What the name of a workload ends with, by how many calls are in flight."""
CONSTANT, RBAC, USER, DENIAL = "constant answer", "RBAC", "token, condition", "denial"
ONE_TOKEN, MANY_TOKENS = "1 token", "1,000 tokens in turn"
SPREAD_100, SPREAD_10000 = "100 rules of 20 callers", "10,000 rules of 20 callers"
ALL_100, ALL_10000 = "100 rules of one caller", "10,000 rules of one caller"

_RBAC_200 = Policies(200)
_USER_200 = Policies(200, users=True, conditions=200)
_OBJECT = "c7-4711"


def name(what: str, transport: Transport, in_flight: int = 32) -> str:
    """The name of a workload of ours."""
    return f"{what}, {transport}{NAMES[in_flight]}"


def constant(in_flight: int) -> str:
    """The name of the workload that the others with so many in flight are multiples of."""
    return CONSTANT + NAMES[in_flight]


def _last(policies: Policies) -> str:
    return path(policies.rules - 1, _OBJECT)


def _checks(transport: Transport, in_flight: int) -> Iterator[Workload]:
    rbac, user = Setup(_RBAC_200, transport), Setup(_USER_200, transport)
    yield Workload(name(RBAC, transport, in_flight), rbac, _last(_RBAC_200), in_flight, token=False)
    yield Workload(name(USER, transport, in_flight), user, _last(_USER_200), in_flight)
    # The first rule is about another caller.
    yield Workload(name(DENIAL, transport, in_flight), user, path(0, _OBJECT), in_flight, allowed=False)


def _growth(transport: Transport) -> Iterator[Workload]:
    for what, policies in (
        (SPREAD_100, Policies(100)),
        (SPREAD_10000, Policies(10_000)),
        (ALL_100, Policies(100, callers=1)),
        (ALL_10000, Policies(10_000, callers=1)),
    ):
        yield Workload(name(what, transport), Setup(policies, transport), _last(policies), 32, token=False)
    for what, tokens in ((ONE_TOKEN, 1), (MANY_TOKENS, 1_000)):
        yield Workload(name(what, transport), Setup(_USER_200, transport), _last(_USER_200), 32, tokens=tokens)


def _workloads() -> Iterator[Workload]:
    for in_flight in NAMES:
        yield Workload(constant(in_flight), "constant", _last(_USER_200), in_flight)
        for transport in TRANSPORTS:
            yield from _checks(transport, in_flight)
    for transport in TRANSPORTS:
        yield from _growth(transport)


WORKLOADS = tuple(_workloads())


def others() -> tuple[Workload, ...]:
    """What a server of somebody else is asked."""
    return tuple(Workload(f"other server{NAMES[n]}", "other", _last(_USER_200), n) for n in NAMES)


def compared(revision: str, transports: tuple[Transport, ...]) -> tuple[Workload, ...]:
    """Each check that h2load makes, at another revision and then here."""
    pairs = []
    for workload in WORKLOADS:
        setup = workload.server
        if isinstance(setup, Setup) and setup.transport in transports and not workload.tokens:
            there = msgspec.structs.replace(setup, earlier=True)
            pairs += [msgspec.structs.replace(workload, name=at(workload.name, revision), server=there), workload]
    return tuple(pairs)


def at(name: str, revision: str) -> str:
    """The name of a workload at another revision."""
    return f"{name}, at {revision}"
