"""Whether the tests notice when a rule is a little wrong.

A case can notice a wrong rule only if that fits it, as it was or as it has become, so only such cases are decided
again, by an index of the few rules that have to do with them.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from authz_server.model import Path
from authz_server.policy import plan
from authz_server.policy.conditions import ConditionCompiler
from authz_server.policy.index import PolicyIndex, ServiceIndex
from authz_server.request.operation import Operation
from authz_server.testing.engine import Engine
from authz_server.testing.facts import Facts
from authz_server.testing.mutants import Mutant, mutants_of
from authz_server.testing.runner import is_expected
from authz_server.testing.sources import RuleSource


class Mutation:
    """The mutants of all rules, each held against the cases that may notice it."""

    def __init__(self, facts: Sequence[Facts], engine: Engine, sources: dict[str, RuleSource]) -> None:
        """`facts` are those of cases that pass."""
        self._engine = engine
        self._sources = sources
        self._compiler = ConditionCompiler()
        self._by_service: dict[str, list[tuple[Facts, dict[str, plan.Rule]]]] = {}
        self._services: dict[str, list[plan.Service]] = {}
        self._rules: dict[str, plan.Rule] = {}
        by_name = {service.name: {rule.id: rule for rule in service.rules} for service in engine.plan.services}
        for service in engine.plan.services:
            for rule in service.rules:
                self._services.setdefault(rule.id, []).append(service)
                self._rules[rule.id] = rule
        for each in facts:
            rules = by_name[each.service.name]
            wanted = each.rules() | {rule.id for rule in each.service.rules if rule.guardrail and each.service.audit}
            concerned = {rule: rules[rule] for rule in sorted(wanted)}
            self._by_service.setdefault(each.service.name, []).append((each, concerned))

    def mutants(self) -> list[Mutant]:
        """All of them, by place; rules in audit decide nothing, and have none."""
        found = [
            mutant
            for rule in self._rules.values()
            if not rule.audit
            for mutant in mutants_of(rule, self._sources[rule.id], self._compiler)
        ]
        return sorted(found, key=lambda mutant: mutant.position)

    def is_noticed(self, mutant: Mutant) -> bool:
        """Whether some case fails with this rule in place of the right one."""
        return any(self._notices(mutant, facts, rules) for facts, rules in self._concerned(mutant))

    def _concerned(self, mutant: Mutant) -> Iterator[tuple[Facts, dict[str, plan.Rule]]]:
        """The cases whose outcome may be another one; those of the rule as it was come first."""
        others: list[tuple[Facts, dict[str, plan.Rule], ServiceIndex]] = []
        for service in self._services[mutant.rule]:
            cases = self._by_service.get(service.name, [])
            alone = None if mutant.changed is None or not cases else self._index(service, (mutant.changed,))
            for facts, rules in cases:
                if mutant.rule in rules:
                    yield facts, rules
                elif alone is not None:
                    others.append((facts, rules, alone))
        for facts, rules, index in others:
            if facts.concerns(index):
                yield facts, rules

    def _notices(self, mutant: Mutant, facts: Facts, rules: dict[str, plan.Rule]) -> bool:
        changed = {**rules, mutant.rule: mutant.changed}
        service = replace(facts.service, rules=tuple([rule for _, rule in sorted(changed.items()) if rule is not None]))
        case = facts.outcome.case
        decision = self._engine.decide(case, _OtherRules(self._engine, service))
        return not is_expected(case.expected, decision)

    def _index(self, service: plan.Service, rules: tuple[plan.Rule, ...]) -> ServiceIndex:
        alone = plan.Plan("", (replace(service, rules=rules),))
        index = PolicyIndex(alone, self._engine.runtime, self._engine.identity.identity_headers)
        return index.named(service.name)


class _OtherRules(PolicyIndex):
    """The rules of one service alone, for requests that are known to be its."""

    def __init__(self, engine: Engine, service: plan.Service) -> None:
        super().__init__(plan.Plan("", (service,)), engine.runtime, engine.identity.identity_headers)
        self._whole = engine.policies

    def speaks_for_all(self, service: ServiceIndex, operation: Operation, paths: Iterable[Path]) -> bool:
        """As where the other services are as well."""
        return self._whole.speaks_for_all(self._whole.named(service.name), operation, paths)
