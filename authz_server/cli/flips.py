"""What comes out differently when records are replayed, for terminals, pull requests and machines."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from authz_server.cli.configuration import counted
from authz_server.replay.flips import Change, Flips, Replay, Tally
from authz_server.replay.judge import Outcome
from authz_server.replay.recorded import Recorded
from authz_server.replay.why import why

ARROWS: dict[Change, str] = {"closed": "ALLOW → DENY", "opened": "DENY → ALLOW", "other": "another rule or reason"}


class Shown(NamedTuple):
    """One kind of flip, with what is said of it."""

    flips: Flips
    why: str
    id: str = ""
    """Where it has one."""


def as_table(replay: Replay) -> str:
    """A block of lines for each kind of flip."""
    return "\n\n".join([*map(block, _shown(replay)), _summary(replay.tally)])


def as_markdown(replay: Replay) -> str:
    """A table for a pull request."""
    lines = ["### What the policies decide differently about recorded requests", "", *markdown_table(_shown(replay))]
    lines += [""] if replay.tally.flips else []
    summary, *undecidable = _summary(replay.tally).split("\n")
    return "\n".join([*lines, summary, "", *(f"- {as_code(line.strip())}" for line in undecidable)]).rstrip()


def as_json(replay: Replay) -> str:
    """Everything, for machines."""
    tally = replay.tally
    undecidable = [
        {"why": reason, "missing": missing or None, "records": count}
        for (reason, missing), count in tally.undecidable.most_common()
    ]
    flips = [in_parts(shown) for shown in _shown(replay)]
    found = {"records": tally.records, "same": tally.same, "flips": flips, "undecidable": undecidable}
    return msgspec.json.encode(found).decode()


def block(shown: Shown) -> str:
    """A kind of flip in some lines."""
    flips, kind = shown.flips, shown.flips.kind
    facts = {
        "before": _outcome(kind.before),
        "after": _outcome(kind.after),
        "why": shown.why,
        "first": flips.first,
        "last": flips.last,
        "example": _example(flips.example),
    }
    head = f"{ARROWS[kind.change]}  {counted(flips.count, 'record')}  {kind.route}"
    lines = [f"{shown.id}  {head}" if shown.id else head, f"  {kind.caller}"]
    return "\n".join(map(inert, [*lines, *(f"    {name:<8} {value}" for name, value in facts.items())]))


def markdown_table(each: Sequence[Shown]) -> list[str]:
    """The lines of a table, or none."""
    if not each:
        return []
    has_ids = any(shown.id for shown in each)
    titles = [*(["id"] if has_ids else []), "caller", "route", "before", "after", "why", "example"]
    lines = [f"| | records | {' | '.join(titles)} |", f"|---|--:|{'---|' * len(titles)}"]
    for flips, said, name in each:
        texts = [flips.kind.caller, flips.kind.route, _outcome(flips.kind.before), _outcome(flips.kind.after)]
        cells = [*([name] if has_ids else []), *texts, said, _example(flips.example)]
        lines.append(f"| **{ARROWS[flips.kind.change]}** | {flips.count} | {' | '.join(map(as_code, cells))} |")
    return lines


def in_parts(shown: Shown) -> dict[str, object]:
    """A kind of flip, for machines."""
    flips, kind = shown.flips, shown.flips.kind
    return {
        **({"id": shown.id} if shown.id else {}),
        "change": kind.change,
        "records": flips.count,
        "first": flips.first,
        "last": flips.last,
        "caller": kind.caller,
        "route": kind.route,
        "before": _outcome_in_parts(kind.before),
        "after": _outcome_in_parts(kind.after),
        "why": shown.why,
        "example": _request(flips.example),
    }


def as_code(text: str) -> str:
    """A text as code of Markdown."""
    return "`" + inert(text).replace("|", "\\|").replace("`", "'") + "`"


def inert(text: str) -> str:
    """One line without what terminals act upon: requests can be hostile."""
    return "".join([each if each.isprintable() else f"\\u{ord(each):04x}" for each in text])


def _shown(replay: Replay) -> list[Shown]:
    return [Shown(flips, why(replay.judge, flips)) for flips in replay.tally.flips]


def _summary(tally: Tally) -> str:
    flipped = sum(flips.count for flips in tally.flips)
    parts = [f"{tally.changed(change):,} {change}" for change in ARROWS]
    flipping = f"{flipped:,} flip ({', '.join(parts)})" if flipped else "none flips"
    undecidable = tally.undecidable.total()
    lines = [f"{counted(tally.records, 'record')}: {tally.same:,} decided as before, {flipping}"]
    lines[0] += f", {undecidable:,} undecidable" if undecidable else ""
    lines += [
        f"  undecidable: {count:,} {reason}{f' {missing}' if missing else ''}"
        for (reason, missing), count in tally.undecidable.most_common()
    ]
    return "\n".join(map(inert, lines))


def _outcome(outcome: Outcome) -> str:
    decision = "ALLOW" if outcome.allowed else "DENY"
    audit = " (in audit)" if outcome.would_deny else ""
    return f"{decision}{audit} {outcome.reason}{f' {outcome.rule}' if outcome.rule else ''}"


def _example(record: Recorded) -> str:
    user = f" · user {record.user.subject} of {record.user.issuer}" if record.user else ""
    return f"{record.method} https://{record.host}{record.path}{user} · {record.decision_id}"


def _outcome_in_parts(outcome: Outcome) -> dict[str, object]:
    decision = "allow" if outcome.allowed else "deny"
    return {"decision": decision, **{name: getattr(outcome, name) for name in ("reason", "rule", "would_deny")}}


def _request(record: Recorded) -> dict[str, object]:
    names = ("decision_id", "time", "workload", "user", "method", "host", "path", "client_ip", "inputs", "absent")
    return {name: getattr(record, name) for name in names}
