"""What is used of policies, for terminals and machines."""

from collections.abc import Iterator, Sequence

import msgspec

from authz_server.cli.configuration import counted
from authz_server.documents.instants import instant
from authz_server.documents.source import printable_line
from authz_server.usage.found import DAY_S, Findings, Place, Unused, Wide, by_rule
from authz_server.usage.parts import MAX_OPERATIONS
from authz_server.usage.state import State

MAX_USED = 12
"""Things that are named of a wide grant."""
_TIMES = frozenset({"began", "now", "cutoff", "since", "first", "last"})
_WHYS = {
    "items": "records do not say by which items: of its parts nothing is claimed",
    "uses": "of some uses it is not known by whom, or for what: of methods, paths and workloads nothing is claimed",
}


def as_json(found: Findings, state: State, not_kept: Sequence[str]) -> str:
    """Everything, for machines; times are RFC 3339."""
    about: dict[str, object] = msgspec.to_builtins(found)
    about["gaps"] = msgspec.to_builtins(state.gaps)
    about["candidate"], about["unplaced"] = state.candidate.count, state.unplaced.count
    about["revisions_not_kept"] = list(not_kept)
    return msgspec.json.encode(_dated(about)).decode()


def _dated(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_dated(each) for each in value]
    if isinstance(value, dict):
        return {
            name: instant(each) if name in _TIMES and isinstance(each, float | int) else _dated(each)
            for name, each in value.items()
        }
    return value


def in_words(found: Findings, state: State, not_kept: Sequence[str], days: float) -> str:
    """A report in lines."""
    unused = found.unused_grants
    denies = [each for each in found.unused if each.effect != "allow"]
    blocks = [
        [_looked(found, days)],
        _block("rules that nobody used", [line for each in unused if not each.place for line in _unused(each)]),
        _block("grants that nobody used", [line for each in unused if each.place for line in _unused(each)]),
        _block("wide grants, and what was used of them", list(_wide(found))),
        _block(
            "deny rules that denied nothing: no reason to remove them, they are there for what must not happen",
            [f"{each.rule}  {each.location}" for each in denies],
        ),
        _block("too young to tell", list(_young(found))),
        _block("not known", [f"{each.rule}  {each.location}: {_WHYS[each.why]}" for each in found.unknown]),
        _block("what makes this less sure", list(doubts(state, not_kept, found.cutoff))),
    ]
    if not unused and len(found.young) < found.rules:
        blocks.append(["every grant that is old enough was used"])
    # Paths and names of clients are never handed to a terminal as they are, nor make lines of their own.
    lines = [line for block in blocks if block for line in (*block, "")]
    return "\n".join([printable_line(line) for line in lines]).rstrip()


def doubts(state: State, not_kept: Sequence[str], cutoff: float) -> Iterator[str]:
    """Why something may have been used that counts as unused."""
    for gap in state.gaps:
        if gap.last < cutoff:
            continue
        between = f"{_day(gap.first)} and {_day(gap.last)}" if _day(gap.first) != _day(gap.last) else _day(gap.first)
        if gap.why == "lost":
            number = "an unknown number of records" if gap.records is None else counted(gap.records, "record")
            yield f"{number} of decisions were lost: {between}"
        else:
            yield f"a server ended without writing what it had counted last: {between}"
    if state.candidate.count and state.candidate.last >= cutoff:
        yield f"{counted(state.candidate.count, 'decision')} of a candidate by rules that are not in force"
    if state.unplaced.count and state.unplaced.last >= cutoff:
        yield f"{counted(state.unplaced.count, 'decision')} of policies that are not known"
    for revision in not_kept:
        yield f"the revision {revision} is not kept: what was used of it is not known"


def where(place: Place) -> str:
    """A part of a rule in words."""
    if not place:
        return "the rule"
    field, *rest = place
    if not rest:
        return f"`{field}`"
    words = f"`{field}`, item {int(rest[0]) + 1}"
    names = [str(each) for each in rest[1:] if isinstance(each, str)]
    return f"{words}, `{'.'.join(names)}`" if names else words


def _looked(found: Findings, days: float) -> str:
    span = f"from {_day(found.began)} to {_day(found.now)}"
    text = f"{counted(found.rules, 'rule')}, {counted(found.decisions, 'decision')} {span}"
    asked = f"{days:g} day{'' if days == 1 else 's'}"
    if found.began > found.cutoff:
        whole = (found.now - found.began) / DAY_S
        return f"{text}; that is {whole:.1f} days, so nobody can tell what was not used for {asked}: see `--days`"
    return f"{text}; unused is what nobody used for {asked}, since {_day(found.cutoff)}"


def _unused(each: Unused) -> Iterator[str]:
    yield f"{each.rule}  {each.location}"
    what = "" if not each.place else f"{where(each.place)}: {each.grants}; "
    when = (
        f"last used on {_day(each.since)}"
        if each.ever
        else f"never used since {_day(each.since)}, when counting it began"
    )
    notes = ["; it exists at certain times only"] if each.timed else []
    notes += ["; it is in audit"] if each.audit else []
    yield f"  {what}{when}{''.join(notes)}"


def _wide(found: Findings) -> Iterator[str]:
    callers = by_rule(found.called)
    for rule, grants in by_rule(found.wide).items():
        yield f"{rule}  {grants[0].location}"
        yield from (f"  {where(each.place)}: {each.grants}; used: {_listed(each)}" for each in grants)
        for called in callers.get(rule, ()):
            operations = _some(called.operations, MAX_OPERATIONS)
            yield f"    {called.caller}: {operations} ({counted(called.decisions, 'decision')})"


def _listed(wide: Wide) -> str:
    return _some(wide.used, MAX_USED) or "nothing"


def _some(texts: Sequence[str], most: int) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _young(found: Findings) -> Iterator[str]:
    for each in found.young:
        when = "not yet counted as it is now" if each.since is None else f"as it is now since {_day(each.since)}"
        yield f"{each.rule}  {each.location}: {when}"


def _block(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _day(moment: float) -> str:
    return instant(moment)[:10]
