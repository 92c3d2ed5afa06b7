"""Why one recorded decision flips: what came of the rules that decided before and after."""

from authz_server.errors import Refused
from authz_server.policy.explain import FITS, Explanation
from authz_server.policy.plan import Rule, Service
from authz_server.replay.flips import Flips
from authz_server.replay.judge import Asked, Judge
from authz_server.replay.recorded import Facts, NotRecorded


def why(judge: Judge, flips: Flips) -> str:
    """In a sentence, of the example."""
    before, after = flips.kind.before, flips.kind.after
    said = [f"{after.rule} {'allows' if after.reason == 'allowed' else 'decides'}"] if after.rule else []
    if before.rule and before.rule != after.rule:
        said.append(f"{before.rule}: {_outcome(judge, flips, before.rule)}")
    return "; ".join(said) or f"no rule decides: {after.reason}"


def _outcome(judge: Judge, flips: Flips, rule_id: str) -> str:
    rules = {rule.id: (service, rule) for service in judge.plan.services for rule in service.rules}
    if rule_id not in rules:
        return "is not there"
    service, rule = rules[rule_id]
    try:
        asked = judge.asked(Facts(flips.example))
    except Refused as refusal:
        return f"is not asked: {refusal.detail}"
    if asked.service.name != service.name:
        return f"is a rule of {service.name}, and the request is now {asked.service.name}'s"
    try:
        said = _explained(judge, service, rule, asked)
    except NotRecorded as error:
        return f"depends on {error.missing}, which is not on record"
    return (
        "is in audit"
        if said == FITS and rule.audit
        else "fits, and another rule comes before"
        if said == FITS
        else said
    )


def _explained(judge: Judge, service: Service, rule: Rule, asked: Asked) -> str:
    evaluation = asked.evaluations[0]
    return Explanation(service, judge.runtime, (), evaluation.operation, asked.caller, evaluation).outcome(rule)
