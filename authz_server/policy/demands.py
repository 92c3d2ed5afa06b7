"""What a rule demands, one thing after the other: each is a change that makes a rule demand this too."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from authz_server.policy.callers import Caller
from authz_server.policy.misfits import (
    actor_misfit,
    anonymous_misfit,
    claim_misfit,
    group_misfit,
    host_misfit,
    issuer_misfit,
    method_misfit,
    network_misfit,
    path_misfit,
    port_misfit,
    protocol_misfit,
    role_misfit,
    scope_misfit,
    subject_misfit,
    user_misfit,
    workload_misfit,
)
from authz_server.policy.plan import EMPTY_ANSWER, CallerItem, OperationItem, Rule, UserItem
from authz_server.request.operation import Operation


class Demand(NamedTuple):
    """One thing that a rule demands."""

    name: str
    """The key of the policy language."""
    add: Callable[[Rule], Rule]
    """Makes a rule demand this as well."""
    misfit: Callable[[], str]
    """What to say where it is not met."""
    stated: bool = True
    """The rule says something about it; else whatever comes meets it."""


class _CallerDemand(NamedTuple):
    name: str
    add: Callable[[CallerItem], CallerItem]
    misfit: Callable[[], str]
    stated: bool = True

    def of_rule(self) -> Demand:
        return Demand(self.name, partial(_add_caller, self.add), self.misfit, self.stated)

    def of_role(self) -> "_CallerDemand":
        return _CallerDemand(self.name, partial(_add_role, self.add), partial(_of_role, self.misfit), self.stated)


def without_demands(rule: Rule) -> Rule:
    """The rule, which fits whatever is no upgrade."""
    return replace(
        rule,
        callers=None,
        operations=None,
        condition=None,
        answer=EMPTY_ANSWER,
        times=None,
        requires=None,
        audit=False,
    )


def ways(rule: Rule, operation: Operation, caller: Caller) -> Iterator[list[Demand]]:
    """The demands of each way in which a rule can fit: of an item of `to` and one of `from`, through one of its roles.

    Rules whose operations or callers are given one by one can be told apart by how far they fit.
    """
    for item in rule.operations or (OperationItem(),):
        for callers in _all_caller_ways(rule, caller):
            yield [*_of_operation(item, operation), *callers, *_of_rule(rule)]


def _all_caller_ways(rule: Rule, caller: Caller) -> Iterator[list[Demand]]:
    if rule.callers is None:
        yield []
    for item in rule.callers or ():
        for way in _caller_ways(item, caller):
            yield [each.of_rule() for each in way]


def _of_operation(item: OperationItem, operation: Operation) -> Iterator[Demand]:
    """The demand about the protocol stands even where nothing is named."""
    demands: list[tuple[str, Callable[[OperationItem, Operation], str], Mapping[str, Any]]] = [
        ("upgrade", protocol_misfit, {"upgrade": item.upgrade, "connect": item.connect}),
        ("paths" if item.grpc is None else "grpc", path_misfit, {"paths": item.paths, "grpc": item.grpc}),
        ("methods", method_misfit, {"methods": item.methods}),
        ("hosts", host_misfit, {"hosts": item.hosts}),
        ("ports", port_misfit, {"ports": item.ports}),
    ]
    for name, misfit, fields in demands:
        stated = name == "upgrade" or any(fields.values())
        yield Demand(name, partial(_add_operation, fields), partial(misfit, item, operation), stated)


def _of_rule(rule: Rule) -> Iterator[Demand]:
    late = "it does not exist at this time: see its `schedule` and `valid`"
    yield Demand("valid", lambda so_far: replace(so_far, times=rule.times), lambda: late)
    yield Demand("when", lambda so_far: replace(so_far, condition=rule.condition), lambda: "the condition is false")
    yield Demand("answer", lambda so_far: replace(so_far, answer=rule.answer), lambda: "the answer fails")
    weak = "requires: a stronger authentication"
    yield Demand("requires", lambda so_far: replace(so_far, requires=rule.requires), lambda: weak)


def _add_operation(fields: Mapping[str, Any], so_far: Rule) -> Rule:
    [item] = so_far.operations or (OperationItem(),)
    return replace(so_far, operations=(replace(item, **fields),))


def _add_caller(add: Callable[[CallerItem], CallerItem], so_far: Rule) -> Rule:
    [item] = so_far.callers or (CallerItem(),)
    return replace(so_far, callers=(add(item),))


def _caller_ways(item: CallerItem, caller: Caller) -> list[list[_CallerDemand]]:
    """What an item of `from` demands, one after the other: one list for each way through its roles."""
    own = list(_of_caller(item, caller))
    if not item.any_of:
        return [own]
    return [own + [each.of_role() for each in way] for nested in item.any_of for way in _caller_ways(nested, caller)]


def _add_role(add: Callable[[CallerItem], CallerItem], so_far: CallerItem) -> CallerItem:
    [inner] = so_far.any_of or (CallerItem(),)
    return replace(so_far, any_of=(add(inner),))


def _of_role(misfit: Callable[[], str]) -> str:
    return f"role: {misfit()}"


def _of_caller(item: CallerItem, caller: Caller) -> Iterator[_CallerDemand]:
    yield _caller_demand("workloads", {"workloads": item.workloads}, partial(workload_misfit, item, caller))
    for name, fields, misfit in () if item.users is None else _of_user(item.users, caller):
        yield _CallerDemand(name, partial(_add_user, fields), misfit, name == "users" or any(fields.values()))
    yield _caller_demand("networks", {"networks": item.networks}, partial(network_misfit, item, caller))
    yield _caller_demand("anonymous", {"anonymous": item.anonymous}, anonymous_misfit)


def _caller_demand(name: str, fields: Mapping[str, Any], misfit: Callable[[], str]) -> _CallerDemand:
    return _CallerDemand(name, lambda so_far: replace(so_far, **fields), misfit, any(fields.values()))


def _add_user(fields: Mapping[str, Any], so_far: CallerItem) -> CallerItem:
    users = so_far.users or UserItem()
    if "claims" in fields:
        fields = {"claims": (*users.claims, *fields["claims"])}
    return replace(so_far, users=replace(users, **fields))


def _of_user(item: UserItem, caller: Caller) -> Iterator[tuple[str, Mapping[str, Any], Callable[[], str]]]:
    yield "users", {}, user_misfit
    demands: list[tuple[str, Callable[[UserItem, Caller], str], Mapping[str, Any]]] = [
        ("issuer", issuer_misfit, {"issuer": item.issuer}),
        ("subjects", subject_misfit, {"subjects": item.subjects}),
        ("scopes", scope_misfit, {"scopes": item.scopes}),
        ("roles", role_misfit, {"roles": item.roles}),
        ("groups", group_misfit, {"groups": item.groups}),
    ]
    for name, misfit, fields in demands:
        yield name, fields, partial(misfit, item, caller)
    for claim in item.claims:
        yield "claims", {"claims": (claim,)}, partial(claim_misfit, claim[0])
    if item.actors:
        yield "actors", {"actors": item.actors}, partial(actor_misfit, item, caller)
