"""What has been found of a candidate, put together for `authz candidate report`, for people and machines."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from authz_server.cli.account import in_words
from authz_server.cli.both_sides import SIDES, both_sides
from authz_server.cli.configuration import counted, from_here
from authz_server.cli.flips import Shown, block, in_parts, inert, markdown_table
from authz_server.cli.policies_of import policies_of
from authz_server.control.checked_file import NothingKept
from authz_server.control.fall_back import fallen_back
from authz_server.control.findings import COMPARED, Findings, Flip
from authz_server.control.settings import Settings
from authz_server.documents.instants import instant
from authz_server.policy.files import read_directory, revision
from authz_server.policy.plan import Plan
from authz_server.replay.flips import CHANGES, Flips, in_order
from authz_server.replay.judge import Judge
from authz_server.replay.recorded import read_record
from authz_server.replay.why import why


class Report(Struct, frozen=True):
    """The findings, with the policies that they are about."""

    findings: Findings
    plans: tuple[Plan | None, Plan | None]
    """In force, and the candidate; None where its texts are nowhere any more."""
    identity_headers: Sequence[str]
    flips: Sequence[tuple[Shown, Flip]]
    notes: Sequence[str]
    """What else there is to know."""
    fell_back: str | None = None
    """Why the roll-out is no more."""


def report_of(findings: Findings, settings: Settings, wanted: Sequence[str] = ()) -> Report:
    """Find the policies, and say why each flip flips, or only those whose ids are wanted."""
    in_force, where_in_force = policies_of(findings.revision, settings)
    candidate, where_candidate = policies_of(findings.candidate, settings)
    judge = None if candidate is None else Judge(candidate, settings.identity_headers)
    by_kind = {flip.kind: flip for flip in findings.flips if not wanted or flip.id in wanted}
    flips = []
    for each in in_order([_counted(flip) for flip in by_kind.values()]):
        said = where_candidate if judge is None else why(judge, each)
        flip = by_kind[each.kind]
        flips.append((Shown(each, said, flip.id), flip))
    lost = [where for plan, where in ((in_force, where_in_force), (candidate, where_candidate)) if plan is None]
    notes = [*_directories(findings, settings), *lost]
    try:
        fallen = fallen_back(settings)
    except NothingKept as error:
        fallen = None
        notes.append(f"whether the roll-out fell back is not known: {error}")
    fell_back = None
    if fallen is not None and fallen.revision == findings.candidate:
        fell_back = f"{fallen.why}; {fallen.to_do}"
    return Report(findings, (in_force, candidate), settings.identity_headers, flips, notes, fell_back)


def as_table(report: Report, *, explain: bool) -> str:
    """A block of lines for each kind of flip, and with `explain` the rules of both policies for its example."""
    blocks = []
    for shown, flip in report.flips:
        lines = [block(shown)]
        if explain:
            for side, account in zip(
                SIDES, both_sides(flip.example, report.plans, report.identity_headers), strict=True
            ):
                told = ["    what the rules said is not known any more"] if account is None else in_words(account)[1:]
                lines += ["", f"  {side}", *(inert(f"  {line}") if line else "" for line in told)]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, "\n".join(_summary(report))])


def as_markdown(report: Report) -> str:
    """A table for a pull request."""
    table = markdown_table([shown for shown, _ in report.flips])
    headline, *rest = _summary(report)
    lines = ["### What the candidate decides differently about live traffic", "", *table, *([""] if table else [])]
    return "\n".join([*lines, headline, "", *(f"- {line.strip()}" for line in rest)]).rstrip()


def as_json(report: Report) -> str:
    """Everything, for machines."""
    findings = report.findings
    flips = []
    for shown, flip in report.flips:
        accounts = both_sides(flip.example, report.plans, report.identity_headers)
        explained = dict(zip(("in_force", "candidate"), accounts, strict=True))
        flips.append({**in_parts(shown), "explained": explained})
    found = {
        "in_force": findings.revision,
        "candidate": findings.candidate,
        "since": None if findings.is_in_force else instant(findings.since),
        "checks": findings.counted.checks,
        "rolled_out": findings.counted.rolled_out,
        "fell_back": report.fell_back,
        "seconds": findings.counted.seconds,
        "flips": flips,
        "more": findings.more,
        "notes": report.notes,
    }
    return msgspec.json.encode(found).decode()


def _counted(flip: Flip) -> Flips:
    flips = Flips(flip.kind, read_record(flip.example))
    flips.count, flips.first, flips.last = flip.records, flip.first, flip.last
    return flips


def _summary(report: Report) -> Iterator[str]:
    findings, checks = report.findings, report.findings.counted.checks
    if findings.is_in_force:
        yield f"the candidate is what is in force, {findings.candidate}: nothing flips"
        return
    compared, same = findings.compared, checks.get("same", 0)
    parts = ", ".join(f"{checks.get(change, 0):,} {change}" for change in CHANGES)
    share = f" ({_percent(compared - same, compared)}: {parts})" if compared > same else ""
    flipping = f"{compared - same:,} flip{share}" if share else "none flips"
    yield f"{counted(compared, 'check')} compared: {same:,} decided the same, {flipping}"
    yield f"  in force   {findings.revision}"
    yield f"  candidate  {findings.candidate}, judged since {instant(findings.since)}"
    left = {outcome: count for outcome, count in checks.items() if outcome not in COMPARED and count}
    if left:
        yield f"  not compared: {', '.join(f'{count:,} {outcome}' for outcome, count in left.items())}"
    if findings.counted.rolled_out:
        yield f"  the candidate decided {findings.counted.rolled_out:,} of them"
    if report.fell_back is not None:
        yield f"  the roll-out fell back: {report.fell_back}"
    if compared:
        yield f"  asking both took {findings.counted.seconds / compared * 1e6:,.0f} µs more a check"
    for change, count in findings.more.items():
        yield f"  {counted(count, 'record')} more: {change}, of kinds that found no room"
    for change, count in findings.untold.items():
        yield f"  {counted(count, 'check')}: {change}, and no record tells of them (yet)"
    yield from (f"  {note}" for note in report.notes)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %" if part / whole < 0.1 else f"{100 * part / whole:.0f} %"


def _directories(findings: Findings, settings: Settings) -> Iterator[str]:
    """What the directories hold now, where that is something else."""
    wanted = [(settings.policy_directory, findings.revision, "in force")]
    if settings.candidate is not None:
        wanted.append((settings.candidate.directory, findings.candidate, "judged"))
    for directory, name, what in wanted:
        found = revision_in(directory)
        if found != name:
            yield f"{from_here(directory)} holds {found or 'no policies'} now, which is not what is {what} here"


def revision_in(directory: Path) -> str | None:
    """The revision that a directory holds; None where there is none."""
    files, _ = read_directory(directory)
    return revision(files) if files else None
