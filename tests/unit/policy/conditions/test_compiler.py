"""Expressions when they are loaded: what they read, and what is refused in which words."""

import pytest

from authz_server.policy.conditions import ConditionCompiler, ConditionError
from authz_server.policy.conditions.bindings import FIELDS
from authz_server.policy.conditions.environment import MESSAGES
from tests.expressions import refusal, underlined

CAPTURES = frozenset({"order_id"})


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("true", []),
        ('request.method == "GET" && request.path != ""', ["request.method", "request.path"]),
        ('.request.method == "GET"', ["request.method"]),
        ('request.headers["x-team"] == "a"', ["request.headers[x-team]"]),
        ('request.headers.team == "a"', ["request.headers[team]"]),
        ('"x-team" in request.headers', ["request.headers[x-team]"]),
        ("has(request.headers.team)", ["request.headers[team]"]),
        ("request.headers.exists(name, name == 'x')", ["request.headers[*]"]),
        ('request.headers[request.host] == "a"', ["request.headers[*]", "request.host"]),
        ('request.header_values["x"][0] == "a"', ["request.header_values[x]"]),
        ('"2" in request.query["page"]', ["request.query[page]"]),
        ('user.claims.customer == "c7"', ["user.claims.customer"]),
        ('user.claims["customer"] == "c7"', ["user.claims.customer"]),
        ("has(user.claims.address.city)", ["user.claims.address.city"]),
        ('"acr" in user.claims', ["user.claims.acr"]),
        ('"admin" in user.claims.realm_access.roles', ["user.claims.realm_access.roles"]),
        ('user.claims.aud[0] == "x"', ["user.claims.aud"]),
        ('user.claims["https://a/b"].c == "x"', ["user.claims[https://a/b]"]),
        ('user.claims.a["b c"].d == "x"', ["user.claims.a"]),
        ('user.claims.a[request.host].b == "x"', ["request.host", "user.claims.a"]),
        ("size(user.claims) == 1", ["user.claims[*]"]),
        ("user.claims.exists(c, c == 'x')", ["user.claims[*]"]),
        ('path.order_id.startsWith("c")', ["path.order_id"]),
        ('path["order_id"] == "c" || "order_id" in path', ["path.order_id"]),
        ('path[request.host] == "a"', ["path[*]", "request.host"]),
        ("user.expires > now", ["now", "user.expires"]),
        ("has_user && !has_workload", ["has_user", "has_workload"]),
        ('["a"].exists(x, x == path.order_id)', ["path.order_id"]),
        ('workload.within("spiffe://td/**")', ["workload.within[spiffe://td/**]"]),
        ('client.within("10.0.0.0/8") && client.ip != ""', ["client.ip", "client.within[10.0.0.0/8]"]),
        ('{"a": user.subject}.a == [request.id][0]', ["request.id", "user.subject"]),
        ("true // it ends in a comment", []),
    ],
)
def test_what_an_expression_reads_is_known(source: str, reads: list[str]) -> None:
    """Each attribute is named once, sorted; a map whose key is not literal is read whole."""
    expression = ConditionCompiler().condition(source, CAPTURES)
    assert expression.reads == tuple(reads)
    assert expression.source == source


