"""The phases of a check with what each found, as the record of the decision has it; and what to do about a denial."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from authz_server.errors import Reason

Fields = Mapping[str, Any]
"""A record of the audit: name -> value."""

_READING = frozenset(
    {
        Reason.MALFORMED_REQUEST,
        Reason.AMBIGUOUS_PATH,
        Reason.BAD_HOST,
        Reason.BAD_METHOD,
        Reason.HEADER_CONFLICT,
    }
)
_CREDENTIAL = frozenset(
    {
        Reason.TOKEN_INVALID,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_REVOKED,
        Reason.PROOF_INVALID,
        Reason.ISSUER_UNAVAILABLE,
    }
)
_SERVER = frozenset(
    {
        Reason.OVERLOADED,
        Reason.NOT_READY,
        Reason.DEADLINE,
        Reason.AUDIT_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
    }
)
ADVICE: dict[Reason, str] = {
    Reason.MALFORMED_REQUEST: "mend the client, or the proxy before Envoy, that sends this",
    Reason.AMBIGUOUS_PATH: "send the path in its plain form, or let Envoy normalise it; where a service needs such "
    "paths: `paths: lenient`",
    Reason.BAD_HOST: "send a host that is a name, or an IPv6 address in brackets, perhaps with a port",
    Reason.BAD_METHOD: "send a method in upper case",
    Reason.HEADER_CONFLICT: "leave that header out; `headers_with_underscores_action: REJECT_REQUEST` in Envoy",
    Reason.BODY_INCOMPLETE: "let Envoy send the whole body (`authz doctor`), or raise `bodies.max`",
    Reason.TOKEN_INVALID: "send a token that passes this check",
    Reason.TOKEN_EXPIRED: "send a fresh token",
    Reason.TOKEN_REVOKED: "have the user log in again, or take the entry out of the file of revocations",
    Reason.PROOF_INVALID: "make a fresh proof for each request",
    Reason.UNAUTHENTICATED: "send a token",
    Reason.STEP_UP_REQUIRED: "have the user authenticate again, as the rule's `requires` says",
    Reason.ISSUER_UNAVAILABLE: "see in `/readyz` and the log why the issuer cannot be asked",
    Reason.WORKLOAD_REFUSED: "give the caller a valid certificate, of a trust domain that the configuration has",
    Reason.NO_SERVICE: "add the host, or the path, to a service (`hosts`, `path_prefix`), or ask for one that is there",
    Reason.DENIED_BY_RULE: "change the request, or the rule, so that the rule does not fit",
    Reason.DENY_RULE_ERROR: "write the condition so that it can be evaluated for this request, with `has(…)` for what "
    "may be missing; or send what is missing",
    Reason.NO_RULE_ALLOWS: "make one of the allow rules fit",
    Reason.OVERLOADED: "run more workers, or look at what is slow: the issuer, the CPU",
    Reason.NOT_READY: "look at `/readyz`: policies are not there yet, or older than the route demands",
    Reason.DEADLINE: "raise the `timeout` of the filter's `grpc_service`, or run more workers",
    Reason.AUDIT_UNAVAILABLE: "make room for records: see `/readyz`",
    Reason.INTERNAL_ERROR: "look for the decision id in the log, and report it",
}
"""What would make a denial an allowance, for operators; where rules denied, they say more."""


class Phase(Struct, frozen=True):
    """One of them."""

    name: str
    found: str
    failed: bool = False


def phases_of(record: Fields) -> list[Phase]:
    """What each phase found, up to the one that decided."""
    reason = Reason(record["reason"])
    detail = record["detail"] or ""
    if record["method"] is None and reason in _SERVER:
        return [Phase("server", detail or "nobody has read the request", failed=True)]
    found = [Phase("request", _request(record))]
    if reason in _READING and not record["service"]:
        return [Phase("request", f"{_request(record)}: {detail}", failed=True)]
    if reason is Reason.WORKLOAD_REFUSED:
        return [*found, Phase("workload", detail, failed=True)]
    found.append(Phase("workload", _workload(record)))
    if reason in _CREDENTIAL:
        return [*found, Phase("user", detail, failed=True)]
    found.append(Phase("user", _user(record)))
    if reason is Reason.NO_SERVICE or (reason in _READING and record["service"]):
        return [*found, Phase("service", _said(record["service"], detail), failed=True)]
    if record["service"]:
        found.append(Phase("service", record["service"]))
    if reason in _SERVER:
        return [*found, Phase("server", detail or reason, failed=True)]
    return [*found, Phase("rules", _rules(record, reason, detail), failed=reason is not Reason.ALLOWED)]


def _said(what: str | None, detail: str) -> str:
    return f"{what}: {detail}" if what else detail


def _request(record: Fields) -> str:
    return " ".join(record[name] for name in ("method", "host", "path") if record[name])


def _workload(record: Fields) -> str:
    if record["workload"] is None:
        return "none"
    via = f", via {record['via']}" if record["via"] else ""
    return f"{record['workload']}, known by its {record['workload_by']}{via}"


def _user(record: Fields) -> str:
    user = record["user"]
    if user is None:
        return "none"
    actor = f", for whom {record['actor']} acts" if record["actor"] else ""
    return f"{user['subject']} of {user['issuer']}{actor}"


def _rules(record: Fields, reason: Reason, detail: str) -> str:
    said = {
        Reason.ALLOWED: f"{record['rule']} allows",
        Reason.DENIED_BY_RULE: f"{record['rule']} denies",
        Reason.DENY_RULE_ERROR: f"{record['rule']} denies, because it cannot be evaluated",
        Reason.STEP_UP_REQUIRED: f"{record['rule']} would allow a user who has authenticated more strongly",
        Reason.BODY_INCOMPLETE: f"{record['rule']} needs the body, which did not all come",
        Reason.UNAUTHENTICATED: "none allows, and some would fit with a user",
        Reason.NO_RULE_ALLOWS: "none allows",
    }[reason]
    return f"{said}: {detail}" if detail else said
