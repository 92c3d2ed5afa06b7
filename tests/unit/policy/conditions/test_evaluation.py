"""Conditions evaluated for requests."""

import msgspec
import pytest
from msgspec import structs

from authz_server.errors import Reason, Refused
from authz_server.model import Path, Request, User
from authz_server.policy.conditions import ConditionCompiler, ConditionRuntime, Evaluation, EvaluationError
from authz_server.policy.conditions import evaluation as evaluation_module
from authz_server.policy.conditions.values import excess
from tests.expressions import ANN, CAPTURES, NOW, WEB, evaluation, failure, holds, request, with_claims


@pytest.mark.parametrize(
    "source",
    [
        'request.method == "GET" && request.host == "orders.shop.example" && request.protocol == "HTTP/2"',
        'request.path == "/orders/c7-1" && !request.is_grpc && request.id == "r-1"',
        'request.headers["x-team"] == "blue" && "x-team" in request.headers && !("x-none" in request.headers)',
        'request.header_values["x-tags"] == ["a", "b"] && request.header_values["x-twice"] == ["1", "2"]',
        'request.query["page"] == ["2", "3"] && !has(request.query.size)',
        'path.order_id == "c7-1" && path.order_id.split("-")[0] == user.claims.customer',
        'workload.id == "spiffe://shop.example/ns/front/sa/web" && workload.trust_domain == "shop.example"',
        'workload.segments == ["ns", "front", "sa", "web"]',
        'workload.within("spiffe://shop.example/ns/front/**") && workload.within("spiffe://shop.example/*/front/sa/web")',
        '!workload.within("spiffe://shop.example/ns/back/**") && !workload.within("spiffe://shop.example/ns/fron/**")',
        'user.issuer == "corp" && user.subject == "ann" && user.scopes == ["orders:read", "orders:write"]',
        '"buyer" in user.roles && user.groups == ["apac", "emea"] && user.expires - now == duration("5m")',
        'user.claims.level == 3 && user.claims.address.city == "Bern" && "b" in user.claims.tags',
        "has(user.claims.customer) && !has(user.claims.acr) && user.claims.nothing == null",
        'client.ip == "10.1.2.3" && client.within("10.0.0.0/8") && !client.within("10.2.0.0/16")',
        'certificate.serial == "0a" && certificate.fingerprint.startsWith("ffff")',
        "certificate.not_before < now && now < certificate.not_after",
        'destination.host == "10.9.9.9" && destination.port == 8443',
        'now == timestamp("2026-03-02T09:00:00Z") && now.getHours("Europe/Zurich") == 10 && now.getDayOfWeek() == 1',
        "has_user && has_workload",
        'user.scopes.exists(s, s.startsWith("orders:")) && user.scopes.all(s, s != "") && [1].exists_one(x, x == 1)',
        'user.scopes.filter(s, s.endsWith("read")) == ["orders:read"] && [1, 2].map(x, x * 2) == [2, 4]',
        'sets.contains(user.scopes, ["orders:read"]) && base64.encode(b"a") == "YQ==" && "aB".lowerAscii() == "ab"',
        'request.path.matches("^/orders/[a-z0-9-]+$") && !request.path.matches("^/orders$")',
    ],
)
def test_conditions_see_the_request(source: str) -> None:
    """Every variable has the value that the policy reference says."""
    assert holds(source) is True


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('request.headers["x-none"] == ""', "`request.headers[x-none]` is missing"),
        ('request.header_values["x-none"] == []', "`request.header_values[x-none]` is missing"),
        ('request.query["size"] == []', "`request.query[size]` is missing"),
        ('user.claims.acr == ""', "`user.claims.acr` is missing"),
        ('user.claims.address.street == ""', "`user.claims.address.street` is missing"),
        ('user.claims[request.host] == ""', "a key is missing"),
        ('request.headers["x-twice"] == "1"', "`request.headers`: the header `x-twice` came several times"),
        ('request.headers["x-latin"] == "1"', "`request.headers`: the header `x-latin` is not UTF-8"),
        ('request.header_values["x-latin"] == []', "`request.header_values`: the header `x-latin` is not UTF-8"),
        ('grpc.service == ""', "there is no `grpc`"),
        ("user.claims.level.startsWith('a')", "a value is of another type than the expression needs"),
        ("user.claims.level || false", "a value is of another type than the expression needs"),
        ("user.scopes[7] == ''", "a value is outside what the expression can work with"),
        ("user.claims.level / 0 == 1", "a value is outside what the expression can work with"),
        ("timestamp(request.host) < now", "a value is outside what the expression can work with"),
    ],
)
def test_what_is_missing_or_unusable_is_an_error(source: str, message: str) -> None:
    """POL-01: never an empty value, and the words hold nothing that the request said."""
    assert failure(source) == message