REFUSALS = [
    # Names
    ('request.methd == "GET"', "methd", "`request` has no field `methd`", "did you mean `method`?"),
    ('request.haeders["a"] == "b"', "haeders", "`request` has no field `haeders`", "did you mean `headers`?"),
    ('user.sub == "a"', "sub", "`user` has no field `sub`", "did you mean `subject`?"),
    ('usr.subject == "a"', "usr", "unknown variable `usr`", "did you mean `user`?"),
    ('path.ordr_id == "a"', "ordr_id", "no path of this rule has a capture `ordr_id`", "did you mean `order_id`?"),
    ('path["x"] == "a"', "x", "no path of this rule has a capture `x`",
     "captures are the `{name}` of the rule's `paths`"),
    ('request.host.startswith("a")', "startswith", "unknown function `startswith`", "did you mean `startsWith`?"),
    ("size()", "size", "`size` does not take these arguments", ""),
    ('"X-Team" in request.headers', "X-Team", "header names are in lower case: `X-Team`", "did you mean `x-team`?"),
    ('request.headers[":path"] == ""', ":path", "no header has the name `:path`", ""),
    ('request.headers.x-team == "a"', "x-team", "the name `x-team` cannot stand behind a dot",
     'write `request.headers["x-team"]`'),
    ('request.headers.x-user == "a"', "x-user", "the name `x-user` cannot stand behind a dot",
     'write `request.headers["x-user"]`'),
    ('user.claims.tenant-id == "a"', "tenant-id", "the name `tenant-id` cannot stand behind a dot",
     'write `user.claims["tenant-id"]`'),
    ("request.method == GET", "GET", "unknown variable `GET`", 'a text has quotes: "GET"'),
    ("has_user == True", "True", "unknown variable `True`", "write `true`"),
    ("user.claims.a == None", "None", "unknown variable `None`",
     "ask whether it is there, such as `has(user.claims.name)`"),
    ("len(user.groups) > 1", "len", "unknown function `len`", "write `size(…)`"),
    # Types
    ("user.subject", "user.subject", "the expression must be of type bool, and is of type string",
     'compare it with a text: `user.subject == "…"`'),
    ("  user.claims.admin", "user.claims.admin", "the expression must be of type bool, and is of type dyn",
     "compare it with a value, for example `user.claims.admin == true`"),
    ("request.method == 1", "==", "`==` cannot compare string and int",
     "convert one of them, for example with string(…)"),
    ("now > '2026'", ">", "`>` cannot compare timestamp and string",
     "write a time as timestamp('2026-01-31T00:00:00Z')"),
    ('user.scopes.contains("x")', "contains", "`contains` cannot be applied to list(string) and string",
     'write `"x" in user.scopes`'),
    ('request.header_values["a"].contains("x")', "contains", "`contains` cannot be applied to list(string) and string",
     'write `"…" in` and the list'),
    ('user.groups == "x"', "==", "`==` cannot compare list(string) and string", 'write `"x" in user.groups`'),
    ("'x' != user.groups", "!=", "`!=` cannot compare string and list(string)", "write `!('x' in user.groups)`"),
    ('request.header_values["a"] == "x"', "==", "`==` cannot compare list(string) and string",
     'write `"…" in` and the list'),
    ('request.method in "GET"', "in", "`in` cannot be applied to string and string",
     "write a list, such as `[…]`; a part of a text is found with `.contains(…)`"),
    ('client.ip in "10.0.0.0/8"', "in", "`in` cannot be applied to string and string",
     'write `client.within("10.0.0.0/8")`'),
    ("path.order_id > 5", ">", "`>` cannot compare string and int", "make a number of the text with int(…)"),
    ("now.hour < 6", ".", "a value of type timestamp has no fields", 'write `now.getHours("Europe/Zurich")`'),
    ("user.expires.minutes < 6", ".", "a value of type timestamp has no fields",
     'write `user.expires.getMinutes("Europe/Zurich")`'),
    ("now.era == 1", ".", "a value of type timestamp has no fields", ""),
    ("user.groups.length > 1", ".", "a value of type list(string) has no fields", "write `size(user.groups)`"),
    ("request.method.x == 1", ".", "a value of type string has no fields", ""),
    ('user.groups["x"] == ""', "[", "a value of type list(string) has no elements of key type string", ""),
    ("has_user ? 1 : 'a'", "?", "`? :` needs a bool and two values of one type, not bool, int, string", ""),
    ("user == null", "user", "`user` is no value by itself", "name one of its fields, such as `user.issuer`"),
    ("dyn(request).secret == 1", "request", "`request` is no value by itself",
     "name one of its fields, such as `request.method`"),
    ("has(user.subject)", "(", "`user.subject` is always there when `user` is", "ask `has_user`"),
    ("has(request.method)", "(", "`request.method` is always there when `request` is", "leave out has()"),
    ("authz.v1.Request{method: 'a'}.method == 'a'", "a", "a condition cannot build messages",
     "write a map: {'name': value}"),
    # Syntax
    ('request.method = "GET"', "=", "`=` is no operator here", "write `==`"),
    ("has_user and has_workload", "and", "`and` is no operator here", "write `&&`"),
    ("not has_user", "not", "`not` is no operator here", "write `!`"),
    ("has_user & has_workload", "&", "`&` is no operator here", "write `&&`"),
    ("request.method == 'GET", "'GET", "the quoted text does not end",
     "the quotes must match, and `\\` begins an escape: write `\\\\` for a backslash"),
    ("has_user &&", "", "the expression ends too early", ""),
    ("(has_user", "", "`)` is missing", ""),
    ("has_user)", ")", "unexpected `)`", ""),
    ("has_user # known", "#", "`#` begins no comment here", "write `//`"),
    ("request.method == “GET”", "“", "`“` does not quote a text", "use straight quotes"),
    ("has_user\u00a0&& true", "\u00a0", "there is a no-break space", "write a plain space"),
    ('request.method is "GET"', "is", "`is` is no operator here", "write `==`"),
    ('request.method <> "GET"', ">", "unexpected `>`", "write `!=`"),
    ('request.path startsWith "/a"', "startsWith", "unexpected `startsWith`",
     "write `.startsWith(…)` behind the value"),
    ("request.host == {order_id}", "}", "unexpected `}`", "captures are read as `path.order_id`"),
    ('request.method in ("GET", "PUT")', ",", "unexpected `,`", "a list stands in `[ ]`"),
    ("$has_user", "$", "unexpected character `$`", ""),
    ("", "", "the expression is empty", ""),
    (" \n ", " ", "the expression is empty", ""),
    # Literals
    ("request.path.matches(request.host)", "request.host", "a regular expression must be a quoted text",
     "no request may choose it"),
    ("matches(request.path, 'a' + 'b')", "'", "a regular expression must be a quoted text", "no request may choose it"),
    ("request.path.matches('(')", "'('", "not a regular expression: missing ): (",
     "regular expressions have RE2's syntax"),
    ("now.getHours(request.host) == 1", "request.host", "a time zone must be a quoted text",
     "no request may choose it"),
    ("now.getHours('Europe/Zuerich') == 1", "'Europe/Zuerich'", "unknown time zone `Europe/Zuerich`",
     "did you mean `Europe/Zurich`?"),
    ("now > timestamp('yesterday')", "'yesterday'", "not a timestamp: `yesterday`",
     "write it as `2026-01-31T00:00:00Z`"),
    ("now - now < duration('1 day')", "'1 day'", "not a duration: `1 day`", "write it as `1h30m`"),
    ("workload.within(request.host)", "request.host", "the argument of `within` must be a quoted text",
     "no request may choose it"),
    ("workload.within('spiffe://td/a*')", "*", "`*` stands for a whole segment, not for a part of one",
     "write `*` alone between the slashes, or list the segments that fit"),
    ("client.within('10.0.0.1/8')", "10.0.0.1/8", "the network `10.0.0.1/8` has host bits",
     "did you mean `10.0.0.0/8`?"),
    ("client.within('10.0.0')", "10.0.0", "`10.0.0` is not a network", "write a CIDR such as `10.0.0.0/8`"),
    ("dyn(workload).within('spiffe://td/**')", "(", "`within` is about `workload` or `client`",
     "write workload.within(…) or client.within(…)"),
    ("workload.within['a']", "within", "`workload` has no field `within`",
     "there are `id`, `segments`, `trust_domain`"),
    # Macros
    ("[1].all(x, [2].exists(y, x == y))", "exists", "`exists` inside another macro",
     "macros go one level deep; write two conditions, or use `in`"),
    ("['a'].exists(user, user == 'x')", "user", "`user` has a meaning already and cannot name an element",
     "choose another name"),
    ("request.host.split('.').map(x, x) == []", "(", "beside a macro, `split` needs a limit of at most 256",
     "write for example split(',', 100)"),
    ("optional.of(1) == 1", "optional", "unknown variable `optional`", "there are `body`, `certificate`, `client`, "
     "`destination`, `grpc`, `has_body`, `has_user`, `has_workload`, `metadata`, `now`, `path`, `request`, `user`, "
     "`workload`"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "part", "message", "hint"), REFUSALS, ids=[case[0] for case in REFUSALS])
