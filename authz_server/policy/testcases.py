"""Documents of kind `tests`: requests with the decisions that are expected of the policies beside them."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.model import Model
from authz_server.documents.problem import Problem
from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.errors import Reason
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.policy.methods import checked_method
from authz_server.policy.moments import Instant
from authz_server.policy.values import ClaimName, HeaderName, Method, Name, Port, Text

ANONYMOUS = "anonymous"

_REQUEST_LINE = re.compile(r"(\S+) (/\S*)")
_REASONS = tuple(reason.value for reason in Reason)


def _spiffe_id(text: str) -> str:
    try:
        parse_spiffe_id(text)
    except InvalidSpiffeId as error:
        raise InvalidValue(str(error), hint="for example `spiffe://shop.example/ns/front/sa/web`") from error
    return text


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError as error:
        raise InvalidValue(f"{quoted(text)} is no IP address", hint="for example `203.0.113.7`") from error
    return text


def _request_line(text: str) -> str:
    if (line := _REQUEST_LINE.fullmatch(text)) is None:
        raise InvalidValue(f"{quoted(text)} is no method and path", hint="for example `GET /orders`")
    checked_method(line[1])
    return text


def _reason(text: str) -> str:
    if text not in _REASONS:
        hint = did_you_mean(text, _REASONS, f"reasons are {listing(_REASONS)}")
        raise InvalidValue(f"unknown reason {quoted(text)}", hint=hint)
    return text


class CaseUser(Model):
    """A user as a verified token would describe one."""

    noun: ClassVar[str] = "a user"

    issuer: Text = Field(examples=["corp"])
    """Who issued the token, by the name that the configuration gives it."""
    subject: Text = Field(examples=["ann"])
    """Who this is to the issuer (`sub`)."""
    scopes: list[Text] = Field(default_factory=list, examples=[["orders:read"]])
    """What the token may be used for."""
    roles: list[Text] = Field(default_factory=list, examples=[["support"]])
    """As the token names them."""
    groups: list[Text] = Field(default_factory=list, examples=[["support"]])
    """As the token names them."""
    claims: dict[ClaimName, Any] = Field(default_factory=dict, examples=[{"customer": "c7"}])
    """All other claims of the token, by name."""


class CaseRequest(Model):
    """A request and its caller; without `from` and `as` the caller is anonymous."""

    noun: ClassVar[str] = "a request"

    workload: Text | None = Field(default=None, alias="from", examples=["web"])
    """One of `workloads`."""
    user: Text | None = Field(default=None, alias="as", examples=["ann"])
    """One of `users`."""
    method: Method = Field(examples=["GET"])
    """Upper case."""
    host: Text = Field(examples=["orders.shop.example"])
    """To whom it is sent, perhaps with a port."""
    path: Text = Field(examples=["/orders"])
    """Path and query as sent."""
    headers: dict[Text, str | list[str]] = Field(default_factory=dict, examples=[{"x-team": "blue"}])
    """Values by name; a list is a header that comes several times."""
    client_ip: Annotated[str, AfterValidator(_address)] | None = Field(default=None, examples=["203.0.113.7"])
    """The client's address; without it that is not known."""
    port: Port | None = Field(default=None, examples=[8443])
    """Of the address that the request was sent to."""
    body: Any = Field(default=None, examples=[{"amount": 7}])
    """What a JSON body says; a text is sent as it stands."""
    metadata: dict[Text, dict[str, Any]] = Field(
        default_factory=dict, examples=[{"envoy.filters.http.jwt_authn": {"tenant": "blue"}}]
    )
    """What other filters of Envoy have written, by namespace."""
    service: Text | None = Field(default=None, examples=["shop/orders"])
    """The service that the route names, by its full name."""


class Expectation(Model):
    """What the decision must be; what is not given may be anything."""

    noun: ClassVar[str] = "`expect`"

    decision: Literal["allow", "deny"] = Field(examples=["allow"])
    """What becomes of the request."""
    would_deny: bool | None = Field(default=None, examples=[True])
    """Whether this is a denial that is not enforced, because the service or the rule is in audit."""
    reason: (
        Annotated[str, AfterValidator(_reason), WithJsonSchema({"type": "string", "enum": list(_REASONS)})] | None
    ) = Field(default=None, examples=["no_rule_allows"])
    """Why it is denied, by its code."""
    rule: Text | None = Field(default=None, examples=["customers-read-their-orders"])
    """The rule that decides, by its id or full id."""
    status: int | None = Field(default=None, ge=400, le=599, examples=[404])
    """The HTTP status of the denial."""
    set_headers: dict[HeaderName, str] = Field(default_factory=dict, examples=[{"x-user": "ann"}])
    """Request headers that the upstream gets from the rule, by name."""


