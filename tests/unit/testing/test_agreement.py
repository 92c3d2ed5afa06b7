"""What mutation finds out with a few rules is what all policies would say with the wrong rule among them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from authz_server.identity.settings import IdentitySettings
from authz_server.policy.conditions import ConditionCompiler
from authz_server.policy.plan import Plan, Rule
from authz_server.testing.engine import Engine
from authz_server.testing.facts import facts_of
from authz_server.testing.mutants import Mutant, mutants_of
from authz_server.testing.mutation import Mutation
from authz_server.testing.runner import run
from authz_server.testing.sources import sources_of
from tests.unit.testing.policies import MAX_BODY, Policies, cases_of_files, loaded

EXAMPLES = Path(__file__).parents[3] / "policies"
ODD = {
    "guardrails.yaml": """
        kind: guardrails
        rules:
          - {id: no-bob, effect: deny, from: [{users: {issuer: corp, subjects: [bob]}}], to: [{paths: ["/private/**"]}]}
          - {id: no-trace, effect: deny, to: [{methods: [TRACE]}]}
    """,
    "files.yaml": """
        kind: service
        name: files
        hosts: [files.example]
        paths: lenient
        rules:
          - {id: reads, effect: allow, from: anyone, to: [{methods: [GET], paths: ["/**"]}]}
          - {id: not-private, effect: deny, from: [{anonymous: true}], to: [{paths: ["/private/**"]}]}
          - {id: own, effect: allow, from: [{users: any}], to: [{paths: ["/{o}/**"]}], when: path.o == user.subject}
    """,
    "secret.yaml": """
        kind: service
        name: secret
        hosts: [files.example]
        path_prefix: /secret
        rules: [{id: admin, effect: allow, from: [{users: {issuer: corp, scopes: [a]}}], to: [{paths: [/secret/x]}]}]
    """,
    "tried.yaml": """
        kind: service
        name: tried
        hosts: [tried.example]
        mode: audit
        rules:
          - {id: strong, effect: allow, from: [{users: any}], to: [{methods: [GET]}], requires: {acr: [mfa]}}
          - {id: day, effect: allow, from: anyone, to: [{methods: [PUT]}], schedule: {hours: "08:00-18:00", zone: UTC}}
          - {id: rehearsed, effect: deny, mode: audit, to: [{methods: [PUT]}], when: has_user}
          - {id: broken, effect: deny, to: [{methods: [POST]}], when: user.claims.level > 3}
    """,
    "odd_test.yaml": """
        kind: tests
        now: "2026-03-02T10:00:00Z"
        users:
          ann: {issuer: corp, subject: ann, claims: {acr: mfa, level: 1}}
          bob: {issuer: corp, subject: bob, claims: {level: 5}}
        tests:
          - name: forged
            request: {method: GET, host: tried.example, path: /private/x, headers: {authorization: Bearer forged}}
            expect: {decision: deny, reason: token_invalid}
          - name: step up
            request: {as: bob, method: GET, host: tried.example, path: /}
            expect: {decision: allow, reason: step_up_required, would_deny: true}
          - name: rehearsed
            request: {as: ann, method: PUT, host: tried.example, path: /}
            expect: {decision: allow, would_deny: true, rule: rehearsed}
          - name: by day
            request: {method: PUT, host: tried.example, path: /}
            expect: {decision: allow, rule: day}
          - name: not evaluated
            request: {method: POST, host: tried.example, path: /}
            expect: {decision: allow, reason: deny_rule_error, would_deny: true}
          - name: bob
            request: {as: bob, method: GET, host: tried.example, path: /private/x}
            expect: {decision: deny, rule: no-bob}
          - name: private
            request: {method: GET, host: files.example, path: "/a%2F..%2Fprivate/x"}
            expect: {decision: deny, rule: not-private}
          - name: mixed
            request: {method: GET, host: files.example, path: "/a/..%2Fsecret"}
            expect: {decision: deny, reason: ambiguous_path}
          - name: own
            request: {as: ann, method: PUT, host: files.example, path: /ann/x}
            expect: {decision: allow}
          - name: nobody's
            request: {method: PUT, host: files.example, path: /ann/x}
            expect: {decision: deny, reason: unauthenticated}
          - name: something to be had with a user
            request: {method: GET, host: files.example, path: /secret/x}
            expect: {decision: deny, reason: unauthenticated}
          - name: nothing to be had with a user
            request: {method: GET, host: files.example, path: /secret/y}
            expect: {decision: deny, reason: no_rule_allows}
          - name: trace
            request: {method: TRACE, host: secret.example, path: /, service: secret}
            expect: {decision: deny, rule: no-trace}
    """,
}


def unnoticed_with_all_rules(policies: Policies) -> Iterator[Mutant]:
    """The mutants that no case notices when all policies are indexed again with each of them."""
    sources, compiler = sources_of(policies.files), ConditionCompiler()
    cases = cases_of_files(policies)
    rules = {rule.id: rule for service in policies.plan.services for rule in service.rules if not rule.audit}
    for rule in rules.values():
        for mutant in mutants_of(rule, sources[rule.id], compiler):
            engine = Engine(_with(policies.plan, mutant), IdentitySettings(), MAX_BODY, cases)
            if all(outcome.passed for outcome in run(cases, engine)):
                yield mutant


def _with(plan: Plan, mutant: Mutant) -> Plan:
    """The plan with a wrong rule in all services that have the right one."""

    def changed(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        new = [mutant.changed if rule.id == mutant.rule else rule for rule in rules]
        return tuple([rule for rule in new if rule is not None])

    return replace(plan, services=tuple([replace(each, rules=changed(each.rules)) for each in plan.services]))


def unnoticed(policies: Policies) -> list[Mutant]:
    """The mutants that no case notices, as `--mutate` finds them."""
    cases = cases_of_files(policies)
    engine = Engine(policies.plan, IdentitySettings(), MAX_BODY, cases)
    services = {service.name: service for service in policies.plan.services}
    outcomes = list(run(cases, engine))
    assert [(outcome.case.name, outcome.actual) for outcome in outcomes if not outcome.passed] == []
    facts = [facts_of(outcome, engine, services) for outcome in outcomes]
    mutation = Mutation([each for each in facts if each is not None], engine, sources_of(policies.files))
    return [mutant for mutant in mutation.mutants() if not mutation.is_noticed(mutant)]


def _examples() -> dict[str, str]:
    """The policies of the project, without some of their cases, so that there are survivors."""
    files = {str(file.relative_to(EXAMPLES)): file.read_text() for file in sorted(EXAMPLES.rglob("*.yaml"))}
    return {
        name: text.replace("    change: PUT /stock/apples\n", "").replace("web+stranger, ", "")
        for name, text in files.items()
    }


@pytest.mark.parametrize("files", [_examples(), ODD], ids=["the examples", "odd policies"])
def test_a_few_rules_say_what_all_of_them_would(files: dict[str, str], tmp_path: Path) -> None:
    """Guardrails, audit, several readings, roles, step-up and times: no wrong rule is judged otherwise."""
    policies = loaded(tmp_path, files)
    expected = list(unnoticed_with_all_rules(policies))
    assert expected != []
    assert set(unnoticed(policies)) == set(expected)
