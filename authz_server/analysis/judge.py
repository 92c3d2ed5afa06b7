"""Requests that nobody has sent, decided by the engine that serves."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from google.protobuf.struct_pb2 import Struct as Metadata
from msgspec import Struct

from authz_server.errors import AUDITABLE, OUTCOMES, Reason
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Answer, Request, User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.index import PolicyIndex
from authz_server.policy.plan import Plan
from authz_server.policy.rehearse import Rehearsed, rehearse
from authz_server.request.body import SENT_EXTENSION
from authz_server.request.operation import Operation, canonical_operation

_UNRESERVED = "-._~!$&'()*+,=:@"


class Action(Struct, frozen=True):
    """What a request asks for: where it goes, and how."""

    method: str = "GET"
    host: str = ""
    """Perhaps with a port."""
    segments: tuple[str, ...] = ()
    trailing_slash: bool = True
    upgrade: str = ""
    grpc: bool = False
    port: int | None = None
    """Of the address that the request was sent to."""

    @property
    def target(self) -> str:
        """The path as a client sends it; CONNECT may have none."""
        path = "".join(f"/{quote(segment, safe=_UNRESERVED)}" for segment in self.segments)
        return f"{path}/" if self.trailing_slash else path


class Who(Struct, frozen=True):
    """Who makes a request; None is nobody that is known."""

    workload: str | None = None
    user: User | None = None
    address: str = ""

    @property
    def weight(self) -> int:
        """How much the caller has."""
        user = self.user
        had = 0 if user is None else 1 + len(user.scopes) + len(user.roles) + len(user.groups) + len(user.claims)
        return had + (self.workload is not None) + (self.address != "")

    def has_all_of(self, other: "Who") -> bool:
        """Whether the caller is the other one, but for having more."""
        mine, theirs = self.user, other.user
        return (
            other.workload in (None, self.workload)
            and other.address in ("", self.address)
            and (theirs is None or (mine is not None and _has_all_of(mine, theirs)))
        )


def _has_all_of(user: User, other: User) -> bool:
    return (
        (user.issuer, user.subject, user.actor) == (other.issuer, other.subject, other.actor)
        and other.scopes <= user.scopes
        and other.roles <= user.roles
        and other.groups <= user.groups
    )


class Circumstances(Struct, frozen=True):
    """Everything else that rules may ask about."""

    now: float = 0.0
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    body: Any = None
    """The value of a JSON body; None where there is no body."""
    body_came: bool = True
    metadata: Mapping[str, Mapping[str, Any]] = {}


class Probe(Struct, frozen=True):
    """A request, in full."""

    action: Action
    who: Who
    circumstances: Circumstances


class Outcome(Struct, frozen=True):
    """What is decided: `answer` is what the upstream or the client gets, `rule` and `service` say why."""

    allowed: bool
    reason: Reason
    rule: str | None
    service: str | None
    answer: Answer

    def differs(self, other: "Outcome") -> bool:
        """Whether somebody outside would notice: the names of rules and services are our own affair."""
        return (self.allowed, self.status, self.answer) != (other.allowed, other.status, other.answer)

    @property
    def status(self) -> int | None:
        """The HTTP status of a denial."""
        return None if self.allowed else self.answer.status or OUTCOMES[self.reason].http_status


class Judge:
    """One plan, asked any number of requests."""

    def __init__(self, plan: Plan, runtime: ConditionRuntime | None = None) -> None:
        # That all answers remove what some rule sets says nothing about a single request.
        services = tuple([msgspec.structs.replace(service, set_headers=()) for service in plan.services])
        self.plan = plan
        self.index = PolicyIndex(msgspec.structs.replace(plan, services=services), runtime or ConditionRuntime(), ())

    def outcome(self, probe: Probe) -> Outcome:
        """What is decided about a request whose path has one reading."""
        operation, request = operation_of(probe)
        service = self.index.service(operation, None)
        if service is None:
            return Outcome(False, Reason.NO_SERVICE, None, None, Answer())
        who = probe.who
        workload = None if who.workload is None else Workload(parse_spiffe_id(who.workload), None)
        caller = Caller(workload, who.user, operation.client_ip)
        evaluation = Evaluation(operation, workload, who.user, probe.circumstances.now, request)
        verdict = decide(service, operation, caller, evaluation, who.user is not None)
        done = rehearse(service, verdict, caller, [evaluation]) if service.audits else None
        return _outcome(verdict if done is None else done.verdict, service.name, done is not None and _passes(done))


def _passes(done: Rehearsed) -> bool:
    return done.would_deny and done.mode == "audit" and done.verdict.reason in AUDITABLE


def _outcome(verdict: Verdict, service: str, unenforced: bool) -> Outcome:
    allowed = verdict.reason is Reason.ALLOWED or unenforced
    return Outcome(allowed, verdict.reason, verdict.rule, service, verdict.answer)


def operation_of(probe: Probe) -> tuple[Operation, Request]:
    """The request as the engine gets it. Raises Refused, which no probe should."""
    action, given = probe.action, probe.circumstances
    headers = dict(given.headers)
    if action.upgrade:
        headers |= {"upgrade": action.upgrade, "connection": "upgrade"}
    body = b"" if given.body is None else json.dumps(given.body).encode()
    if action.grpc:
        headers["content-type"] = "application/grpc"
    elif body:
        headers["content-type"] = "application/json"
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in given.query.items())
    request = Request(
        method=action.method,
        target=f"{action.target}?{query}" if query else action.target,
        host=action.host,
        headers=tuple([(name, value.encode()) for name, value in headers.items()]),
        protocol="HTTP/2",
        client_address=probe.who.address,
        destination_port=action.port,
        principal=probe.who.workload or "",
        body=body,
        extensions={SENT_EXTENSION: str(len(body) + 1)} if given.body_came else {},
        metadata={name: _metadata(members) for name, members in given.metadata.items()},
    )
    return canonical_operation(request), request


def _metadata(members: Mapping[str, Any]) -> Metadata:
    written = Metadata()
    written.update(members)
    return written