class Case(Model):
    """One request and what is expected."""

    noun: ClassVar[str] = "a test"

    name: Text = Field(examples=["a customer reads an order of hers"])
    """What it shows, in words."""
    request: CaseRequest
    """What is asked, and by whom."""
    expect: Expectation
    """What must come of it."""


class Matrix(Model):
    """Every caller with every request; what `allow` does not list must be denied."""

    noun: ClassVar[str] = "`matrix`"

    host: Text | None = Field(default=None, examples=["orders.shop.example"])
    """Of all requests; without it the only host of the only service of the folder."""
    callers: Annotated[list[Text], Field(min_length=1)] = Field(examples=[["web", "web+ann", ANONYMOUS]])
    """Names of `workloads` and `users`, joined by `+` for both, and `anonymous`."""
    requests: Annotated[dict[Text, Annotated[str, AfterValidator(_request_line)]], Field(min_length=1)] = Field(
        examples=[{"list": "GET /orders"}]
    )
    """Name -> method and path."""
    allow: dict[Text, Annotated[list[Text], Field(min_length=1)]] = Field(
        default_factory=dict, examples=[{"web+ann": ["read"]}]
    )
    """Caller -> names of the requests that are allowed."""


class PolicyTests(Model):
    """Tests of the policies of this folder; the name of the file ends with `_test.yaml`."""

    noun: ClassVar[str] = "a tests document"

    kind: Literal["tests"]
    """What this file holds."""
    now: Instant | None = Field(default=None, examples=["2026-03-02T10:00:00+01:00"])
    """The instant at which the requests are made, with its zone (RFC 3339)."""
    workloads: dict[Name, Annotated[str, AfterValidator(_spiffe_id)]] = Field(
        default_factory=dict, examples=[{"web": "spiffe://shop.example/ns/front/sa/web"}]
    )
    """Name -> SPIFFE ID."""
    users: dict[Name, CaseUser] = Field(default_factory=dict, examples=[{"ann": {"issuer": "corp", "subject": "ann"}}])
    """Name -> what the token says."""
    tests: list[Case] = Field(default_factory=list)
    """Single requests."""
    matrix: Matrix | None = None
    """Every caller with every request."""


def check_tests(tests: PolicyTests, document: Document) -> Iterator[Problem]:
    """Names that stand for nothing, and expectations that contradict themselves."""
    if not tests.tests and tests.matrix is None:
        yield document.problem((), "missing_field", "a tests document needs `tests` or `matrix`")
    for index, case in enumerate(tests.tests):
        place = ("tests", index)
        yield from _known(document, (*place, "request", "from"), case.request.workload, tests.workloads, "workload")
        yield from _known(document, (*place, "request", "as"), case.request.user, tests.users, "user")
        reason = case.expect.reason
        enforced = case.expect.would_deny is not True
        if reason is not None and enforced and (reason == Reason.ALLOWED) != (case.expect.decision == "allow"):
            message = f"the decision {quoted(case.expect.decision)} never has the reason {quoted(reason)}"
            yield document.problem((*place, "expect", "reason"), "invalid_value", message)
        status, headers = case.expect.status, case.expect.set_headers
        if status is not None and case.expect.decision == "allow":
            yield document.problem(
                (*place, "expect", "status"), "contradiction", "only a denial has a status", key=True
            )
        if headers and case.expect.decision == "deny":
            message = "of a denied request the upstream gets nothing"
            yield document.problem((*place, "expect", "set_headers"), "contradiction", message, key=True)
    if tests.matrix is not None:
        yield from _check_matrix(tests, tests.matrix, document)


def _check_matrix(tests: PolicyTests, matrix: Matrix, document: Document) -> Iterator[Problem]:
    known = [ANONYMOUS, *tests.workloads, *tests.users]
    for index, caller in enumerate(matrix.callers):
        workload, plus, user = caller.partition("+")
        place = ("matrix", "callers", index)
        if plus:
            yield from _known(document, place, workload, tests.workloads, "workload")
            yield from _known(document, place, user, tests.users, "user")
        elif caller in tests.workloads and caller in tests.users:
            message = f"{quoted(caller)} is a workload and a user"
            yield document.problem(place, "contradiction", message, "give one of them another name")
        else:
            yield from _known(document, place, caller, known, "caller")
    for caller, requests in matrix.allow.items():
        yield from _known(document, ("matrix", "allow", caller), caller, matrix.callers, "caller", key=True)
        for index, request in enumerate(requests):
            yield from _known(document, ("matrix", "allow", caller, index), request, matrix.requests, "request")


def _known(
    document: Document, place: FieldPath, name: str | None, known: Iterable[str], what: str, *, key: bool = False
) -> Iterator[Problem]:
    names = list(known)
    if name is not None and name not in names:
        hint = did_you_mean(name, names, f"known are {listing(names)}" if names else f"this file names no {what}")
        yield document.problem(place, "unknown_name", f"unknown {what} {quoted(name)}", hint, key=key)
