"""Why a recorded decision was made: the rules that were asked, held against what its record says of the request."""

from collections.abc import Sequence
from typing import cast

from msgspec import Struct

from authz_server.errors import Refused
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.decide import decide
from authz_server.policy.demands import Demand
from authz_server.policy.every_reading import denial_to_tell, text_of
from authz_server.policy.explain import Explained, Explanation, Lack, ReadingOutcome
from authz_server.policy.plan import Plan, Rule, Service
from authz_server.replay.evaluation import RecordedEvaluation
from authz_server.replay.judge import Asked, Judge, Outcome
from authz_server.replay.recorded import Facts, NotRecorded, Recorded, Undecidable
from authz_server.replay.unknowns import RecordedOperation


class Told(Struct, frozen=True):
    """What can be told of a recorded decision."""

    found: Explained = Explained()
    again: Outcome | None = None
    """The decision, made again; None where that cannot be told."""
    missing: tuple[str, ...] = ()
    """What the rules read and the record does not hold."""
    undecidable: Undecidable | None = None
    """Why nothing more can be told."""


class RecordedExplanation(Explanation):
    """A recorded request, to be held against rules: what is not on record is said, and not guessed."""

    def __init__(
        self, service: Service, judge: Judge, headers: Sequence[str], asked: Asked, evaluation: RecordedEvaluation
    ) -> None:
        super().__init__(
            service,
            cast("ConditionRuntime", judge.runtime),
            headers,
            evaluation.operation,
            cast("Caller", asked.caller),
            evaluation,
        )
        self._said: dict[str, str] = {}
        """What is said of something that is not on record -> its name."""

    def missing(self, found: Explained) -> tuple[str, ...]:
        """What is not on record of what matters to these rules; sorted."""
        said = [each.outcome for each in found.rules] + [lack.found for near in found.nearest for lack in near.lacks]
        return tuple(sorted({self._said[each] for each in said if each in self._said}))

    def _misfit(self, rule: Rule, demand: Demand) -> Lack | None:
        try:
            return super()._misfit(rule, demand)
        except NotRecorded as error:
            said = f"cannot be told: the record does not hold `{error.missing}`"
            self._said[said] = error.missing
            return Lack(demand.name, said, known=False)


def told_of(record: Recorded, plan: Plan, identity_headers: Sequence[str], nearest: int) -> Told:
    """Hold a record against the policies that decided it, and tell so many of the nearest allow rules."""
    judge = Judge(plan, identity_headers)
    again = judge.outcome(record)
    decided = None if isinstance(again, Undecidable) else again
    try:
        asked = judge.asked(Facts(record))
    except Refused:
        return Told(again=decided)
    except Undecidable as error:
        missing = (error.missing,) if error.missing else ()
        return Told(missing=missing, undecidable=error)
    [service] = [each for each in plan.services if each.name == asked.service.name]
    evaluation, readings = _readings(asked, credential_came=record.user is not None)
    explanation = RecordedExplanation(service, judge, identity_headers, asked, evaluation)
    found = Explained(explanation.outcomes(), readings, explanation.nearest(nearest))
    return Told(found, decided, explanation.missing(found))


def _readings(asked: Asked, *, credential_came: bool) -> tuple[RecordedEvaluation, list[ReadingOutcome]]:
    """The reading that decided, and what came of all, where there are several."""
    if not asked.hows:
        return asked.evaluations[0], []
    for each in asked.evaluations:
        cast("RecordedOperation", each.operation).path_text = text_of(each.operation.path)
    try:
        verdicts = [
            decide(asked.service, each.operation, asked.caller, each, credential_came) for each in asked.evaluations
        ]
    except NotRecorded:
        return asked.evaluations[0], []
    told = [
        ReadingOutcome(each.operation.path_text, how, verdict.reason, verdict.rule)
        for each, how, verdict in zip(asked.evaluations, asked.hows, verdicts, strict=True)
    ]
    return asked.evaluations[denial_to_tell(verdicts) or 0], told
