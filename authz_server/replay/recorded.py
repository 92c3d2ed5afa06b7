"""What one audit record says of the request that it is about, and what it leaves open."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from authz_server.audit.record import is_whole
from authz_server.errors import Reason

ASKED = frozenset(
    {
        Reason.ALLOWED,
        Reason.BODY_INCOMPLETE,
        Reason.UNAUTHENTICATED,
        Reason.STEP_UP_REQUIRED,
        Reason.NO_SERVICE,
        Reason.DENIED_BY_RULE,
        Reason.DENY_RULE_ERROR,
        Reason.NO_RULE_ALLOWS,
    }
)
"""The reasons of decisions that were made when workload and user were known."""

Why = Literal[
    "not_recorded",
    "denied_before_rules",
    "user_not_known",
    "service_not_known",
    "path_cut",
    "cut",
    "shed",
    "gap",
    "older_record",
    "unreadable",
]
WHYS: tuple[Why, ...] = get_args(Why)


class Undecidable(Exception):
    """The record does not suffice; `why` is a stable code, and `missing` the name of what it leaves open."""

    def __init__(self, why: Why, missing: str = "") -> None:
        super().__init__(f"{why}: {missing}" if missing else why)
        self.why = why
        self.missing = missing


class NotRecorded(Undecidable):
    """The policies read an attribute of the request that is not on record."""

    def __init__(self, missing: str) -> None:
        super().__init__("not_recorded", missing)


class RecordedUser(Struct, frozen=True):
    """Who the user was."""

    issuer: str
    subject: str


class RecordedComparison(Struct, frozen=True):
    """What the policies said that did not decide, where that was something else."""

    revision: str
    decision: str
    reason: str
    rule: str | None = None
    would_deny: bool = False


class Recorded(Struct, frozen=True):
    """One line of the audit, as far as it is of use here. What is nested stays JSON, so that equal ones are found."""

    time: str
    type: str
    decision_id: str | None = None
    revision: str | None = None
    decision: str | None = None
    reason: str | None = None
    rule: str | None = None
    service: str | None = None
    mode: str | None = None
    would_deny: bool | None = None
    workload: str | None = None
    user: RecordedUser | None = None
    method: str | None = None
    host: str | None = None
    path: str | None = None
    client_ip: str | None = None
    request_id: str | None = None
    inputs: msgspec.Raw = msgspec.Raw(b"null")
    via: str | None = None
    workload_by: str | None = None
    actor: str | None = None
    dropped: int | None = None
    calls: int | None = None
    absent: msgspec.Raw = msgspec.Raw(b"null")
    traits: msgspec.Raw = msgspec.Raw(b"null")
    policies: str | None = None
    """`candidate` where a roll-out let the candidate decide."""
    compared: RecordedComparison | None = None

    def sameness(self) -> tuple[object, ...]:
        """Equal for records that say the same but for time and request; what comes of them differs by these alone."""
        who = (self.workload, self.user, self.via, self.workload_by, self.actor, self.client_ip, self.method)
        what = (self.host, self.path, bytes(self.inputs), bytes(self.absent), bytes(self.traits), self.calls)
        return (*who, *what, self.type, self.decision, self.reason, self.rule, self.service, self.mode, self.would_deny)


_decoder = msgspec.json.Decoder(Recorded)


def read_record(line: bytes) -> Recorded:
    """A line of the audit. Raises Undecidable (`unreadable`)."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Undecidable("unreadable") from None


class Facts:
    """What the rules may ask of the request of one record. Raises Undecidable for a record that tells too little."""

    def __init__(self, record: Recorded) -> None:
        if record.type != "decision":
            raise Undecidable("gap" if record.type == "gap" else "unreadable")
        if (record.calls or 1) != 1:
            raise Undecidable("shed")
        if record.reason not in ASKED or record.method is None or record.host is None or record.path is None:
            raise Undecidable("denied_before_rules")
        if record.mode == "audit" and record.decision == "deny" and record.user is None:
            # A guardrail denies here whether there was no credential or a bad one.
            raise Undecidable("user_not_known")
        traits = _json(bytes(record.traits))
        if not isinstance(traits, dict):
            raise Undecidable("older_record")
        if traits.get("cut"):
            raise Undecidable("path_cut")
        user = record.user
        texts = (record.method, record.host, record.path, record.workload, record.client_ip, record.actor, record.via)
        if not all(map(_is_whole, (*texts, user and user.issuer, user and user.subject, traits))):
            raise Undecidable("cut")
        self.record = record
        self.method: str = record.method
        self.host: str = record.host
        self.path: str = record.path
        self.traits: Mapping[str, Any] = traits
        self._inputs: Mapping[str, Any] = _json(bytes(record.inputs)) or {}
        self._absent: frozenset[str] = frozenset(_json(bytes(record.absent)) or ())

    def has(self, name: str) -> bool:
        """Whether an input is on record, whole, by the name under which rules read it."""
        return name in self._inputs and _is_whole(self._inputs[name])

    def value(self, *names: str) -> Any:  # noqa: ANN401 - any value of JSON
        """The value of an input that has any of these names; raises KeyError where the request had none.

        Raises NotRecorded.
        """
        for name in names:
            if name in self._absent:
                raise KeyError(name)
            if self.has(name):
                return self._inputs[name]
        raise NotRecorded(names[0])

    def present(self, name: str) -> Any:  # noqa: ANN401 - any value of JSON
        """The same of what every request has, or whose absence does not tell enough. Raises NotRecorded."""
        try:
            return self.value(name)
        except KeyError:
            raise NotRecorded(name) from None


@lru_cache(maxsize=4096)
def _json(raw: bytes) -> Any:  # noqa: ANN401 - any value of JSON
    return msgspec.json.decode(raw)


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return is_whole(value)
    if isinstance(value, Mapping):
        return all(map(_is_whole, value)) and all(map(_is_whole, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_whole, value))
    return True
