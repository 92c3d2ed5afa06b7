"""Which expressions are evaluated without the engine, and which values are left to it."""

import pytest

from authz_server.policy.conditions import ConditionCompiler
from authz_server.policy.conditions.checked import Parsed
from authz_server.policy.conditions.direct import ForTheEngine, Read, direct

_compiler = ConditionCompiler()


def read(source: str) -> Read | None:
    """What evaluates a condition."""
    return direct(Parsed(_compiler.condition(source, frozenset({"id"})).ast).expr)


@pytest.mark.parametrize(
    "source",
    [
        'path.id.startsWith(user.claims.customer + "-") && path.id != "00199"',
        "path.id == user.subject",
        "user.claims.customer == path.id.split('-')[0]",
        "request.host.lowerAscii() == 'a'",
        "request.method in ['GET', 'HEAD'] || 'orders:write' in user.scopes",
        "request.headers['x-team'] == user.claims.team",
        "'x-team' in request.headers && has(user.claims.address.city)",
        "user.claims.level >= 3 && !(user.claims.level in [7, 9])",
        "workload.within('spiffe://shop.example/ns/*/**') || client.within('10.0.0.0/8')",
        "has_user ? user.claims.customer == path.id : request.path.endsWith('/public')",
        "body.order.amount < 100",
        "size(request.query['page']) == 1 && request.is_grpc",
    ],
)
def test_usual_conditions_need_no_engine(source: str) -> None:
    """Comparisons of texts, numbers and bools, membership, and what joins them."""
    assert read(source) is not None


@pytest.mark.parametrize(
    "source",
    [
        "now < timestamp('2026-01-31T00:00:00Z')",
        "path.id.matches('^c[0-9]+$')",
        "user.scopes.exists(scope, scope.startsWith('orders:'))",
        "user.claims.level + 1 == 4",
        "user.claims.level > 2.5",
        "user.claims.nothing == null",
        "user.scopes[-1] == 'a'",
        "path.id.split('') == ['a']",
        "path.id.split('-', 2)[0] == 'a'",
        "user.scopes == ['a']",
        "user.claims.address[path.id] == 'Bern'",
        "path.id in ['a', user.subject]",
        "user.expires > now",
    ],
)
def test_what_has_any_other_part_is_the_engines(source: str) -> None:
    """Time, regular expressions, macros, arithmetic, whole lists and maps."""
    assert read(source) is None


@pytest.mark.parametrize(
    ("source", "claims"),
    [
        ("user.claims.a == 'x'", {"a": 1}),
        ("user.claims.a == 1", {"a": True}),
        ("user.claims.a == true", {"a": 1}),
        ("user.claims.a > 1", {"a": 2.0}),
        ("user.claims.a < 1", {"a": 2**63}),
        ("user.claims.a == user.claims.b", {"a": 1, "b": 1}),
        ("user.claims.a == user.claims.b", {"a": "1", "b": 1}),
        ("'x' in user.claims.a", {"a": ["x", 1]}),
        ("'x' in user.claims.a", {"a": "xy"}),
        ("user.claims.a.b == 'x'", {"a": ["b"]}),
        ("has(user.claims.a.b)", {"a": "b"}),
        ("size(user.claims.a) == 1", {"a": 7}),
        ("user.claims.a && false", {"a": "true"}),
        ("user.claims.a.lowerAscii() == 'k'", {"a": "\u212a"}),
    ],
)
def test_values_of_other_types_are_the_engines(source: str, claims: dict[str, object]) -> None:
    """To Python a bool is a number, and a text a list."""
    evaluate = read(source)
    assert evaluate is not None
    with pytest.raises(ForTheEngine):
        evaluate({"user.claims": claims})


def test_what_is_missing_is_the_engines() -> None:
    """It knows which error that is, and whether it counts."""
    evaluate = read("user.claims.a == 'x' || has_user")
    assert evaluate is not None
    with pytest.raises(LookupError):
        evaluate({"user.claims": {}, "has_user": True})
    with pytest.raises(LookupError):
        evaluate({"has_user": True})
