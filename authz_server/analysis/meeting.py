"""Which rules of a plan a request meets, by the engine's own index."""

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from authz_server.analysis.judge import Who
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import Candidate, PolicyIndex, ServiceIndex
from authz_server.policy.plan import EMPTY_ANSWER, Plan, Rule, Service
from authz_server.request.operation import Operation

NOBODY = Caller(None, None, None)
Met = tuple[tuple[object, ...], ...]
"""The rules that fit, in order, by what they say: equal where nobody can tell two policies apart."""


class RuleOf(NamedTuple):
    """A rule, and what it says apart from its name and place."""

    rule: Rule
    says: bytes
    reads_captures: bool


def caller_of(who: Who, operation: Operation) -> Caller:
    """The caller as the engine knows it."""
    workload = None if who.workload is None else Workload(parse_spiffe_id(who.workload), None)
    return Caller(workload, who.user, operation.client_ip)


class ByAction:
    """One plan's rules, found by action alone."""

    def __init__(self, plan: Plan) -> None:
        self._rules = {(s.name, rule.id): rule for s in plan.services for rule in s.rules}
        self.index = PolicyIndex(
            replace(plan, services=tuple(map(_open_to_all, plan.services))), ConditionRuntime(), ()
        )

    def rules(self, operation: Operation, service: str | None = None) -> list[Rule]:
        """The rules whose `to` fits; with `service` none where the operation is of another one."""
        found = self.index.service(operation, None)
        if found is None or service not in (None, found.name):
            return []
        ids = dict.fromkeys(candidate.rule.id for candidate in _all(found, operation, NOBODY))
        return [self._rules[found.name, each] for each in ids]


class Meeting:
    """One plan's rules, to be found by action alone, or by action and caller."""

    def __init__(self, plan: Plan, index: PolicyIndex) -> None:
        self._rules = {(s.name, rule.id): _rule_of(rule) for s in plan.services for rule in s.rules}
        self._index = index
        self._by_action = ByAction(plan)

    def rules(self, operation: Operation) -> list[Rule]:
        """The rules whose `to` fits."""
        return self._by_action.rules(operation)

    def by_action(self, operation: Operation) -> Met:
        """What the rules say whose `to` fits."""
        return self._met(self._by_action.index, operation, NOBODY)

    def by_caller(self, operation: Operation, caller: Caller) -> Met:
        """What the rules say whose `to` and `from` fit, or would with a user."""
        return self._met(self._index, operation, caller)

    def candidates(self, operation: Operation, caller: Caller) -> list[tuple[Rule, Candidate]]:
        """The rules whose `to` and `from` fit."""
        found = self._index.service(operation, None)
        if found is None:
            return []
        return [(self._rules[found.name, c.rule.id].rule, c) for c in _all(found, operation, caller)]

    def _met(self, index: PolicyIndex, operation: Operation, caller: Caller) -> Met:
        found = index.service(operation, None)
        if found is None:
            return ()
        lists = [found.deny, found.allow, found.allow_with_user]
        lists += [] if found.rehearsal is None else [found.rehearsal.deny, found.rehearsal.allow]
        met = [tuple(self._said(found, c) for c in found.fitting(each, operation, caller)) for each in lists]
        return ((found.audit,), *met)

    def _said(self, service: ServiceIndex, candidate: Candidate) -> object:
        known = self._rules[service.name, candidate.rule.id]
        template = candidate.template
        return (known.says, template.text if known.reads_captures and template is not None else "")


def _all(service: ServiceIndex, operation: Operation, caller: Caller) -> list[Candidate]:
    lists = [service.deny, service.allow, service.allow_with_user]
    lists += [] if service.rehearsal is None else [service.rehearsal.deny, service.rehearsal.allow]
    return [candidate for each in lists for candidate in service.fitting(each, operation, caller)]


def _rule_of(rule: Rule) -> RuleOf:
    reads = any(name.startswith(("path.", "path[")) for e in rule.expressions() for name in e.reads)
    bare = replace(rule, id="", location="", description="", operations=None, record=None)
    return RuleOf(rule, msgspec.msgpack.encode(bare), reads)


def _open_to_all(service: Service) -> Service:
    bare = [
        replace(r, callers=None, condition=None, answer=EMPTY_ANSWER, times=None, requires=None) for r in service.rules
    ]
    return replace(service, rules=tuple(bare), set_headers=())
