"""Records of decisions, and what is counted of them, for tests."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from authz_server.policy.plan import Plan
from authz_server.usage.counted import Counted
from authz_server.usage.counting import Counting
from authz_server.usage.state import State

DAY = 86_400.0
NOW = 1_772_442_000.0
WEB = "spiffe://shop.example/ns/front/sa/web"
BATCH = "spiffe://shop.example/ns/batch/sa/report"
RECORD: dict[str, Any] = {
    "type": "decision",
    "decision": "allow",
    "reason": "allowed",
    "rule": "orders/reads",
    "service": "orders",
    "mode": "enforce",
    "would_deny": False,
    "workload": WEB,
    "user": None,
    "method": "GET",
    "host": "orders.shop.example",
    "path": "/orders/7",
    "inputs": {},
    "calls": 1,
    "absent": None,
    "traits": {},
    "items": [0, 0],
}


def moment(time: float) -> str:
    """A time as records have it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def line(plan: Plan | None = None, time: float = NOW, **fields: Any) -> bytes:  # any field
    """One line of the audit: a decision of these policies."""
    revision = "" if plan is None else plan.revision
    return json.dumps(
        {"time": moment(time), "decision_id": f"d{time}", "revision": revision} | RECORD | fields
    ).encode()


def counting_of(plan: Plan, since: float = NOW - 100 * DAY) -> Counting:
    """Counts for policies that have been in force since then."""
    counting = Counting(State(began=since))
    counting.take_up(plan, since)
    return counting


def counted(plan: Plan, lines: Iterable[bytes], rule: str = "orders/reads") -> Counted:
    """What is counted of a rule."""
    counting = counting_of(plan)
    counting.add(lines)
    return counting.state.rules[rule]
