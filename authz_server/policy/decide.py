"""The decision of one service's rules about one request: deny overrides allow, and the default is to deny."""

from msgspec import Struct

from authz_server.errors import Reason
from authz_server.model import Answer, RuleItems
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import BodyMissing, Evaluation, EvaluationError
from authz_server.policy.index import Candidate, ServiceIndex
from authz_server.request.operation import Operation

NO_ANSWER = Answer()


class Verdict(Struct, frozen=True):
    """What the rules say, and which of them said it."""

    reason: Reason
    rule: str | None = None
    answer: Answer = NO_ANSWER
    detail: str | None = None
    """For operators: what could not be evaluated on the way."""
    items: RuleItems | None = None
    """Those of the rule that fitted; None where no rule decided, or the readings of a path had different ones."""


def decide(
    service: ServiceIndex, operation: Operation, caller: Caller, evaluation: Evaluation, credential_came: bool
) -> Verdict:
    """Ask the rules that fit. `credential_came` is whether the request carried a user's credential at all."""
    now = evaluation.now
    for candidate in service.fitting(service.deny, operation, caller):
        if candidate.exists(now) and (verdict := denial(candidate, operation, evaluation)) is not None:
            return verdict
    errors: list[str] = []
    step_up: Verdict | None = None
    body_missing: Verdict | None = None
    for candidate in service.fitting(service.allow, operation, caller):
        if not candidate.exists(now):
            continue
        try:
            answer = permission(candidate, operation, evaluation)
            if answer is None:
                continue
            lacking = _step_up(candidate, evaluation)
            if lacking is None:
                return Verdict(Reason.ALLOWED, candidate.rule.id, answer, None, candidate.items)
            step_up = step_up or lacking
        except EvaluationError as error:
            errors.append(f"{candidate.rule.id}: {error}")
            if isinstance(error, BodyMissing):
                body_missing = body_missing or Verdict(
                    Reason.BODY_INCOMPLETE, candidate.rule.id, NO_ANSWER, str(error), candidate.items
                )
    if step_up is not None and evaluation.user is not None:
        return step_up
    if body_missing is not None:
        return body_missing
    detail = "; ".join(errors) or None
    if not credential_came:
        lacking_user = service.fitting(service.allow_with_user, operation, caller)
        if step_up is not None or any(candidate.exists(now) for candidate in lacking_user):
            return Verdict(Reason.UNAUTHENTICATED, detail=detail)
    return Verdict(Reason.NO_RULE_ALLOWS, detail=detail)


def _step_up(candidate: Candidate, evaluation: Evaluation) -> Verdict | None:
    """The challenge of an allow rule that would allow, but for the strength of the authentication."""
    rule = candidate.rule
    if rule.requires is None:
        return None
    lacking = rule.requires.lacking(evaluation.user, evaluation.now)
    if lacking is None:
        return None
    return Verdict(Reason.STEP_UP_REQUIRED, rule.id, rule.requires.challenge, lacking, candidate.items)


def permission(candidate: Candidate, operation: Operation, evaluation: Evaluation) -> Answer | None:
    """The answer of an allow rule whose conditions hold. Raises EvaluationError, which makes it not apply."""
    rule = candidate.rule
    if rule.condition is None and rule.answer.constant is not None:
        return rule.answer.constant
    [captures] = candidate.captures(operation.path)
    if rule.condition is not None and not rule.condition.holds(evaluation, captures):
        return None
    return rule.answer.compute(evaluation, captures)


def denial(candidate: Candidate, operation: Operation, evaluation: Evaluation) -> Verdict | None:
    """The verdict of a deny rule whose conditions hold, or cannot be evaluated."""
    rule = candidate.rule
    for captures in candidate.captures(operation.path):
        try:
            holds = rule.condition is None or rule.condition.holds(evaluation, captures)
        except EvaluationError as error:
            reason = Reason.BODY_INCOMPLETE if isinstance(error, BodyMissing) else Reason.DENY_RULE_ERROR
            return Verdict(reason, rule.id, NO_ANSWER, str(error), candidate.items)
        if holds:
            try:
                answer = rule.answer.compute(evaluation, captures)
                return Verdict(Reason.DENIED_BY_RULE, rule.id, answer, None, candidate.items)
            except EvaluationError as error:
                # The denial stands; only what it would have said to the client is missing.
                return Verdict(Reason.DENIED_BY_RULE, rule.id, NO_ANSWER, str(error), candidate.items)
    return None
