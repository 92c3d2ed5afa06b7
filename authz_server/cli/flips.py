"""What comes out differently when records are replayed, for terminals, pull requests and machines."""

import msgspec

from authz_server.cli.configuration import counted
from authz_server.replay.flips import Change, Flips, Replay, Tally
from authz_server.replay.judge import Outcome
from authz_server.replay.recorded import Recorded
from authz_server.replay.why import why

ARROWS: dict[Change, str] = {"closed": "ALLOW → DENY", "opened": "DENY → ALLOW", "other": "another rule or reason"}


def as_table(replay: Replay) -> str:
    """A block of lines for each kind of flip."""
    return "\n\n".join([*(_block(replay, flips) for flips in replay.tally.flips), _summary(replay.tally)])


def as_markdown(replay: Replay) -> str:
    """A table for a pull request."""
    lines = ["### What the policies decide differently about recorded requests", ""]
    if replay.tally.flips:
        lines += [
            "| | records | caller | route | before | after | why | example |",
            "|---|--:|---|---|---|---|---|---|",
        ]
    for flips in replay.tally.flips:
        texts = [flips.kind.caller, flips.kind.route, _outcome(flips.kind.before), _outcome(flips.kind.after)]
        cells = [*texts, why(replay.judge, flips), _example(flips.example)]
        lines.append(f"| **{ARROWS[flips.kind.change]}** | {flips.count} | {' | '.join(map(_code, cells))} |")
    lines += [""] if replay.tally.flips else []
    summary, *undecidable = _summary(replay.tally).split("\n")
    return "\n".join([*lines, summary, "", *(f"- {_code(line.strip())}" for line in undecidable)]).rstrip()


def as_json(replay: Replay) -> str:
    """Everything, for machines."""
    tally = replay.tally
    undecidable = [
        {"why": reason, "missing": missing or None, "records": count}
        for (reason, missing), count in tally.undecidable.most_common()
    ]
    flips = [
        {
            "change": flips.kind.change,
            "records": flips.count,
            "first": flips.first,
            "last": flips.last,
            "caller": flips.kind.caller,
            "route": flips.kind.route,
            "before": _in_parts(flips.kind.before),
            "after": _in_parts(flips.kind.after),
            "why": why(replay.judge, flips),
            "example": _request(flips.example),
        }
        for flips in tally.flips
    ]
    found = {"records": tally.records, "same": tally.same, "flips": flips, "undecidable": undecidable}
    return msgspec.json.encode(found).decode()


def _block(replay: Replay, flips: Flips) -> str:
    kind = flips.kind
    facts = {
        "before": _outcome(kind.before),
        "after": _outcome(kind.after),
        "why": why(replay.judge, flips),
        "first": flips.first,
        "last": flips.last,
        "example": _example(flips.example),
    }
    head = f"{ARROWS[kind.change]}  {counted(flips.count, 'record')}  {kind.route}\n  {kind.caller}"
    return _inert("\n".join([head, *(f"    {name:<8} {value}" for name, value in facts.items())]))


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
    return _inert("\n".join(lines))


def _outcome(outcome: Outcome) -> str:
    decision = "ALLOW" if outcome.allowed else "DENY"
    audit = " (in audit)" if outcome.would_deny else ""
    return f"{decision}{audit} {outcome.reason}{f' {outcome.rule}' if outcome.rule else ''}"


def _example(record: Recorded) -> str:
    user = f" · user {record.user.subject} of {record.user.issuer}" if record.user else ""
    return f"{record.method} https://{record.host}{record.path}{user} · {record.decision_id}"


def _in_parts(outcome: Outcome) -> dict[str, object]:
    decision = "allow" if outcome.allowed else "deny"
    return {"decision": decision, **{name: getattr(outcome, name) for name in ("reason", "rule", "would_deny")}}


def _request(record: Recorded) -> dict[str, object]:
    names = ("decision_id", "time", "workload", "user", "method", "host", "path", "client_ip", "inputs", "absent")
    return {name: getattr(record, name) for name in names}


def _code(text: str) -> str:
    return "`" + _inert(text).replace("|", "\\|").replace("`", "'").replace("\n", " ") + "`"


def _inert(text: str) -> str:
    """Without what terminals act upon: requests can be hostile."""
    return "".join([each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text])
