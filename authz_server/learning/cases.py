"""Tests of learned rules: who was seen to do something may, and nobody and nothing else."""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.learning.asked import Caller
from authz_server.learning.grants import Grant
from authz_server.learning.names import unused
from authz_server.learning.permitted import Permitted, Tried
from authz_server.learning.rules import LearnedRule, name_of

Fields = dict[str, Any]

MAX_DENIALS = 2_000
"""Tests of what must be denied; what is seen to be done has one in any case."""
_METHODS = ("DELETE", "PUT", "POST", "PATCH", "GET", "HEAD", "OPTIONS")
_NOBODY = "not-on-record"
_SOMEBODY = "somebody"
_ANYBODY = Caller(None, None, None)


class Cases:
    """Collects the tests of one service."""

    def __init__(self, rules: Sequence[LearnedRule], hosts: Sequence[str]) -> None:
        self._rules = rules
        self._hosts = hosts
        self._permitted = Permitted(grant for rule in rules for grant in rule.grants)
        self._workloads: dict[str, str] = {}
        self._users: dict[tuple[str, str, str | None], str] = {}
        self._tests: dict[Tried, Fields] = {}

    def document(self) -> Fields:
        """A document of kind `tests`."""
        for rule in self._rules:
            for name, tried in _allowed(rule):
                self._add(f"{name_of(tried.caller)} may {name}", tried, "allow")
        denied = 0
        for rule in self._rules:
            for name, tried in _denied(rule, self._hosts):
                if denied < MAX_DENIALS and tried not in self._tests and tried not in self._permitted:
                    denied += 1
                    self._add(name, tried, "deny")
        workloads = {name: identity for identity, name in self._workloads.items()}
        users = {name: _user(*who) for who, name in self._users.items()}
        tables: Fields = {"workloads": workloads} if workloads else {}
        tables |= {"users": users} if users else {}
        return {"kind": "tests"} | tables | {"tests": list(self._tests.values())}

    def _add(self, name: str, tried: Tried, decision: str) -> None:
        caller, who = tried.caller, {}
        if caller.workload is not None:
            who["from"] = self._workload(caller.workload)
        if caller.issuer is not None:
            who["as"] = self._user(caller.issuer, tried.subject or _SOMEBODY, caller.actor)
        headers = {"content-type": "application/grpc"} if tried.is_grpc else {}
        headers |= {"upgrade": tried.upgrade} if tried.upgrade else {}
        request: Fields = who | {"method": tried.method, "host": tried.host, "path": tried.path}
        request |= {"headers": headers} if headers else {}
        self._tests.setdefault(tried, {"name": name, "request": request, "expect": {"decision": decision}})

    def _workload(self, identity: str) -> str:
        if identity not in self._workloads:
            name = name_of(replace(_ANYBODY, workload=identity))
            self._workloads[identity] = unused(name, self._workloads.values())
        return self._workloads[identity]

    def _user(self, issuer: str, subject: str, actor: str | None) -> str:
        key = (issuer, subject, actor)
        if key not in self._users:
            name = name_of(replace(_ANYBODY, issuer=issuer)).removeprefix("users-of-")
            self._users[key] = unused(f"{name or 'user'}-user", self._users.values())
        return self._users[key]


def _allowed(rule: LearnedRule) -> Iterator[tuple[str, Tried]]:
    """Each operation by one caller of the rule, and each caller with one operation."""
    first = rule.whos[0]
    for index, grant in enumerate(rule.grants):
        if grant.who == first or grant.operation == rule.operations[0]:
            tried = _tried(grant)
            yield _words(grant), tried
            if index == 0 or grant.operation == rule.operations[0]:
                for subject in sorted(grant.who.subjects or ()):
                    yield _words(grant), replace(tried, subject=subject)


def _denied(rule: LearnedRule, hosts: Sequence[str]) -> Iterator[tuple[str, Tried]]:
    """Requests that differ in one thing from what is allowed; some of them other rules may allow."""
    grants = [grant for grant in rule.grants if grant.who == rule.whos[0]]
    for grant in rule.grants:
        if grant.operation == rule.operations[0]:
            yield from _other_callers(grant)
    for grant in grants:
        tried = _tried(grant)
        who = name_of(tried.caller)
        for host in hosts:
            yield f"{who} may not {_words(grant)} of {host}", replace(tried, host=host)
        if tried.is_grpc:
            yield f"{who} may not {_words(grant)} without gRPC", replace(tried, is_grpc=False)
            path = f"{tried.path.rpartition('/')[0]}/NotOnRecord"
            yield f"{who} may not call another method", replace(tried, path=path)
        yield f"{who} may not {tried.method} what is not on record", replace(tried, path=f"/{_NOBODY}")
        if tried.upgrade:
            yield f"{who} may not {_words(grant)} without an upgrade", replace(tried, upgrade="")
    # A rule for gRPC calls does not ask for the method, which is always POST.
    for grant in [each for each in grants if not each.operation.is_grpc]:
        tried = _tried(grant)
        used = {each.operation.method for each in grants if each.operation.path == grant.operation.path}
        method = next(each for each in (*_METHODS, "PURGE") if each not in used)
        yield f"{name_of(tried.caller)} may not {method} {grant.operation.path}", replace(tried, method=method)


def _other_callers(grant: Grant) -> Iterator[tuple[str, Tried]]:
    tried, what = _tried(grant), _words(grant)
    caller = tried.caller
    yield f"nobody without an identity may {what}", replace(tried, caller=_ANYBODY, subject=None)
    stranger = _stranger(caller.workload)
    yield f"another workload may not {what}", replace(tried, caller=replace(caller, workload=stranger))
    if caller.issuer is not None:
        who = name_of(caller)
        other = replace(caller, issuer=_NOBODY, actor=caller.actor)
        yield f"a user of another issuer may not {what}", replace(tried, caller=other)
        yield (
            f"{who}, without the user, may not {what}",
            replace(tried, caller=replace(caller, issuer=None, actor=None), subject=None),
        )
        yield f"{who}, without the workload, may not {what}", replace(tried, caller=replace(caller, workload=None))
        yield f"{who}, with nobody acting, may not {what}", replace(tried, caller=replace(caller, actor=None))
        if grant.who.subjects is not None:
            yield f"another user may not {what}", replace(tried, subject=_NOBODY)


def _stranger(workload: str | None) -> str:
    domain = "shop.example" if workload is None else parse_spiffe_id(workload).trust_domain
    return f"spiffe://{domain}/{_NOBODY}"


def _tried(grant: Grant) -> Tried:
    """The first request of a grant; whose it was matters where the rule names its users."""
    asked, operation = grant.example, grant.operation
    subject = None
    if asked.caller.issuer is not None:
        subject = _SOMEBODY if grant.who.subjects is None else min(grant.who.subjects)
    return Tried(
        asked.caller, subject, operation.method, operation.host, asked.path_text, operation.is_grpc, operation.upgrade
    )


def _words(grant: Grant) -> str:
    return f"{grant.operation.method} {grant.operation.path}"


def _user(issuer: str, subject: str, actor: str | None) -> Fields:
    claims = {} if actor is None else {"claims": {"act": {"sub": actor}}}
    return {"issuer": issuer, "subject": subject} | claims