@pytest.mark.parametrize(
    ("source", "variable"),
    [
        ('user.subject == ""', "user"),
        ('user.claims.customer == ""', "user"),
        ("has(user.claims.customer)", "user"),
        ('workload.id == ""', "workload"),
        ('workload.within("spiffe://shop.example/**")', "workload"),
        ('certificate.serial == ""', "certificate"),
        ('client.ip == ""', "client"),
        ('!client.within("10.0.0.0/8")', "client"),
        ('destination.host == ""', "destination"),
    ],
)
def test_who_is_not_there_is_an_error(source: str, variable: str) -> None:
    """POL-01: a variable that is not bound fails whatever uses it."""
    nobody = evaluation(
        request(client_address="", destination_address="", destination_port=None), workload=None, user=None
    )
    assert failure(source, nobody) == f"there is no `{variable}`"
    assert holds(f"false && {source}", nobody) is False
    assert holds(f"{source} || true", nobody) is True


def test_a_workload_known_by_its_principal_has_no_certificate() -> None:
    """The certificate's variable stands for itself."""
    known = evaluation(workload=msgspec.structs.replace(WEB, certificate=None))
    assert holds("has_workload && workload.id != ''", known) is True
    assert failure("certificate.serial == ''", known) == "there is no `certificate`"


def test_a_guard_makes_a_user_optional() -> None:
    """`has_user &&` is how a condition asks first."""
    assert holds("has_user && user.subject == 'ann'", evaluation(user=None)) is False
    assert holds("!has_user || user.subject == 'ann'", evaluation(user=None)) is True


def test_a_header_given_twice_cannot_dodge_a_condition() -> None:
    """HDR-02: asking whether it is there is an error too, and all its values can be asked for."""
    assert failure('"x-twice" in request.headers') == "`request.headers`: the header `x-twice` came several times"
    assert holds('request.header_values["x-twice"].exists(v, v == "2")') is True


def test_an_unusable_header_spoils_only_what_reads_it() -> None:
    """HDR-03: other conditions and other variables of the same request are not concerned."""
    asked = evaluation()
    assert failure('request.headers["x-latin"] == "1"', asked)
    assert holds('request.headers["x-team"] == "blue"', asked) is True
    assert holds('request.headers["x-latin"] == "1" || request.method == "GET"', asked) is True


def test_a_condition_over_all_headers_needs_all_of_them() -> None:
    """An unusable header could be the one that is looked for."""
    assert failure("request.headers.exists(name, name == 'x-team')").startswith("`request.headers`: the header")
    clean = evaluation(request(headers=(("x-team", b"blue"), (":path", b"/orders/c7-1?page=2&page=3"))))
    assert holds("request.headers.exists(name, name == 'x-team') && size(request.headers) == 1", clean) is True


@pytest.mark.parametrize("query", ["a=%zz", "a=%ff", "a=%00"])
def test_an_unreadable_query_is_an_error_only_where_it_is_used(query: str) -> None:
    """PATH-12: the query never has an empty reading."""
    asked = evaluation(request(target=f"/orders/c7-1?{query}"))
    assert failure('"a" in request.query', asked).startswith("the query has")
    assert holds("has_user", asked) is True


