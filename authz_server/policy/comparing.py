"""Two sets of policies asked about the same request: whether they say the same."""

from authz_server.model import Compared, Comparison
from authz_server.policy.conditions import Evaluation
from authz_server.policy.inputs import Inputs, read_inputs
from authz_server.policy.judging import Judged


def comparison_of(candidate: Judged, enforced: Judged) -> Comparison:
    """What the candidate would change, or changes."""
    if candidate.allowed != enforced.allowed:
        return "opened" if candidate.allowed else "closed"
    ours, theirs = candidate.rehearsed, enforced.rehearsed
    same = (
        ours.verdict.reason is theirs.verdict.reason
        and ours.verdict.rule == theirs.verdict.rule
        and ours.would_deny == theirs.would_deny
    )
    return "same" if same else "other"


def compared(other: Judged) -> Compared:
    """What the policies say that do not decide."""
    verdict = other.rehearsed.verdict
    return Compared(other.policies.revision, other.allowed, verdict.reason, verdict.rule, other.rehearsed.would_deny)


def inputs_of_both(evaluation: Evaluation, decided: Judged, other: Judged) -> Inputs:
    """What the rules of both read, each once."""
    return read_inputs(evaluation, {read.name: read for read in (*decided.reads, *other.reads)}.values())
