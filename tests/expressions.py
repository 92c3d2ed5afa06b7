"""Expressions evaluated for requests, for tests."""

from collections.abc import Mapping

import msgspec

from authz_server.model import Certificate, Request, SpiffeId, User, Workload
from authz_server.policy.conditions import (
    ConditionCompiler,
    ConditionError,
    ConditionRuntime,
    Evaluation,
    EvaluationError,
)
from authz_server.request.operation import canonical_operation

NOW = 1_772_442_000.0
"""2026-03-02T09:00:00Z, a Monday."""

REQUEST = Request(
    method="GET",
    target="/orders/c7-1?page=2&page=3",
    host="Orders.Shop.Example:443",
    headers=(("x-team", b"blue"), ("x-tags", b"a, b"), ("x-twice", b"1"), ("x-twice", b"2"), ("x-latin", b"\xe9")),
    protocol="HTTP/2",
    id="r-1",
    client_address="::ffff:10.1.2.3",
    destination_address="10.9.9.9",
    destination_port=8443,
)
WEB = Workload(
    SpiffeId("spiffe://shop.example/ns/front/sa/web", "shop.example", ("ns", "front", "sa", "web")),
    Certificate("0a", "ff" * 32, NOW - 60, NOW + 3600),
)
ANN = User(
    issuer="corp",
    subject="ann",
    scopes=frozenset({"orders:write", "orders:read"}),
    roles=frozenset({"buyer"}),
    groups=frozenset({"emea", "apac"}),
    claims={"customer": "c7", "level": 3, "address": {"city": "Bern"}, "tags": ["a", "b"], "nothing": None},
    expires=NOW + 300,
)
CAPTURES = {"order_id": "c7-1"}

_compiler = ConditionCompiler()


def evaluation(request: Request = REQUEST, workload: Workload | None = WEB, user: User | None = ANN) -> Evaluation:
    """A request ready for conditions."""
    return Evaluation(canonical_operation(request), workload, user, NOW)


def request(**changes: object) -> Request:
    """The usual request with changes."""
    return msgspec.structs.replace(REQUEST, **changes)


def with_claims(**claims: object) -> User:
    """The usual user with other claims."""
    return msgspec.structs.replace(ANN, claims=claims)


def holds(
    source: str, asked: Evaluation | None = None, captures: Mapping[str, str] = CAPTURES
) -> bool | EvaluationError:
    """Whether a condition holds, or why that cannot be known."""
    program = ConditionRuntime().load(_compiler.condition(source, frozenset(captures)))
    try:
        return program.holds(asked or evaluation(), captures)
    except EvaluationError as error:
        return error


def failure(source: str, asked: Evaluation | None = None, captures: Mapping[str, str] = CAPTURES) -> str:
    """Why a condition cannot be evaluated."""
    outcome = holds(source, asked, captures)
    assert isinstance(outcome, EvaluationError), outcome
    return str(outcome)


def refusal(source: str, captures: frozenset[str] = frozenset(CAPTURES)) -> ConditionError:
    """Why a condition is refused when it is loaded."""
    try:
        expression = _compiler.condition(source, captures)
    except ConditionError as error:
        return error
    raise AssertionError(f"accepted, and reads {expression.reads}")


def underlined(source: str, error: ConditionError) -> str:
    """The part of the expression that an error points at."""
    line = source.split("\n")[error.line - 1]
    return line[error.column - 1 : error.column - 1 + error.length]
