"""Narrower policies that were checked: they load, open nothing, and allow everything that is on record.

What does not pass is left out, and why is told; the rest is checked again without it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from authz_server.analysis.difference import Comparison, compare
from authz_server.pruning.edits import CannotEdit
from authz_server.pruning.narrower import Narrower, Policies
from authz_server.pruning.narrowing import Edit, Narrowing
from authz_server.pruning.replayed import Replayed, allows, replayed, told_of
from authz_server.replay.judge import Judge
from authz_server.replay.recorded import Recorded

Lines = Callable[[], Iterable[bytes]]
"""The recorded decisions, as often as they are asked for."""
MAX_TRIES = 200
"""Edits that are tried by themselves, where a rule's edits deny something together; each loads all policies."""


class Suggestion(Struct, frozen=True):
    """What the policies could be."""

    files: dict[str, tuple[bytes, bytes]]
    """Path below the directory -> content before and after, of those that change."""
    narrowings: tuple[Narrowing, ...]
    left_out: dict[str, str]
    """Rule -> why it is not narrowed as far as it could be."""
    comparison: Comparison
    replayed: Replayed


def suggest(
    policies: Policies,
    narrowings: Sequence[Narrowing],
    lines: Lines,
    now: float,
    timeout_s: float,
    identity_headers: Sequence[str] = (),
) -> Suggestion:
    """Narrow as much as passes all checks; `now` is the time at which the policies are compared."""
    narrower = Narrower(policies)
    left_out: dict[str, str] = {}
    left = {each.rule: each for each in _that_load(narrower, narrowings, left_out)}
    tries = MAX_TRIES
    while True:
        try:
            files, plan = narrower.narrowed(left.values())
        except CannotEdit as error:
            # Each by itself was fine.
            left_out |= dict.fromkeys(left, f"with the others: {error}")
            left = {}
            continue
        comparison = compare(policies.plan, plan, now, timeout_s)
        opening = _opening(comparison, left)
        if opening:
            left_out |= opening
            left = {rule: narrowing for rule, narrowing in left.items() if rule not in opening}
            continue
        again = replayed(policies.plan, plan, lines(), identity_headers)
        if not again.closed:
            return Suggestion(files, tuple(left.values()), left_out, comparison, again)
        for rule, records in _denying(again, left).items():
            narrowing = left.pop(rule)
            left_out[rule] = f"it would deny what is on record, such as {told_of(records[0])}"
            tries -= len(narrowing.edits)
            if tries >= 0 and (harmless := _harmless(narrower, narrowing, records, identity_headers)):
                left[rule] = Narrowing(rule, harmless)


def _that_load(narrower: Narrower, narrowings: Sequence[Narrowing], left_out: dict[str, str]) -> Sequence[Narrowing]:
    """Those that can be made; the others are found by halves, because there may be many and few that cannot."""
    try:
        narrower.narrowed(narrowings)
    except CannotEdit as error:
        if len(narrowings) == 1:
            left_out[narrowings[0].rule] = str(error)
            return []
        middle = len(narrowings) // 2
        halves = (_that_load(narrower, half, left_out) for half in (narrowings[:middle], narrowings[middle:]))
        return [narrowing for half in halves for narrowing in half]
    return narrowings


def _opening(comparison: Comparison, left: Mapping[str, Narrowing]) -> dict[str, str]:
    """The narrowings of which something comes that does not close, with what that is."""
    found: dict[str, str] = {}
    for flip in comparison.flips:
        if not flip.new.allowed:
            continue
        what = "answers differently" if flip.old.allowed else "would be allowed"
        action = flip.probe.action
        told = f"a request {what}, such as {action.method} https://{action.host}{action.target}"
        # Where no rule of it is narrowed, nobody knows which narrowing it comes from.
        rules = [rule for rule in (flip.old.rule, flip.new.rule) if rule is not None and rule in left]
        found |= dict.fromkeys(rules or left, told)
    return found


def _denying(again: Replayed, left: Mapping[str, Narrowing]) -> dict[str, list[Recorded]]:
    """The narrowed rules by which records would be denied; where it is not known which those are, all."""
    found: dict[str, list[Recorded]] = {}
    for rule, records in again.closed.items():
        for each in [rule] if rule in left else left:
            found.setdefault(each, []).extend(records)
    return found


def _harmless(
    narrower: Narrower, narrowing: Narrowing, records: Sequence[Recorded], identity_headers: Sequence[str]
) -> tuple[Edit, ...]:
    """The edits of a rule that deny none of these records; none where it takes several to deny them."""
    harmless: list[Edit] = []
    for edit in narrowing.edits if len(narrowing.edits) > 1 else ():
        try:
            _, plan = narrower.narrowed([Narrowing(narrowing.rule, (edit,))])
        except CannotEdit:
            continue
        judge = Judge(plan, identity_headers)
        if all(allows(judge, record) for record in records):
            harmless.append(edit)
    return tuple(harmless) if len(harmless) < len(narrowing.edits) else ()
