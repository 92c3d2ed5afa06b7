"""The record of a decision: one JSON object in one line, every name always there, null where there is nothing.

What a request says can be hostile: every text stays inside its JSON string, in one line, without characters that
terminals and editors act upon, and parses back to what was sent. A record that grows long has its long texts cut
and marked, so that its size is bounded whatever a client sends.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, to_builtins

from authz_server.audit.redaction import Redaction
from authz_server.model import Compared, Decision

MAX_WHOLE = 8192
"""Bytes up to which a record is written as it is."""
MAX_TEXT = 1024
"""Characters that remain of each text in a longer record."""
_MAX_INPUTS = 8192
_MAX_DEPTH = 8

_json = msgspec.json.Encoder(enc_hook=repr).encode
# What was cut says so; what could not be held as it was is escaped; what is secret is hashed.
_NOT_WHOLE = re.compile(
    r"\[\+\d+ (?:characters|elements|entries|inputs)\]\Z|\[cut\]\Z|\\ud[89a-f][0-9a-f]{2}|\Akeyed-hash:"
)
# C1 controls, bidirectional marks, line and paragraph separators, byte order mark.
_ACTS_ON_READERS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class UserRecord(Struct, frozen=True):
    """Who the user is, without what the token says of them."""

    issuer: str
    subject: str


class ComparedRecord(Struct, frozen=True):
    """What the policies say that did not decide, where that is something else."""

    revision: str
    decision: str
    reason: str
    rule: str | None
    would_deny: bool


class Record(Struct, kw_only=True):
    """One line of the audit, in this order; `type` says what it is about."""

    time: datetime | str
    """RFC 3339, UTC, microseconds."""
    type: str
    """`decision`, or `gap`: decisions were made whose records are lost."""
    decision_id: str | None = None
    revision: str | None = None
    decision: str | None = None
    """`allow` or `deny`: what the proxy was told."""
    reason: str | None = None
    rule: str | None = None
    service: str | None = None
    mode: str | None = None
    would_deny: bool | None = None
    workload: str | None = None
    user: UserRecord | None = None
    token_hash: str | None = None
    method: str | None = None
    host: str | None = None
    path: str | None = None
    client_ip: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    latency_us: int | None = None
    worker: int | None
    inputs: Mapping[str, Any] | None = None
    detail: str | None = None
    via: str | None = None
    workload_by: str | None = None
    """How the workload is known."""
    actor: str | None = None
    """Who acts on behalf of the user."""
    audited: tuple[str, ...] | None = None
    """The rules in audit that would have decided."""
    stale: bool | None = None
    """The policies are those of an earlier run; null where they are those of the directory."""
    dropped: int | None = None
    """Of a gap: how many records are lost, null where nobody knows."""
    calls: int | None = None
    """Of a decision: how many calls it is about."""
    absent: tuple[str, ...] | None = None
    """Which of the inputs the request does not have."""
    traits: Mapping[str, Any] | None = None
    """What is unusual about the request; null where it was not read."""
    policies: str | None = None
    """`candidate` where a roll-out let the candidate decide."""
    compared: ComparedRecord | Mapping[str, Any] | None = None
    """Of a decision: what the other policies say, the candidate's or those in force, where that is something else."""
    items: tuple[int | None, int | None] | None = None
    """The items of `from` and `to` by which the rule fits."""


def encode(decision: Decision, *, worker: int, latency_us: int, redaction: Redaction) -> bytes:
    """The record of a decision as one JSON line, without the line feed. Never raises for what a request holds."""
    workload, user = decision.workload, decision.user
    record = Record(
        time=_moment(decision.time),
        type="decision",
        decision_id=decision.id,
        revision=decision.revision,
        decision="allow" if decision.allowed else "deny",
        reason=decision.reason,
        rule=decision.rule,
        service=decision.service,
        mode=decision.mode,
        would_deny=decision.would_deny,
        workload=None if workload is None else workload.id.text,
        user=None if user is None else UserRecord(user.issuer, user.subject),
        token_hash=decision.token_hash,
        method=decision.method,
        host=decision.host,
        path=decision.path,
        client_ip=decision.client_ip,
        request_id=decision.request_id,
        trace_id=decision.trace_id,
        latency_us=latency_us,
        worker=worker,
        inputs=redaction(decision.inputs),
        detail=decision.detail,
        via=None if workload is None else workload.via,
        workload_by=None if workload is None else workload.known_by,
        actor=None if user is None or user.actor is None else user.actor.subject,
        audited=decision.audited or None,
        stale=decision.stale or None,
        calls=decision.shed or 1,
        absent=decision.absent or None,
        traits=decision.traits,
        policies=decision.policies,
        compared=None if decision.compared is None else _compared(decision.compared),
        items=decision.items,
    )
    try:
        line = _json(record)
    except (UnicodeEncodeError, TypeError, RecursionError):
        line = _json(_bounded(record))
    else:
        if len(line) > MAX_WHOLE:
            line = _json(_bounded(record))
    return line if line.isascii() else _inert(line)


def encode_gap(time: float, *, worker: int | None, dropped: int | None) -> bytes:
    """The record of records that a worker lost, `dropped` of them where that is known; time as seconds since 1970.

    No worker: the spool lost them.
    """
    return _json(Record(time=_moment(time), type="gap", worker=worker, dropped=dropped))


def _compared(other: Compared) -> ComparedRecord:
    decision = "allow" if other.allowed else "deny"
    return ComparedRecord(other.revision, decision, other.reason, other.rule, other.would_deny)


def is_whole(text: str) -> bool:
    """Whether a text of a record is what the request had."""
    return _NOT_WHOLE.search(text) is None


def _moment(time: float) -> datetime | str:
    moment = datetime.fromtimestamp(time, UTC)
    # msgspec leaves the fraction out where it is zero; the format is the same in every line.
    return moment if moment.microsecond else moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _inert(line: bytes) -> bytes:
    return _ACTS_ON_READERS.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _bounded(record: Record) -> Record:
    """The same record with every text valid and cut."""
    fields = {name: _plain(getattr(record, name), 0) for name in record.__struct_fields__}
    if record.compared is not None:
        fields["compared"] = _plain(to_builtins(record.compared), 0)
    fields["inputs"] = _bounded_inputs(record.inputs or {})
    return Record(**fields)


def _bounded_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    bounded: dict[str, Any] = {}
    room = _MAX_INPUTS
    for name, value in inputs.items():
        plain = _plain(value, 0)
        text = _json(plain)
        if len(text) > MAX_TEXT and not isinstance(plain, str):
            text = _json(plain := _cut(text.decode()))
        room -= len(name) + len(text)
        if room < 0:
            bounded["cut"] = f"[+{len(inputs) - len(bounded)} inputs]"
            break
        bounded[_plain(name, 0)] = plain
    return bounded


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """The value as JSON can carry it: texts valid and cut, maps with text keys, not too deep."""
    if isinstance(value, str):
        return _cut(value).encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    if depth == _MAX_DEPTH:
        return "[cut]"
    if isinstance(value, UserRecord):
        return UserRecord(_plain(value.issuer, depth), _plain(value.subject, depth))
    if isinstance(value, Mapping):
        return {_plain(str(key), depth): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, depth + 1) for inner in value]
    return _plain(repr(value), depth)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}[+{len(text) - MAX_TEXT} characters]"
