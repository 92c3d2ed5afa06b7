"""One record in which two policies say different things, explained by both."""

from collections.abc import Sequence
from typing import Any

import msgspec

from authz_server.audit.record import Record
from authz_server.cli.account import NEAREST, Account, account_of
from authz_server.policy.plan import Plan
from authz_server.replay.explaining import told_of
from authz_server.replay.recorded import read_record

SIDES = ("in force", "candidate")
_SAID = ("revision", "decision", "reason", "rule", "would_deny")


def both_sides(
    line: bytes, plans: tuple[Plan | None, Plan | None], identity_headers: Sequence[str]
) -> tuple[Account | None, Account | None]:
    """What came of the rules in force, and of the candidate's; None where the policies are not known."""
    decided = msgspec.json.decode(line, type=dict[str, Any])
    other = {**decided, **{name: decided["compared"].get(name) for name in _SAID}}
    in_force, candidate = (other, decided) if decided.get("policies") == "candidate" else (decided, other)
    return _account(in_force, plans[0], identity_headers), _account(candidate, plans[1], identity_headers)


def _account(fields: dict[str, Any], plan: Plan | None, identity_headers: Sequence[str]) -> Account | None:
    if plan is None:
        return None
    told = told_of(read_record(msgspec.json.encode(fields)), plan, identity_headers, NEAREST)
    return account_of(dict.fromkeys(Record.__struct_fields__) | fields, told.found)
