"""Why a case failed: what came of the rules that should have decided otherwise."""

from collections.abc import Iterator

from authz_server.policy.explain import Explanation, RuleOutcome
from authz_server.policy.plan import Rule
from authz_server.testing.engine import Engine
from authz_server.testing.facts import Facts
from authz_server.testing.runner import names_rule

FEW_RULES = 10
"""So many are asked, where nothing says which one is meant."""


def outcomes_of(facts: Facts, engine: Engine) -> list[RuleOutcome]:
    """What came of the expected rule; without one, of the allow rules that are about the request, or of all if few."""
    evaluation = facts.evaluations[0]
    headers = engine.identity.identity_headers
    explanation = Explanation(facts.service, engine.runtime, headers, evaluation.operation, facts.caller, evaluation)
    return [RuleOutcome(rule.id, rule.effect, explanation.outcome(rule)) for rule in _asked(facts)]


def _asked(facts: Facts) -> Iterator[Rule]:
    expected, rules = facts.outcome.case.expected, facts.service.rules
    if expected.rule is not None:
        yield from (rule for rule in rules if names_rule(expected.rule, rule.id) and rule.id != facts.decision.rule)
    elif expected.decision == "allow" and not facts.decision.allowed and facts.decision.rule is None:
        allowing = [rule for rule in rules if rule.effect == "allow"]
        if len(allowing) > FEW_RULES:
            fitting = facts.rules()
            allowing = [rule for rule in allowing if rule.id in fitting]
        yield from allowing[:FEW_RULES]
