"""What the engine does that nobody expects, and that none of it comes through.

Each test first shows the trap in the engine itself. Where a new version of the engine mends one, the test says so.
"""

import gc
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cel_expr_python import cel
from google.protobuf.struct_pb2 import Struct, Value

from authz_server.policy.conditions import ConditionCompiler, ConditionRuntime, Evaluation, EvaluationError
from authz_server.policy.conditions.environment import evaluating_environment
from authz_server.policy.conditions.evaluation import MAX_ELEMENTS, MAX_TEXT
from tests.expressions import ANN, NOW, WEB, evaluation, failure, holds, refusal, request, with_claims

CLAIMS = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)


def engine(source: str, **variables: tuple[cel.Type, object]) -> cel.Value:
    """The engine's own answer."""
    environment = cel.NewEnv(variables={name: kind for name, (kind, _) in variables.items()})
    activation = environment.Activation({name: value for name, (_, value) in variables.items()})
    return environment.compile(source).eval(activation)


def resident_bytes() -> int:
    """Of this process, now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_an_error_is_a_value_that_is_true() -> None:
    """Only a bool is taken for an answer, only a text that is no error for a text."""
    value = engine("claims.admin == true", claims=(CLAIMS, {}))
    assert value.type() == cel.Type.ERROR
    assert bool(value)
    assert bool(value.value())
    assert failure("user.claims.admin == true", evaluation(user=with_claims())) == "`user.claims.admin` is missing"
    text = ConditionRuntime().load(ConditionCompiler().text("string(user.claims.admin)", frozenset()))
    with pytest.raises(EvaluationError):
        text.text(evaluation(user=with_claims()), {})


def test_texts_are_cut_at_nul() -> None:
    """A claim with NUL never reaches the engine."""
    assert engine("claims.role == 'admin'", claims=(CLAIMS, {"role": "admin\0guest"})).value() is True
    odd = evaluation(user=with_claims(role="admin\0guest"))
    assert failure("user.claims.role == 'admin'", odd) == "`user.claims`: a text holds NUL"


def test_names_are_cut_at_nul() -> None:
    """Nor does a claim whose name has NUL, asked for by name or not."""
    assert engine("claims.role == 'admin'", claims=(CLAIMS, {"role\0": "admin"})).value() is True
    odd = evaluation(user=with_claims(**{"role\0": "admin"}))
    assert failure("user.claims.role == 'admin'", odd) == "`user.claims.role` is missing"
    assert failure("user.claims['role\\u0000'] == 'admin'", odd) == "`user.claims`: a text holds NUL"
    assert failure("user.claims.exists(name, name == 'role')", odd) == "`user.claims`: a text holds NUL"


def test_a_capture_with_nul_never_reaches_the_engine() -> None:
    """Captures are checked like everything else."""
    assert failure("path.order_id == 'a'", captures={"order_id": "a\0b"}) == "`path`: a text holds NUL"


def test_a_lone_surrogate_raises() -> None:
    """It is an evaluation error like any other."""
    with pytest.raises(RuntimeError):
        engine("claims.role == 'admin'", claims=(CLAIMS, {"role": "\ud800"}))
    odd = evaluation(user=with_claims(role="\ud800"))
    assert failure("user.claims.role == 'admin'", odd) == "`user.claims`: a text holds a lone surrogate"


def test_too_many_iterations_raise() -> None:
    """The engine's limit of 9,999 is an evaluation error."""
    groups = [f"g{number}" for number in range(10_001)]
    with pytest.raises(RuntimeError):
        engine("groups.exists(g, g == 'x')", groups=(cel.Type.List(cel.Type.STRING), groups))
    many = evaluation(user=with_claims(groups=groups))
    assert failure("user.claims.groups.exists(g, g == 'x')", many).endswith("elements, too many for a macro")
    assert holds("'g10000' in user.claims.groups", many) is True


def test_map_and_filter_cost_the_square_of_the_list() -> None:
    """A list that a request can make long is refused there."""
    groups = [f"g{number}" for number in range(MAX_ELEMENTS + 1)]
    many = evaluation(user=with_claims(groups=groups, some=groups[:-1]))
    message = f"`user.claims` has more than {MAX_ELEMENTS} elements, too many for a macro"
    assert failure("user.claims.groups.map(g, g) == []", many) == message
    assert failure("user.claims.groups.filter(g, g == 'g1') == ['g1']", many) == message
    assert holds("user.claims.some.filter(g, g == 'g1') == ['g1']", many) is True
    query = evaluation(request(target="/orders/c7-1?" + "&".join(["a=1"] * (MAX_ELEMENTS + 1))))
    assert failure("request.query['a'].map(v, v) == []", query).startswith("`request.query` has more than")
    scoped = msgspec.structs.replace(ANN, scopes=frozenset(groups))
    assert failure("user.scopes.map(s, s) == []", evaluation(user=scoped)).startswith("`user` has more than")


