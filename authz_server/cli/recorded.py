"""A recorded decision with the policies that made it, as `authz explain` finds them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from authz_server.audit.record import Record
from authz_server.cli.account import NEAREST, Account, account_of
from authz_server.cli.policies_of import first_of, policies_of
from authz_server.control.settings import Settings
from authz_server.policy.explain import Explained
from authz_server.policy.files import read_directory, revision
from authz_server.policy.loader import load_files
from authz_server.policy.plan import Plan
from authz_server.replay.explaining import Told, told_of
from authz_server.replay.files import lines_of
from authz_server.replay.judge import recorded_outcome
from authz_server.replay.recorded import Recorded, read_record

_WHY: dict[str, str] = {
    "older_record": "the record is of an earlier version, and does not say enough of the request",
    "path_cut": "the record has the path only up to what may be secret",
    "cut": "the record was cut, because it was too long",
    "user_not_known": "the record does not say whether a credential came",
    "service_not_known": "the record does not say which service the route named",
}


class Explanation(Struct, frozen=True):
    """Everything that can be told of a recorded decision."""

    record: dict[str, Any]
    policies: str
    """Where those are that decided, or why there are none."""
    policies_found: bool
    account: Account
    not_told: tuple[str, ...]
    """What the record or the policies do not tell."""


def find(decision_id: str, files: Iterable[Path]) -> bytes | None:
    """The line of the audit with this decision, in the first file that has it. Raises OSError, EOFError."""
    wanted = decision_id.encode()
    for file in files:
        for line in lines_of(file, lambda _: None):
            if wanted in line and _id_of(line) == decision_id:
                return line
    return None


def audit_files(settings: Settings) -> Iterator[Path]:
    """The audit file, and those that were put aside, the latest first."""
    path = settings.audit.file.path
    aside = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}*"), reverse=True)
    yield from (each for each in (path, *aside) if each.is_file())


def explanation_of(line: bytes, settings: Settings, given: Path | None) -> Explanation:
    """Explain a line of the audit by the policies that decided, or by those of the directory that is `given`."""
    fields = dict.fromkeys(Record.__struct_fields__) | msgspec.json.decode(line, type=dict[str, Any])
    plan, policies = _plan(str(fields["revision"]), settings, given)
    if plan is None:
        not_told = (policies,) if fields["revision"] else ()
        return Explanation(fields, policies, False, account_of(fields, Explained()), not_told)
    record = read_record(line)
    told = told_of(record, plan, settings.identity_headers, NEAREST)
    return Explanation(fields, policies, True, account_of(fields, told.found), tuple(_not_told(record, told)))


def _id_of(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=_Id).decision_id
    except msgspec.DecodeError:
        return None


class _Id(Struct):
    decision_id: str | None = None


def _plan(wanted: str, settings: Settings, given: Path | None) -> tuple[Plan | None, str]:
    """The policies of a revision, and where they were found, or why they were not."""
    if given is None:
        return policies_of(wanted, settings) if wanted else (None, "no policies were asked")
    files, problems = read_directory(given)
    found = revision(files)
    where = str(given) if found == wanted else f"{given}, which is another revision: {found}"
    loaded = load_files(given, files, problems)
    return loaded.plan, where if loaded.plan else f"{given} has errors: {first_of(loaded.problems)}"


def _not_told(record: Recorded, told: Told) -> Iterator[str]:
    undecidable = told.undecidable
    if undecidable is not None and undecidable.why in _WHY:
        yield _WHY[undecidable.why]
    for name in told.missing:
        yield f"`{name}` is not on record, and rules read it"
    if told.again is not None and told.again != recorded_outcome(record):
        again = f"{'allow' if told.again.allowed else 'deny'}, {told.again.reason}"
        yield f"decided again it comes out otherwise ({again}): are these the policies and settings of that time?"