@pytest.mark.parametrize(
    ("target", "path"),
    [("/", "/"), ("/a/b/", "/a/b/"), ("/%61dmin/x%20y", "/admin/x y"), ("/caf%C3%A9", "/café")],
)
def test_the_path_is_decoded(target: str, path: str) -> None:
    """PATH-04: an escape cannot dodge a condition about the path."""
    assert holds(f'request.path == "{path}"', evaluation(request(target=target))) is True


def test_a_grpc_call_has_service_and_method() -> None:
    """`grpc` is bound when the content-type and the path say so."""
    call = request(method="POST", target="/orders.v1.Refunds/Create", headers=(("content-type", b"application/grpc"),))
    source = 'request.is_grpc && grpc.service == "orders.v1.Refunds" && grpc.method == "Create"'
    assert holds(source, evaluation(call)) is True


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_an_ipv4_mapped_client_is_within_ipv4_networks(address: str) -> None:
    """Networks mean the address, however it is written."""
    assert holds('client.within("10.1.0.0/16")', evaluation(request(client_address=address))) is True


def test_an_ipv6_client_is_within_ipv6_networks_only() -> None:
    """Families do not mix."""
    asked = evaluation(request(client_address="2001:db8::7"))
    assert holds('client.within("2001:db8::/32") && !client.within("0.0.0.0/0")', asked) is True


def test_captures_belong_to_the_rule_that_is_asked() -> None:
    """One request, several rules: each sees the captures of its own template."""
    asked = evaluation()
    assert holds('path.order_id == "c7-1"', asked) is True
    assert holds('path.order_id == "C7-1"', asked, {"order_id": "C7-1"}) is True
    assert holds('path.name == "x" && has_user', asked, {"name": "x"}) is True
    assert holds('path.order_id == "c7-1"', asked) is True


def test_a_capture_of_another_template_is_missing() -> None:
    """A rule may have templates with different captures."""
    program = ConditionRuntime().load(ConditionCompiler().condition("has(path.b)", frozenset({"a", "b"})))
    assert program.holds(evaluation(), {"a": "1"}) is False
    assert program.holds(evaluation(), {"a": "1", "b": "2"}) is True


def test_one_activation_serves_conditions_that_read_the_same() -> None:
    """Variables are made once for a request."""
    runtime, compiler, asked = ConditionRuntime(), ConditionCompiler(), evaluation()
    first = runtime.load(compiler.condition('request.method.matches("GET")', frozenset()))
    second = runtime.load(compiler.condition('!request.method.matches("PUT")', frozenset()))
    assert first.holds(asked, {})
    assert second.holds(asked, {})
    assert len(asked._activations) == 1


def test_what_does_not_depend_on_the_path_is_computed_once_for_all_readings() -> None:
    """So that the readings of a lenient path do not multiply the cost of a condition."""
    runtime, compiler, first = ConditionRuntime(), ConditionCompiler(), evaluation()
    other = first.reread(structs.replace(first.operation, path=Path(("other",), False)))
    costly = runtime.load(compiler.condition('user.scopes.exists(s, s == "orders:read")', frozenset()))
    about_path = runtime.load(compiler.condition('request.path == "/other"', frozenset()))
    about_captures = runtime.load(compiler.condition('path.order_id == "a"', frozenset(CAPTURES)))
    for each, path_holds, capture in ((first, False, "a"), (other, True, "b"), (first, False, "a")):
        assert costly.holds(each, {})
        assert about_path.holds(each, {}) is path_holds
        assert about_captures.holds(each, {"order_id": capture}) is (capture == "a")
    assert list(other.known or ()) == [costly]
    assert other.query() is first.query()


def test_identical_expressions_are_loaded_once() -> None:
    """A policy set repeats its conditions, and each costs some KiB."""
    runtime = ConditionRuntime()
    one, two = (runtime.load(ConditionCompiler().condition("has_user", frozenset())) for _ in range(2))
    assert one is two


