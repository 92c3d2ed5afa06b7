"""Audit records for tests, as a service in audit mode makes them."""

import json
from typing import Any

WEB = "spiffe://shop.example/ns/front/sa/web"
_RECORD: dict[str, Any] = {
    "time": "2026-03-02T10:00:00.000000Z",
    "type": "decision",
    "decision_id": "d1",
    "decision": "allow",
    "reason": "no_rule_allows",
    "rule": None,
    "service": "orders",
    "mode": "audit",
    "would_deny": True,
    "workload": WEB,
    "workload_by": "certificate",
    "user": None,
    "method": "GET",
    "host": "orders.shop.example",
    "path": "/orders/7",
    "client_ip": None,
    "inputs": None,
    "calls": 1,
    "absent": None,
    "traits": {},
}


def user(subject: str = "ann", issuer: str = "corp") -> dict[str, str]:
    """A user as records have one."""
    return {"issuer": issuer, "subject": subject}


def record_of(**changes: Any) -> bytes:
    """One line of the audit: web asks a service in audit mode, unless something else is said."""
    return json.dumps(_RECORD | changes).encode() + b"\n"
