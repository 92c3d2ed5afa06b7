"""A candidate beside the policies in force: it changes nothing, unless it is rolled out to the caller."""

import random
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from authz_server.errors import Reason
from authz_server.model import Compared, Comparison
from authz_server.policy.comparing import compared, comparison_of, inputs_of_both
from authz_server.policy.conditions.evaluation import never
from authz_server.policy.index import PolicyIndex
from authz_server.policy.inputs import Inputs, read_inputs
from authz_server.policy.judging import Asked, Judged, judge
from authz_server.policy.rollout import Rollout

EVERY_CHECK = 100
LONGEST_S = 0.01
"""Processor time that a candidate may take for a check that it does not decide: other calls wait for it."""


class Watch(Protocol):
    """Is told what comes of the candidate."""

    def compared(
        self, outcome: Comparison, seconds: float, *, by_candidate: bool, denied_by_both: bool = False
    ) -> None:
        """One request about which both were asked, or should have been, and the time that the second one took."""
        ...

    def failed(self, error: Exception) -> None:
        """A defect of ours, which changed nothing."""
        ...


class _Nobody:
    def compared(
        self, outcome: Comparison, seconds: float, *, by_candidate: bool, denied_by_both: bool = False
    ) -> None:
        """Nobody listens."""

    def failed(self, error: Exception) -> None:
        """Nobody listens."""


NOBODY: Watch = _Nobody()


class Candidate(Struct, frozen=True):
    """The policies of a candidate, and when they are asked."""

    policies: PolicyIndex
    watch: Watch
    sample: int = EVERY_CHECK
    """The percentage of checks about which they are asked."""
    rollout: Rollout | None = None
    """None where they decide for nobody."""
    is_pressed: Callable[[], bool] = never
    """Whether other calls wait, for whom there is no time as it is."""

    def is_asked(self) -> bool:
        """Whether it is asked about one more check that it does not decide."""
        return self.sample >= EVERY_CHECK or random.random() * EVERY_CHECK < self.sample  # noqa: S311 - no secret


class Both(Struct, frozen=True):
    """What policies say that decide, and the other ones where they say something else."""

    decided: Judged
    inputs: Inputs
    by_candidate: bool = False
    compared: Compared | None = None


def judge_alone(policies: PolicyIndex, asked: Asked) -> Both:
    """Let these policies decide."""
    decided = judge(policies, asked)
    return Both(decided, read_inputs(asked.evaluation, decided.reads))


def judge_both(enforced: PolicyIndex, candidate: Candidate, asked: Asked) -> Both:
    """Let the policies in force decide and ask the candidate, or the other way round for a caller in the share.

    Whatever the candidate does to us, the policies in force decide as they would without it.
    """
    failed = False
    asked.evaluation.expect_again()
    if candidate.rollout is not None and candidate.rollout.includes(asked.caller):
        try:
            decided = judge(candidate.policies, asked)
        except Exception as error:  # noqa: BLE001  # the border: what cannot be asked decides nothing
            candidate.watch.failed(error)
            failed = True
        else:
            return compare(decided, enforced, candidate, asked, by_candidate=True)
    decided = judge(enforced, asked)
    if failed or not candidate.is_asked():
        return Both(decided, read_inputs(asked.evaluation, decided.reads))
    return compare(decided, candidate.policies, candidate, asked, by_candidate=False)


def compare(decided: Judged, others: PolicyIndex, candidate: Candidate, asked: Asked, *, by_candidate: bool) -> Both:
    """Ask the other policies too, where there is time; whatever comes of it, the decision stands."""
    # First, because of the body only what the deciding rules have read is on record.
    both = Both(decided, read_inputs(asked.evaluation, decided.reads), by_candidate)
    began = time.perf_counter()
    try:
        # In the share the comparison is what takes a bad candidate back: other calls have to wait for it.
        in_time = not asked.evaluation.is_late() and (by_candidate or not candidate.is_pressed())
        if in_time and not by_candidate:
            _limit_time(asked)
        other = judge(others, asked) if in_time else None
        if other is None or other.rehearsed.verdict.reason is Reason.DEADLINE:
            # A denial of which nobody knows whether it is meant counts as one that is not.
            outcome: Comparison = "closed" if by_candidate and not decided.allowed else "skipped"
        else:
            outcome = comparison_of(decided, other) if by_candidate else comparison_of(other, decided)
            if outcome != "same":
                inputs = inputs_of_both(asked.evaluation, decided, other)
                both = Both(decided, inputs, by_candidate, compared(other))
        candidate.watch.compared(
            outcome,
            time.perf_counter() - began,
            by_candidate=by_candidate,
            denied_by_both=by_candidate and not decided.allowed and outcome in ("same", "other"),
        )
    except Exception as error:  # noqa: BLE001  # the border, as above
        candidate.watch.failed(error)
    return both


def _limit_time(asked: Asked) -> None:
    """Let no further condition be begun when the candidate has taken as long as it may."""
    is_late, began = asked.evaluation.is_late, time.thread_time()
    asked.evaluation.is_late = lambda: time.thread_time() - began > LONGEST_S or is_late()
