"""What is evaluated without the engine has the engine's value."""

from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st

from authz_server.policy.conditions import ConditionCompiler, ConditionError, EvaluationError
from authz_server.policy.conditions.bindings import bindings
from authz_server.policy.conditions.checked import Parsed
from authz_server.policy.conditions.direct import ForTheEngine, direct
from authz_server.policy.conditions.environment import evaluating_environment
from authz_server.policy.conditions.evaluation import Needs
from authz_server.policy.plan import Expression
from tests.expressions import evaluation, request, with_claims

COMPILER = ConditionCompiler()
ENVIRONMENT = evaluating_environment()
CAPTURES = frozenset({"id"})

quoted = st.sampled_from(["'a'", "'ab'", "''", "'é'", "'B'", "'10'", "'\\U0001f600'"])
numbers = st.sampled_from(["0", "1", "2", "-1", "3", "9223372036854775807"])
anything = st.sampled_from(
    ["user.claims.a", "user.claims.b", "user.claims['a']", "user.claims.a.b", "user.claims.b['a']", "user.claims.c"]
)
texts: st.SearchStrategy[str] = st.deferred(
    lambda: (
        quoted
        | st.sampled_from(["path.id", "request.method", "request.path", "request.host", "user.subject", "workload.id"])
        | st.sampled_from(["request.headers['x-a']", "request.headers['x-b']", "request.id"])
        | anything
        | st.tuples(texts, texts).map("({0[0]} + {0[1]})".format)
        | st.tuples(lists, st.sampled_from(["0", "1", "-1", "true"])).map("{0[0]}[{0[1]}]".format)
        | st.tuples(texts, st.sampled_from(["lowerAscii", "upperAscii"])).map("{0[0]}.{0[1]}()".format)
        | st.tuples(bools, texts, texts).map("({0[0]} ? {0[1]} : {0[2]})".format)
    )
)
lists: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["user.scopes", "user.groups", "request.query['page']", "request.header_values['x-a']"])
        | st.just("workload.segments")
        | st.lists(quoted, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.tuples(texts, quoted).map("{0[0]}.split({0[1]})".format)
    )
)
integers: st.SearchStrategy[str] = st.deferred(
    lambda: (
        numbers
        | anything
        | st.just("destination.port")
        | st.one_of(texts, lists, anything, st.just("user.claims")).map("size({})".format)
    )
)
bools: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["true", "false", "has_user", "has_workload", "request.is_grpc", "user.claims.a"])
        | st.sampled_from(
            ["has(user.claims.a)", "has(user.claims.a.b)", "'a' in user.claims", "'x-a' in request.headers"]
        )
        | st.sampled_from(["workload.within('spiffe://shop.example/ns/*/**')", "client.within('10.0.0.0/8')"])
        | st.tuples(texts, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), texts).map(" ".join).map("({})".format)
        | st.tuples(integers, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), integers).map(
            "({0[0]} {0[1]} {0[2]})".format
        )
        | st.tuples(bools, st.sampled_from(["==", "!="]), bools).map("({0[0]} {0[1]} {0[2]})".format)
        | st.tuples(st.one_of(texts, integers, anything), st.one_of(lists, anything)).map("({0[0]} in {0[1]})".format)
        | st.tuples(st.one_of(texts, integers), st.lists(numbers, max_size=3).map(", ".join)).map(
            "({0[0]} in [{0[1]}])".format
        )
        | st.tuples(texts, st.sampled_from(["startsWith", "endsWith", "contains"]), texts).map(
            "{0[0]}.{0[1]}({0[2]})".format
        )
        | bools.map("!({})".format)
        | st.tuples(bools, st.sampled_from(["&&", "||"]), bools).map("({0[0]} {0[1]} {0[2]})".format)
        | st.tuples(bools, bools, bools).map("({0[0]} ? {0[1]} : {0[2]})".format)
    )
)
strings = st.sampled_from(["a", "ab", "", "é", "B", "10", "c7-4711", "\U0001f600", "\0", "\ud800"]) | st.text(
    max_size=3
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, 2, 2**63, 2**64, -(2**63) - 1, 1.0, 2.5])
    | st.integers()
    | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from([b"a", b"ab, B", b"\xe9", b"", b"10"])), max_size=3
)


def compared(
    expression: Expression, claims: dict[str, object], headers: list[tuple[str, bytes]], id: str
) -> tuple[object, cel.Value] | None:
    """What is computed directly, and what the engine says; None where that is asked anyhow."""
    needs = Needs(ENVIRONMENT, bindings(expression.reads), iterates=False, reads_path=True)
    asked = evaluation(request(headers=tuple(headers), target="/a/b?page=a&page=10"), user=with_claims(**claims))
    data = asked.data(needs, {"id": id})
    read = direct(Parsed(expression.ast).expr)
    if read is None:
        return None
    try:
        value = read(data)
    except (LookupError, ForTheEngine):
        return None
    return value, ENVIRONMENT.deserialize(expression.ast).eval(ENVIRONMENT.Activation(data))


claims_maps = st.dictionaries(st.sampled_from(["a", "b"]), values)


@given(bools, claims_maps, HEADERS, strings)
def test_whether_a_condition_holds_is_what_the_engine_says(
    source: str, claims: dict[str, object], headers: list[tuple[str, bytes]], id: str
) -> None:
    """Of the type as well: the engine's errors are values too."""
    try:
        found = compared(COMPILER.condition(source, CAPTURES), claims, headers, id)
    except (ConditionError, EvaluationError):
        return
    if found is not None:
        value, engine = found
        assert (engine.type(), engine.value()) == (cel.Type.BOOL, value)


@given(texts, claims_maps, HEADERS, strings)
def test_a_text_is_what_the_engine_says(
    source: str, claims: dict[str, object], headers: list[tuple[str, bytes]], id: str
) -> None:
    """Headers and bodies of answers are computed so."""
    try:
        found = compared(COMPILER.text(source, CAPTURES), claims, headers, id)
    except (ConditionError, EvaluationError):
        return
    if found is not None:
        value, engine = found
        assert (engine.type(), engine.value()) == (cel.Type.STRING, value)
