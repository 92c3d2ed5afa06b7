"""Differences of two policies, for terminals, pull requests and machines."""

import msgspec

from authz_server.analysis.difference import Comparison, Flip
from authz_server.analysis.judge import Probe
from authz_server.analysis.rows import Row, in_words

ARROWS = {"opened": "DENY → ALLOW", "closed": "ALLOW → DENY", "answered": "another answer"}
NO_DIFFERENCE = "no request is decided differently"


def as_table(found: Comparison, rows: list[Row]) -> str:
    """A block of lines for each row."""
    return "\n\n".join([*map(_block, rows), _summary(found, rows)])


def _block(row: Row) -> str:
    flip = row.flip
    facts = {
        "before": in_words(flip.old),
        "after": in_words(flip.new),
        "example": example(flip) if not flip.supposed else "none found: it depends on the conditions",
        "rests on": " and ".join(flip.conditions) or None,
    }
    mark = "possible: " if flip.supposed else ""
    head = f"{mark}{ARROWS[row.change]}  {row.operation}\n  {row.caller}"
    return "\n".join([head, *(f"    {name:<8} {value}" for name, value in facts.items() if value is not None)])


def as_markdown(found: Comparison, rows: list[Row]) -> str:
    """A table for a pull request."""
    lines = ["### What the policies decide differently", ""]
    if rows:
        lines += ["| | caller | operation | before | after | example |", "|---|---|---|---|---|---|"]
    for row in rows:
        flip = row.flip
        shown = (
            f"possible, depends on {' and '.join(map(_code, flip.conditions))}"
            if flip.supposed
            else _code(example(flip))
        )
        cells = [
            f"**{ARROWS[row.change]}**",
            _code(row.caller),
            _code(row.operation),
            _code(in_words(flip.old)),
            _code(in_words(flip.new)),
            shown,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [""] if rows else []
    return "\n".join([*lines, _summary(found, rows)])


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("`", "'").replace("\n", " ") + "`"


def _summary(found: Comparison, rows: list[Row]) -> str:
    proven = [row for row in rows if not row.flip.supposed]
    counts = [f"{len([row for row in proven if row.change == change])} {change}" for change in ARROWS]
    said = f"{', '.join(counts)}, {len(rows) - len(proven)} possible" if rows else NO_DIFFERENCE
    lines = [said + (", as far as was compared" if found.cut else "")]
    return "\n".join([*lines, *(f"  not compared: {reason}" for reason in found.cut)])


def example(flip: Flip) -> str:
    """A request that is decided differently, in a line."""
    probe = flip.probe
    action, given = probe.action, probe.circumstances
    query = "&".join(f"{name}={value}" for name, value in given.query.items())
    parts = [f"{action.method} https://{action.host}{action.target}{f'?{query}' if query else ''}"]
    parts += [f"{name}: {value}" for name, value in given.headers.items()]
    parts += [f"upgrade: {action.upgrade}"] if action.upgrade else []
    parts += [f"body {msgspec.json.encode(given.body).decode()}"] if given.body is not None else []
    parts += [f"metadata {msgspec.json.encode(given.metadata).decode()}"] if given.metadata else []
    parts += [f"workload {probe.who.workload}"] if probe.who.workload else []
    parts += [f"user {msgspec.json.encode(_user(probe)).decode()}"] if probe.who.user else []
    parts += [f"client {probe.who.address}"] if probe.who.address else []
    return " · ".join(parts)


def _user(probe: Probe) -> dict[str, object] | None:
    user = probe.who.user
    if user is None:
        return None
    facts: dict[str, object] = {
        "issuer": user.issuer,
        "subject": user.subject,
        "scopes": sorted(user.scopes),
        "roles": sorted(user.roles),
        "groups": sorted(user.groups),
        "claims": user.claims,
        "bound": user.bound,
        "actor": None if user.actor is None else user.actor.subject,
    }
    return {name: value for name, value in facts.items() if value}


def as_json(found: Comparison, rows: list[Row]) -> bytes:
    """Everything, for machines."""
    return msgspec.json.encode(
        {
            "complete": not found.cut,
            "not_compared": list(found.cut),
            "differences": [
                {
                    "change": row.change,
                    "possible": row.flip.supposed,
                    "caller": row.caller,
                    "operation": row.operation,
                    "before": _outcome(row, "old"),
                    "after": _outcome(row, "new"),
                    "conditions": row.flip.conditions,
                    "example": None if row.flip.supposed else _request(row.flip.probe),
                }
                for row in rows
            ],
        }
    )


def _outcome(row: Row, side: str) -> dict[str, object]:
    outcome = row.flip.old if side == "old" else row.flip.new
    return {
        "decision": "allow" if outcome.allowed else "deny",
        "reason": outcome.reason,
        "rule": outcome.rule,
        "service": outcome.service,
        "status": outcome.status,
    }


def _request(probe: Probe) -> dict[str, object]:
    action, given = probe.action, probe.circumstances
    facts: dict[str, object] = {
        "method": action.method,
        "host": action.host,
        "path": action.target,
        "upgrade": action.upgrade,
        "grpc": action.grpc,
        "port": action.port,
        "workload": probe.who.workload,
        "user": _user(probe),
        "client_ip": probe.who.address,
        "now": given.now,
        "headers": given.headers,
        "query": given.query,
        "body": given.body,
        "metadata": given.metadata,
    }
    return {name: value for name, value in facts.items() if value not in (None, "", False, {})}
