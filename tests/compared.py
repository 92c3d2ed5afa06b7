"""Records of decisions about which other policies say something else, for tests."""

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from authz_server.policy.plan import Plan
from tests.builders import plan_of

IN_FORCE = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: readers
        effect: allow
        from: [{users: {issuer: corp, scopes: [read]}}]
        to: [{methods: [GET], paths: ["/orders/{order_id}"]}]
"""
CANDIDATE = "c" * 32
REFUSED = {"decision": "deny", "reason": "no_rule_allows", "rule": None, "would_deny": False}
ALLOWED = {"decision": "allow", "reason": "allowed", "rule": "orders/readers", "would_deny": False}
RECORD: dict[str, Any] = {
    "time": "2026-03-02T10:00:00.000000Z",
    "type": "decision",
    "decision_id": "019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d",
    **ALLOWED,
    "service": "orders",
    "mode": "enforce",
    "user": {"issuer": "corp", "subject": "ann"},
    "method": "GET",
    "host": "orders.shop.example",
    "path": "/orders/7",
    "inputs": {"user.scopes": ["read"]},
    "calls": 1,
    "absent": None,
    "traits": {},
    "policies": None,
}


def in_force(directory: Path, more: str = "") -> Plan:
    """The policies in force."""
    return plan_of(directory, orders=IN_FORCE + more)


def candidate_of(plan: Plan, revision: str = CANDIDATE) -> Plan:
    """The same as another revision."""
    return replace(plan, revision=revision)


def compared(revision: str, candidate: str = CANDIDATE, said: dict[str, Any] | None = None, **changes: object) -> bytes:
    """A line in which the policies in force have decided, and the candidate says something else."""
    other = {"revision": candidate, **(REFUSED if said is None else said)}
    return line(revision=revision, compared=other, **changes)


def line(**changes: object) -> bytes:
    """The record with these changes, as the server writes it."""
    return json.dumps(RECORD | changes, separators=(",", ":")).encode()