def test_a_refusal_says_where_what_and_what_to_write(source: str, part: str, message: str, hint: str) -> None:
    """The words of the errors are part of the language."""
    error = refusal(source, CAPTURES)
    assert (error.message, error.hint) == (message, hint)
    assert underlined(source, error) == part
    assert str(error) == message


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("has_user &&\n  request.methd == 'a'", 2, 11),
        ("request.host == 'é😀' &&\n'é😀' == foo", 2, 9),
        ("has_user\n\n&& path.x == ''", 3, 9),
    ],
)
def test_a_refusal_names_line_and_column_within_the_expression(source: str, line: int, column: int) -> None:
    """Both count from 1, and characters outside ASCII count as one."""
    error = refusal(source)
    assert (error.line, error.column) == (line, column)


def test_an_expression_of_4096_bytes_is_the_largest() -> None:
    """POL-04: the size counts in bytes."""
    compiler = ConditionCompiler()
    largest = f"request.path != '{'é' * 2038}'"
    assert len(largest.encode()) == 4094
    assert compiler.condition(largest + "  ", CAPTURES).reads == ("request.path",)
    error = refusal(largest + "   ")
    assert error.message == "the expression is longer than 4096 bytes"


@pytest.mark.parametrize(
    "source",
    [
        "(" * 2000 + "has_user" + ")" * 2000,
        "[" * 1300 + "1" + "]" * 1300 + " == []",
        "user.claims" + ".a" * 1500 + " == 1",
        "user.claims" + "['a']" * 700 + " == 1",
        " + ".join(["1"] * 900) + " == 1",
        "has_user ? true : " * 200 + "true",
        "'a'" + ".trim()" * 500 + " == ''",
        "dyn(" * 500 + "1" + ")" * 500 + " == 1",
        "{1:" * 500 + "1" + "}" * 500 + " == {}",
    ],
)
def test_deep_nesting_is_refused(source: str) -> None:
    """POL-04: depth is bounded, and the parser does not crash."""
    error = refusal(source[:4096])
    assert error.message == "the expression is nested too deeply"
    assert error.hint == "split it into several conditions"