def test_texts_are_computed() -> None:
    """Answers take their values from expressions of type string."""
    program = ConditionRuntime().load(
        ConditionCompiler().text('user.subject + "@" + path.order_id', frozenset(CAPTURES))
    )
    assert program.text(evaluation(), CAPTURES) == "ann@c7-1"
    with pytest.raises(EvaluationError, match="there is no `user`"):
        program.text(evaluation(user=None), CAPTURES)


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", 2**64, -(2**63) - 1, {"k\0": 1}, [["a\0"]], {"k": {"l": "\udfff"}}]
)
def test_claims_that_the_engine_would_misread_are_errors(value: object) -> None:
    """JWT-06: NUL, lone surrogates and integers beyond 64 bits fail the conditions that read them, and no other."""
    asked = evaluation(user=with_claims(odd=value, fine="x"))
    assert failure("has(user.claims.odd)", asked).startswith("`user.claims`: ")
    assert holds('user.claims.fine == "x"', asked) is True


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_integers_of_claims_are_exact(value: int) -> None:
    """Neighbours of 64-bit integers differ."""
    asked = evaluation(user=with_claims(n=value, next=value - 1 if value > 0 else value + 1))
    assert holds("user.claims.n == user.claims.next", asked) is False
    assert holds("user.claims.n == user.claims.n", asked) is True


@pytest.mark.parametrize(
    "user",
    [
        msgspec.structs.replace(ANN, subject="a\ud800"),
        msgspec.structs.replace(ANN, expires=float("inf")),
    ],
    ids=["surrogate", "never"],
)
def test_a_user_that_cannot_be_represented_is_an_error(user: User) -> None:
    """No value is bent until it fits."""
    source = "user.subject != '' && user.expires > now"
    assert failure(source, evaluation(user=user)) == "`user` holds what conditions cannot represent"


def test_a_subject_with_nul_is_seen_whole() -> None:
    """Messages carry NUL; nothing is cut."""
    asked = evaluation(user=msgspec.structs.replace(ANN, subject="ann\0admin"))
    assert holds('user.subject == "ann"', asked) is False
    assert holds('user.subject == "ann\\u0000admin"', asked) is True


def test_a_request_without_anything_is_evaluated() -> None:
    """PROTO-02: attributes may all be missing."""
    asked = evaluation(Request(method="GET", target="/", host="a"), workload=None, user=None)
    assert holds('request.path == "/" && request.id == "" && !has_user', asked) is True


def test_the_size_of_a_variable_is_looked_at_once_for_all_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body would make each reading of a path cost as much again."""
    looks: list[object] = []

    def count(value: object, max_elements: int, max_text: int) -> str | None:
        looks.append(value)
        return excess(value, max_elements, max_text)

    monkeypatch.setattr(evaluation_module, "excess", count)
    runtime, compiler, first = ConditionRuntime(), ConditionCompiler(), evaluation()
    source = "request.path != '/q' && user.claims.tags.exists(tag, tag == 'b')"
    program = runtime.load(compiler.condition(source, frozenset()))
    readings = [first.reread(structs.replace(first.operation, path=Path((name,), False))) for name in "abc"]
    assert all(program.holds(reading, {}) for reading in (first, *readings))
    claims = [value for value in looks if isinstance(value, dict)]
    assert len(claims) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": ["x"] * 3, "b": ("y", 1, None, 2.5, True)}, None),
        (["x"] * 6, "elements"),
        ({"a": {"b": ["x"] * 6}}, "elements"),
        (dict.fromkeys("abcdef", 1), "elements"),
        ({"a": ["x" * 11]}, "text"),
        ({"x" * 11: 1}, "text"),
    ],
)
def test_what_is_too_large_is_found_at_any_depth(value: object, expected: str | None) -> None:
    """Five elements and ten characters are allowed here."""
    assert excess(value, 5, 10) == expected


def test_no_condition_of_the_engine_is_begun_when_it_is_too_late() -> None:
    """It is a failure of ours, and no error of the expression, which an allow rule would not apply for."""
    asked = Evaluation(evaluation().operation, None, None, NOW, is_late=lambda: True)
    costly = ConditionRuntime().load(ConditionCompiler().condition("request.path.matches('a')", frozenset()))
    with pytest.raises(Refused) as refused:
        costly.holds(asked, {})
    assert refused.value.reason is Reason.DEADLINE
