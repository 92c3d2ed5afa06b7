"""The decision about a path with several readings: each reading is decided, and all of them must be allowed."""

from collections.abc import Sequence

from msgspec.structs import replace

from authz_server.errors import Reason, Refused
from authz_server.model import Answer, Path, Request
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import Evaluation, EvaluationError
from authz_server.policy.decide import Verdict, decide, permission
from authz_server.policy.index import ServiceIndex
from authz_server.request.operation import Operation, canonical_operation
from authz_server.request.readings import has_several, readings

# Of several denials one is told: a rule's before the lack of one, and last what another credential might change.
_GRAVITY = {
    Reason.DENIED_BY_RULE: 0,
    Reason.DENY_RULE_ERROR: 0,
    Reason.NO_RULE_ALLOWS: 1,
    Reason.BODY_INCOMPLETE: 1,
}
_LEAST = 2


def decide_every(
    service: ServiceIndex, caller: Caller, evaluations: Sequence[Evaluation], hows: Sequence[str], credential_came: bool
) -> Verdict:
    """Decide each reading, `hows` being what a backend has done to the path, and allow what is allowed in all.

    Rules may differ between readings. Their answers may not, because nobody knows which one the backend goes by.
    """
    verdicts = [decide(service, each.operation, caller, each, credential_came) for each in evaluations]
    number = denial_to_tell(verdicts)
    if number is not None:
        verdict, read = verdicts[number], f"the path read {hows[number]}"
        return replace(verdict, detail=read if verdict.detail is None else f"{read}: {verdict.detail}")
    if all(verdict.answer == verdicts[0].answer for verdict in verdicts):
        verdict = min(verdicts, key=lambda verdict: verdict.rule or "")
        same = all((each.rule, each.items) == (verdict.rule, verdict.items) for each in verdicts)
        return verdict if same else replace(verdict, items=None)
    return _common(service, caller, evaluations)


def operations_of(request: Request, *, lenient: bool) -> list[tuple[Operation, str]]:
    """A request in each reading of its path that its service takes, and how it was read; for tools. Raises Refused."""
    try:
        operation = canonical_operation(request)
    except Refused:
        if not lenient:
            raise
        operation = canonical_operation(request, lenient=True)
    if not lenient or not has_several(operation.path_text):
        return [(operation, "")]
    return [
        (replace(operation, path=reading.path, path_text=text_of(reading.path)), reading.how)
        for reading in readings(operation.path_text)
    ]


def text_of(path: Path) -> str:
    """The path of a reading for people: a slash within a segment is written as an escape."""
    segments = [segment.replace("/", "%2F") for segment in path.segments]
    return f"/{'/'.join(segments)}{'/' if path.trailing_slash and segments else ''}"


def denial_to_tell(verdicts: Sequence[Verdict]) -> int | None:
    """Which of the verdicts about the readings of a path is told, where not all of them allow."""
    denials = [
        (_GRAVITY.get(verdict.reason, _LEAST), verdict.rule or "", verdict.reason != Reason.DENIED_BY_RULE, number)
        for number, verdict in enumerate(verdicts)
        if verdict.reason is not Reason.ALLOWED
    ]
    return min(denials)[-1] if denials else None


def _common(service: ServiceIndex, caller: Caller, evaluations: Sequence[Evaluation]) -> Verdict:
    """The first rule with an answer that some rule gives to each reading."""
    found = [_permissions(service, caller, evaluation) for evaluation in evaluations]
    common = set(found[0]).intersection(*found[1:])
    if not common:
        detail = "the readings of the path are allowed by rules with different answers"
        return Verdict(Reason.NO_RULE_ALLOWS, detail=detail)
    rule, answer = min([(rules[answer], answer) for rules in found for answer in common], key=lambda pair: pair[0])
    return Verdict(Reason.ALLOWED, rule, answer)


def _permissions(service: ServiceIndex, caller: Caller, evaluation: Evaluation) -> dict[Answer, str]:
    """Every answer that an allow rule gives to one reading, with the first rule that gives it."""
    answers: dict[Answer, str] = {}
    for candidate in service.fitting(service.allow, evaluation.operation, caller):
        requires = candidate.rule.requires
        if not candidate.exists(evaluation.now):
            continue
        if requires is not None and requires.lacking(evaluation.user, evaluation.now) is not None:
            continue
        try:
            answer = permission(candidate, evaluation.operation, evaluation)
        except EvaluationError:
            continue
        if answer is not None:
            answers.setdefault(answer, candidate.rule.id)
    return answers
