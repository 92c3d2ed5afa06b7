"""The cases of `kind: tests` documents, each with a request that the engine can be asked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2
from msgspec import Struct

from authz_server.documents.problem import Position
from authz_server.documents.tree import Document, FieldPath
from authz_server.errors import Refused
from authz_server.identity.actor import actor_of
from authz_server.model import Request, User
from authz_server.policy.compiler.expectations import Defined, default_host, defined_by
from authz_server.policy.judging import SERVICE_EXTENSION
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.testcases import ANONYMOUS, Case, CaseRequest, CaseUser, Expectation, Matrix, PolicyTests
from authz_server.request.body import SENT_EXTENSION

_AN_HOUR_S = 3600.0


class BoundCase(Struct, frozen=True):
    """One request at one time, and what is expected of the decision about it."""

    name: str
    document: Document
    path: FieldPath
    """Where it stands in the document."""
    request: Request
    user: User | Refused | None
    """Refused where the claims cannot be those of a good token."""
    now: float
    """Seconds since the epoch."""
    expected: Expectation

    @property
    def position(self) -> Position:
        """Where to look when it fails."""
        return self.document.position(self.path, key=self.at_key)

    @property
    def at_key(self) -> bool:
        """Whether it is the name of a field that `path` leads to."""
        return self.path[-2:-1] == ("requests",)

    @property
    def full_name(self) -> str:
        """The name with the file in front."""
        return f"{self.document.file}: {self.name}"


def cases_of(files: Sequence[ParsedFile], now: float) -> Iterator[BoundCase]:
    """All cases by file, in the order in which they stand there; `now` is the time of those that state none."""
    defined = defined_by(files)
    for parsed in sorted(files, key=lambda parsed: parsed.file.path):
        if isinstance(parsed.model, PolicyTests):
            yield from _File(parsed, parsed.model, now, defined).cases()


class _File:
    """One document of tests, its users made ready once."""

    def __init__(self, parsed: ParsedFile, tests: PolicyTests, now: float, defined: Defined) -> None:
        self._document = parsed.document
        self._tests = tests
        self._now = now if tests.now is None else datetime.fromisoformat(tests.now).timestamp()
        self._users = {name: _user(user, self._now) for name, user in tests.users.items()}
        self._default_host = default_host(parsed.file.folders, defined)

    def cases(self) -> Iterator[BoundCase]:
        """Single cases before the matrix."""
        for index, case in enumerate(self._tests.tests):
            yield self._single(index, case)
        if self._tests.matrix is not None:
            yield from self._combinations(self._tests.matrix)

    def _single(self, index: int, case: Case) -> BoundCase:
        asked = case.request
        workload = "" if asked.workload is None else self._tests.workloads[asked.workload]
        user = None if asked.user is None else self._users[asked.user]
        place = ("tests", index, "name")
        return BoundCase(case.name, self._document, place, _request(asked, workload), user, self._now, case.expect)

    def _combinations(self, matrix: Matrix) -> Iterator[BoundCase]:
        host = matrix.host or self._default_host or ""
        expected = {decision: Expectation(decision=decision) for decision in ("allow", "deny")}
        for caller in matrix.callers:
            workload, user = self._caller(caller)
            allowed = matrix.allow.get(caller, [])
            for name, line in matrix.requests.items():
                method, target = line.split(" ")
                request = _made(method, host, target, workload)
                place: FieldPath = ("matrix", "requests", name)
                if name in allowed:
                    place = ("matrix", "allow", caller, allowed.index(name))
                expectation = expected["allow" if name in allowed else "deny"]
                yield BoundCase(f"{caller}: {name}", self._document, place, request, user, self._now, expectation)

    def _caller(self, name: str) -> tuple[str, User | Refused | None]:
        if name == ANONYMOUS:
            return "", None
        workload, plus, user = name.partition("+")
        if plus:
            return self._tests.workloads[workload], self._users[user]
        return self._tests.workloads.get(name, ""), self._users.get(name)


def _user(user: CaseUser, now: float) -> User | Refused:
    """The user as a token describes one; without `exp` it is good for another hour."""
    claims: dict[str, Any] = {"sub": user.subject, **user.claims}
    expires = claims.get("exp")
    try:
        actor = actor_of(claims, user.issuer)
    except Refused as refusal:
        return refusal
    return User(
        issuer=user.issuer,
        subject=user.subject,
        scopes=frozenset(user.scopes),
        roles=frozenset(user.roles),
        groups=frozenset(user.groups),
        claims=claims,
        expires=float(expires) if isinstance(expires, int | float) else now + _AN_HOUR_S,
        bound="cnf" in claims,
        actor=actor,
    )


def _request(asked: CaseRequest, workload: str) -> Request:
    return _made(
        asked.method,
        asked.host,
        asked.path,
        workload,
        headers=_headers(asked.headers),
        body=_body(asked.body),
        client_ip=asked.client_ip or "",
        port=asked.port,
        metadata=asked.metadata,
        service=asked.service,
    )


def _made(
    method: str,
    host: str,
    target: str,
    workload: str,
    *,
    headers: tuple[tuple[str, bytes], ...] = (),
    body: bytes = b"",
    client_ip: str = "",
    port: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    service: str | None = None,
) -> Request:
    if body and not any(name == "content-type" for name, _ in headers):
        headers = (*headers, ("content-type", b"application/json"))
    # There is nothing more of the body than what the case says.
    extensions = {SENT_EXTENSION: str(len(body) + 1)}
    return Request(
        method=method,
        target=target,
        host=host,
        headers=headers,
        protocol="HTTP/1.1",
        client_address=client_ip,
        destination_port=port,
        principal=workload,
        extensions=extensions if service is None else {**extensions, SERVICE_EXTENSION: service},
        body=body,
        metadata={namespace: _written(value) for namespace, value in (metadata or {}).items()},
    )


def _written(value: Mapping[str, Any]) -> struct_pb2.Struct:
    written = struct_pb2.Struct()
    written.update(value)
    return written


def _headers(headers: Mapping[str, str | list[str]]) -> tuple[tuple[str, bytes], ...]:
    pairs = [(name.lower(), [value] if isinstance(value, str) else value) for name, value in headers.items()]
    return tuple((name, value.encode()) for name, values in pairs for value in values)


def _body(value: object) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
