"""Rules that allow what is granted, and no more: one for the callers who do the same."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from authz_server.learning.asked import Caller
from authz_server.learning.grants import Grant, Operation, Who
from authz_server.learning.names import unused

Fields = dict[str, Any]
_NO_NAME = re.compile(r"[^a-z0-9]+", re.ASCII)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_ID = 60


class LearnedRule(Struct):
    """A rule, and what it was learned from."""

    id: str
    whos: list[Who]
    operations: list[Operation]
    grants: list[Grant]
    requests: int
    first: str
    last: str

    def fields(self, hosts: Sequence[str]) -> Fields:
        """The rule as policies have it, of a service with these hosts."""
        records = "1 record" if self.requests == 1 else f"{self.requests:,} records"
        return {
            "id": self.id,
            "description": f"Learned from {records}, {_day(self.first)} to {_day(self.last)}.",
            "effect": "allow",
            "from": callers(self.whos),
            "to": operations(self.operations, hosts),
        }


def rules_of(grants: Iterable[Grant]) -> list[LearnedRule]:
    """One rule for each set of callers who may do the same, by id."""
    by_who: dict[Who, list[Grant]] = {}
    for grant in grants:
        by_who.setdefault(grant.who, []).append(grant)
    by_operations: dict[frozenset[Operation], list[Who]] = {}
    for who, each in by_who.items():
        by_operations.setdefault(frozenset(grant.operation for grant in each), []).append(who)
    found: dict[str, LearnedRule] = {}
    for allowed, whos in sorted(
        by_operations.items(), key=lambda entry: (sorted(map(_key, entry[1])), sorted(entry[0]))
    ):
        of_rule = [grant for who in whos for grant in by_who[who]]
        rule_id = unused(_id(whos, allowed), found)
        found[rule_id] = LearnedRule(
            rule_id,
            sorted(whos, key=_key),
            sorted(allowed),
            of_rule,
            sum(grant.seen.count for grant in of_rule),
            min(grant.seen.first for grant in of_rule),
            max(grant.seen.last for grant in of_rule),
        )
    return sorted(found.values(), key=lambda rule: rule.id)


def callers(whos: Iterable[Who]) -> list[Fields]:
    """The items of `from`: workloads with the same users together."""
    workloads_of: dict[tuple[Who, bool], list[str]] = {}
    for who in whos:
        workload = who.caller.workload
        users = replace(who, caller=replace(who.caller, workload=None))
        names = workloads_of.setdefault((users, workload is None), [])
        names += [] if workload is None else [workload]
    return [
        ({"workloads": sorted(names)} if names else {}) | _users(who) or {"anonymous": True}
        for (who, _), names in workloads_of.items()
    ]


def operations(allowed: Iterable[Operation], hosts: Sequence[str]) -> list[Fields]:
    """The items of `to`: exactly these operations, with `hosts` only where not all of the service's are meant."""
    hosts_of: dict[tuple[str, bool, str, str], list[str]] = {}
    for each in allowed:
        hosts_of.setdefault((each.path, each.is_grpc, each.upgrade, each.method), []).append(each.host)
    methods_of: dict[tuple[str, bool, str, tuple[str, ...]], list[str]] = {}
    for (path, is_grpc, upgrade, method), names in hosts_of.items():
        methods_of.setdefault((path, is_grpc, upgrade, tuple(sorted(names))), []).append(method)
    paths_of: dict[tuple[tuple[str, ...], str, tuple[str, ...]], list[str]] = {}
    calls_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (path, is_grpc, upgrade, names_of_hosts), methods in methods_of.items():
        if is_grpc:
            service, _, call = path.removeprefix("/").partition("/")
            calls_of.setdefault((service, names_of_hosts), []).append(call)
        else:
            paths_of.setdefault((tuple(sorted(methods)), upgrade, names_of_hosts), []).append(path)

    def where(names: tuple[str, ...]) -> Fields:
        return {} if set(names) == set(hosts) else {"hosts": list(names)}

    items = [
        {"methods": list(methods), "paths": sorted(paths)} | where(names) | ({"upgrade": upgrade} if upgrade else {})
        for (methods, upgrade, names), paths in paths_of.items()
    ]
    calls = [
        {"grpc": {"service": service, "methods": sorted(methods)}} | where(names)
        for (service, names), methods in calls_of.items()
    ]
    return items + calls


def _users(who: Who) -> Fields:
    caller = who.caller
    if caller.issuer is None:
        return {}
    subjects = {} if who.subjects is None else {"subjects": sorted(who.subjects)}
    actors = {} if caller.actor is None else {"actors": [caller.actor]}
    return {"users": {"issuer": caller.issuer} | subjects | actors}


def _key(who: Who) -> tuple[str, ...]:
    caller = who.caller
    return (caller.workload or "", caller.issuer or "", caller.actor or "", *sorted(who.subjects or ()))


def _id(whos: Sequence[Who], allowed: Iterable[Operation]) -> str:
    """Who may do what, in words: `web-for-users-of-corp-may-read-orders`."""
    names = sorted({name_of(who.caller) for who in whos})
    subject = names[0] if len(names) == 1 else f"{names[0]}-and-{len(names) - 1}-more"
    each = list(allowed)
    verb = "read" if all(one.method in _READING and not one.is_grpc for one in each) else "call"
    firsts = {
        _slug(one.path.split("/")[1].rpartition(".")[2] if one.is_grpc else one.path.split("/")[1]) for one in each
    }
    noun = f"-{firsts.pop()}" if len(firsts) == 1 and firsts != {""} else ""
    return _slug(f"{subject}-may-{verb}{noun}")[:_MAX_ID].rstrip("-")


def name_of(caller: Caller) -> str:
    """A caller in words that can stand in names."""
    users = "" if caller.issuer is None else f"users-of-{_slug(caller.issuer)}"
    if caller.workload is None:
        return users or "anonymous"
    workload = _slug(caller.workload.rpartition("/")[2]) or "workload"
    return f"{workload}-for-{users}" if users else workload


def _slug(text: str) -> str:
    return _NO_NAME.sub("-", text.lower()).strip("-")


def _day(time: str) -> str:
    return time[:10]