def test_a_long_text_is_not_gone_through_again_and_again() -> None:
    """A request cannot multiply its headers by its path."""
    target = "/orders/" + "a" * MAX_TEXT
    headers = (("x-t", b",".join([b"b"] * MAX_ELEMENTS)),)
    source = "request.header_values['x-t'].exists(t, request.path.contains(t))"
    assert holds(source, evaluation(request(target="/orders/c7-1", headers=headers))) is False
    assert failure(source, evaluation(request(target=target, headers=headers))) == (
        f"`request` has a text of more than {MAX_TEXT} characters, too long for a macro"
    )


def test_a_python_function_leaks_at_each_call() -> None:
    """`within` is answered from a table, so that a million requests cost no memory."""
    pattern = "workload.within('spiffe://shop.example/ns/front/**') && client.within('10.0.0.0/8')"
    program = ConditionRuntime().load(ConditionCompiler().condition(pattern, frozenset()))
    operation = evaluation().operation
    for _ in range(1_000):
        assert program.holds(Evaluation(operation, WEB, ANN, NOW), {})
    before = resident_bytes()
    for _ in range(10_000):
        program.holds(Evaluation(operation, WEB, ANN, NOW), {})
    assert resident_bytes() - before < 1_000_000


def test_times_are_refused_by_an_environment_that_has_compiled_nothing() -> None:
    """Workers load expressions and compile none, and see the time all the same."""
    source = "now.getHours('UTC') == 9"
    variables = {"now": cel.Type.TIMESTAMP}
    serialized = cel.NewEnv(variables=variables).compile(source).serialize()
    fresh = cel.NewEnv(variables=variables)
    value = fresh.deserialize(serialized).eval(fresh.Activation({"now": datetime(2026, 3, 2, 9, tzinfo=UTC)}))
    assert value.type() == cel.Type.ERROR
    assert evaluating_environment().deserialize(serialized)
    assert holds(source) is True


def test_integers_of_messages_become_doubles() -> None:
    """Claims are no protobuf Struct."""
    struct = Struct(fields={"n": Value(number_value=9007199254740993)})
    assert engine("s.n == 9007199254740992", s=(cel.Type("google.protobuf.Struct"), struct)).value() is True
    exact = evaluation(user=with_claims(n=9007199254740993))
    assert holds("user.claims.n == 9007199254740992", exact) is False
    assert holds("user.claims.n == 9007199254740993", exact) is True


def test_an_unknown_time_zone_fails_at_requests() -> None:
    """It is found when policies are loaded."""
    assert engine("timestamp(0).getHours(zone) == 0", zone=(cel.Type.STRING, "Europe/Nowhere")).type() == cel.Type.ERROR
    assert refusal("now.getHours('Europe/Nowhere') == 0").message == "unknown time zone `Europe/Nowhere`"
    assert refusal("now.getHours('') == 0").message == "unknown time zone ``"


def test_a_bad_regular_expression_fails_at_requests() -> None:
    """POL-03: it is found when policies are loaded, and no request can bring one."""
    assert engine("'a'.matches(pattern)", pattern=(cel.Type.STRING, "(")).type() == cel.Type.ERROR
    assert refusal("request.host.matches('(')").message.startswith("not a regular expression")
    assert refusal("request.host.matches(request.path)").message == "a regular expression must be a quoted text"
    assert refusal("request.host.matches(r'(a+)+\\1')").message.startswith("not a regular expression")


def test_expressions_are_serialized_in_random_order() -> None:
    """What workers get is the same bytes for the same policies, and evaluates."""
    environment = evaluating_environment()
    source = "has_user && has_workload && request.method == 'GET' && user.subject != 'a'"
    assert len({environment.compile(source).serialize() for _ in range(10)}) > 1
    assert len({ConditionCompiler().condition(source, frozenset()).ast for _ in range(10)}) == 1
    assert holds(source) is True


def test_an_unset_field_of_a_message_reads_as_empty() -> None:
    """Whatever an expression names is filled in, and a message as a whole cannot be had."""
    for source in (
        "user == user",
        "[user] == []",
        "{'a': user} == {}",
        "dyn(user).subject == ''",
        "type(user) == type(user)",
    ):
        assert refusal(source).message == "`user` is no value by itself"


def test_a_message_cannot_be_made() -> None:
    """Conditions read; there is nothing that they could fill."""
    assert (
        refusal("google.protobuf.Struct{} == google.protobuf.Struct{}").message == "a condition cannot build messages"
    )