def test_long_chains_of_and_are_not_deep() -> None:
    """The engine balances them, so people can list many alternatives."""
    source = " && ".join(["has_user"] * 300)
    assert ConditionCompiler().condition(source, CAPTURES).reads == ("has_user",)


@pytest.mark.parametrize("character", ["\0", "\x1b", "\u202e", "\u200b", "\ufeff", "\ud800", "\x85"])
def test_characters_that_hide_something_are_refused(character: str) -> None:
    """An expression reads as it looks; such characters can be written as escapes."""
    error = refusal(f"request.host == 'a{character}'")
    assert error.message == f"the character U+{ord(character):04X} is not allowed in expressions"
    assert error.hint == f"in a quoted text, write `\\u{ord(character):04x}`"
    assert error.column == 19


def test_a_text_is_of_type_string() -> None:
    """What an answer computes has to be a text."""
    compiler = ConditionCompiler()
    assert compiler.text("user.subject + '!'", CAPTURES).reads == ("user.subject",)
    with pytest.raises(ConditionError) as caught:
        compiler.text("user.claims.level", CAPTURES)
    assert caught.value.message == "the expression must be of type string, and is of type dyn"
    assert caught.value.hint == "convert it with `string(user.claims.level)`"


def test_conditions_join_even_where_they_end_in_comments() -> None:
    """A list of conditions holds when all hold."""
    joined = ConditionCompiler().all_of(["has_user // known", "request.method == 'GET' || true"], CAPTURES)
    assert joined.reads == ("has_user", "request.method")


def test_conditions_that_are_together_too_long_are_refused() -> None:
    """POL-04: a list is no way around the bound."""
    with pytest.raises(ConditionError, match="longer than 4096 bytes"):
        ConditionCompiler().all_of(["request.host != '" + "a" * 2100 + "'"] * 2, CAPTURES)


def test_the_same_source_gives_the_same_bytes() -> None:
    """The engine serializes in random order; policies of one content must have one revision."""
    source = "request.method == 'GET' && has_user && user.scopes.exists(s, s in ['a', 'b'])"
    assert len({ConditionCompiler().condition(source, CAPTURES).ast for _ in range(10)}) == 1


def test_what_is_gone_through_is_bounded_only_where_it_is_multiplied() -> None:
    """The cost of macros and of functions of sets is a product; everything else is linear."""
    compiler = ConditionCompiler()
    built = {
        source: compiler.condition(source, CAPTURES).iterates
        for source in (
            "'a' in user.groups",
            "request.path.split('/').size() > 3",
            "user.groups.exists(g, g == 'a')",
            "sets.intersects(user.groups, user.roles)",
            "user.groups.all(g, g == 'a') || user.groups.exists_one(g, g == 'a')",
            "user.groups.map(g, g) == []",
            "user.groups.filter(g, g == 'a') == []",
        )
    }
    assert list(built.values()) == [False, False, True, True, True, True, True]


def test_every_field_of_the_contract_can_be_read() -> None:
    """context.proto and what is bound from a request name the same fields."""
    assert {name: set(fields) for name, fields in FIELDS.items()} == {
        name: set(message.DESCRIPTOR.fields_by_name) for name, message in MESSAGES.items()
    }
