"""Whatever is written as an expression, and whatever a request holds: answers are exact, and failures are ours."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from authz_server.policy.conditions import ConditionCompiler, ConditionError, ConditionRuntime, EvaluationError
from tests.expressions import evaluation, with_claims

COMPILER = ConditionCompiler()
RUNTIME = ConditionRuntime()
EQUAL = RUNTIME.load(COMPILER.condition("user.claims.a == user.claims.b", frozenset()))
CAPTURED = RUNTIME.load(COMPILER.condition("path.a == user.claims.a", frozenset({"a"})))

TOKENS = [
    "request",
    ".method",
    ".headers",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "'a'",
    '"x-b"',
    "user",
    ".claims",
    ".a",
    "path",
    ".b",
    "==",
    "!=",
    "&&",
    "||",
    "!",
    "in",
    "1",
    "2.5",
    "null",
    "true",
    ",",
    ":",
    "?",
    "has(",
    ".exists(x,",
    "x)",
    ".map(y,",
    "y",
    ".matches(",
    ".within(",
    "'spiffe://a/**'",
    "now",
    ".getHours(",
    "workload",
    "client",
    "//",
    "\n",
    "\\",
    "'",
    "+",
    "-",
    "/",
]

expressions = st.text() | st.lists(st.sampled_from(TOKENS), max_size=25).map("".join)
texts = st.text() | st.text(st.sampled_from("a\0\ud800é"))
# An integer and a double are compared as doubles, so doubles stay where those are exact.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(-1e15, 1e15) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(expressions)
def test_any_text_is_an_expression_or_refused_where_it_is_wrong(source: str) -> None:
    """POL-04: no other exception, and a place inside the text."""
    try:
        expression = COMPILER.condition(source, frozenset({"b"}))
    except ConditionError as error:
        refusal = error
    else:
        with suppress(EvaluationError):
            assert RUNTIME.load(expression).holds(evaluation(), {"b": "x"}) in (True, False)
        return
    lines = source.split("\n")
    assert refusal.message
    assert 1 <= refusal.line <= len(lines)
    assert 1 <= refusal.column <= len(lines[refusal.line - 1]) + 1
    assert refusal.length >= 1


@given(json_values, json_values)
def test_claims_are_equal_exactly_when_they_are(a: object, b: object) -> None:
    """Nothing is cut, rounded or folded on its way into the engine."""
    try:
        equal = EQUAL.holds(evaluation(user=with_claims(a=a, b=b)), {})
    except EvaluationError:
        return
    assert equal == _equal(a, b)


@given(texts, texts)
def test_captures_are_compared_exactly(a: str, b: str) -> None:
    """A capture and a claim are the same text or they are not."""
    try:
        equal = CAPTURED.holds(evaluation(user=with_claims(a=b)), {"a": a})
    except EvaluationError:
        assert "\0" in a + b or not (a + b).isascii()
    else:
        assert equal == (a == b)


def _equal(a: object, b: object) -> bool:
    """Equality in CEL: numbers by value, bools are no numbers."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return bool(a == b)
