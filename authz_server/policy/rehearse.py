"""Rules and services in audit: what they would have done is found out, and not done."""

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from authz_server.errors import AUDITABLE, Reason
from authz_server.model import Answer
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import Evaluation, EvaluationError
from authz_server.policy.decide import Verdict, denial, permission
from authz_server.policy.index import Rehearsal, ServiceIndex

Mode = Literal["enforce", "audit"]


class Rehearsed(Struct, frozen=True):
    """The verdict, and what audit makes of it."""

    verdict: Verdict
    mode: Mode = "enforce"
    would_deny: bool = False
    """The verdict is a denial that is not enforced; its answer is what an allowed request gets."""
    rules: tuple[str, ...] = ()
    """The rules in audit that would have decided."""


def rehearse(service: ServiceIndex, verdict: Verdict, caller: Caller, evaluations: Sequence[Evaluation]) -> Rehearsed:
    """What is done about a verdict where the service, or some of its rules, are in audit.

    `evaluations` are one for each reading of the path: a rule in audit counts where it would decide about any of them.
    """
    mode: Mode = "audit" if service.audit else "enforce"
    denials: list[Verdict] = []
    rules: tuple[str, ...] = ()
    if service.rehearsal is not None:
        denials = [one for each in evaluations for one in _denials(service, service.rehearsal, caller, each)]
        allowing = [one for each in evaluations for one in _allowing(service, service.rehearsal, caller, each)]
        if len(evaluations) > 1:
            denials.sort(key=lambda denial: denial.rule or "")
            allowing.sort()
        rules = tuple(dict.fromkeys([rule for rule in [*(one.rule for one in denials), *allowing] if rule is not None]))
    if verdict.reason is Reason.ALLOWED:
        if not denials:
            return Rehearsed(verdict, mode, rules=rules)
        detail = f"allowed by {verdict.rule}; {denials[0].detail or 'this rule is in audit'}"
        return Rehearsed(replace(denials[0], answer=verdict.answer, detail=detail), "audit", True, rules)
    if not service.audit or verdict.reason not in AUDITABLE:
        return Rehearsed(verdict, mode, rules=rules)
    for evaluation in evaluations:
        guardrail = _guardrail(service, caller, evaluation)
        if guardrail is not None:
            return Rehearsed(guardrail, mode, rules=rules)
    # No rule has said who this is to the upstream, and the client must not say it either.
    answer = Answer(remove_headers=tuple(sorted(service.protected)))
    return Rehearsed(replace(verdict, answer=answer), mode, True, rules)


def _denials(service: ServiceIndex, rehearsal: Rehearsal, caller: Caller, evaluation: Evaluation) -> Iterator[Verdict]:
    operation = evaluation.operation
    for candidate in service.fitting(rehearsal.deny, operation, caller):
        if candidate.exists(evaluation.now) and (verdict := denial(candidate, operation, evaluation)) is not None:
            yield verdict


def _allowing(service: ServiceIndex, rehearsal: Rehearsal, caller: Caller, evaluation: Evaluation) -> Iterator[str]:
    operation = evaluation.operation
    for candidate in service.fitting(rehearsal.allow, operation, caller):
        requires = candidate.rule.requires
        if not candidate.exists(evaluation.now):
            continue
        if requires is not None and requires.lacking(evaluation.user, evaluation.now) is not None:
            continue
        try:
            allows = permission(candidate, operation, evaluation) is not None
        except EvaluationError:
            continue
        if allows:
            yield candidate.rule.id


def _guardrail(service: ServiceIndex, caller: Caller, evaluation: Evaluation) -> Verdict | None:
    """The denial of a guardrail, which no service's mode undoes."""
    operation = evaluation.operation
    for candidate in service.fitting(service.deny, operation, caller):
        if candidate.rule.guardrail and candidate.exists(evaluation.now):
            verdict = denial(candidate, operation, evaluation)
            if verdict is not None:
                return verdict
    return None
