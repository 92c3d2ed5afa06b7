"""Attacks with headers."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from authz_server.errors import Reason
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.security.server import Ask, Server, assert_denied, message_of
from tests.unit.identity.certificates import WEB

MALFORMED, CONFLICT = Reason.MALFORMED_REQUEST, Reason.HEADER_CONFLICT


@pytest.mark.parametrize("raw", [True, False])
def test_hdr_01_two_authorization_headers_are_refused(server: Server, raw: bool) -> None:
    """In either encoding; joined they have a comma."""
    good = server.with_token().headers[0][1]
    assert isinstance(good, str)
    ask = Ask(path="/me", headers=[("authorization", good), ("authorization", "Bearer x")])
    if raw:
        assert_denied(server.ask(ask), MALFORMED)
    joined = Ask(path="/me", change=as_map({"authorization": f"{good},Bearer x"}))
    assert_denied(server.ask(joined), MALFORMED)
    assert server.ask(Ask(path="/me", change=as_map({"authorization": good}))).allowed


def as_map(headers: dict[str, str]) -> Callable[[CheckRequest], None]:
    """Sends headers as Envoy does without `encode_raw_headers`."""

    def change(message: CheckRequest) -> None:
        http = message.attributes.request.http
        http.ClearField("header_map")
        for name, value in headers.items():
            http.headers[name] = value

    return change


@pytest.mark.parametrize(
    "values", [["guest"], ["admin", "guest"], ["guest", "admin"], ["admin,guest"], ["admin, guest"], ["a", "b,guest,c"]]
)
def test_hdr_02_a_second_value_dodges_no_deny_rule(server: Server, values: list[str]) -> None:
    """All values are seen, however they are sent."""
    ask = Ask(path="/tagged", headers=[("x-role", value) for value in values])
    assert_denied(server.ask(ask), Reason.DENIED_BY_RULE)
    assert_denied(server.ask(Ask(path="/tagged", change=as_map({"x-role": ",".join(values)}))), Reason.DENIED_BY_RULE)
    assert server.ask(Ask(path="/tagged", headers=[("x-role", "admin")])).allowed


def test_hdr_02_a_repeated_header_is_no_single_value(server: Server) -> None:
    """An allow rule that reads one value does not fit two."""
    assert server.ask(Ask(path="/tenant", headers=[("x-tenant", "t1")])).allowed
    for values in (["t1", "t2"], ["t2", "t1"], ["t1", "t1"]):
        assert not server.ask(Ask(path="/tenant", headers=[("x-tenant", value) for value in values])).allowed


@pytest.mark.parametrize("value", [b"\xff", b"t1\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"t1\x80"])
def test_hdr_03_bytes_that_are_no_text_fit_no_rule(server: Server, value: bytes) -> None:
    """A rule that reads the header cannot be evaluated: an allow rule does not apply, a deny rule denies."""
    assert not server.ask(Ask(path="/tenant", headers=[("x-tenant", value)])).allowed
    assert not server.ask(Ask(path="/tagged", headers=[("x-role", value)])).allowed
    assert server.ask(Ask(headers=[("x-other", value)])).allowed


def test_hdr_04_both_encodings_are_one_view(server: Server) -> None:
    """The same headers as a list or as a map; both and different are refused."""
    assert server.ask(Ask(path="/tenant", headers=[("x-tenant", "t1")])).allowed
    assert server.ask(Ask(path="/tenant", change=as_map({"x-tenant": "t1"}))).allowed

    def both(message: CheckRequest) -> None:
        message.attributes.request.http.headers["x-tenant"] = "t2"

    assert_denied(server.ask(Ask(path="/tenant", headers=[("x-tenant", "t1")], change=both)), CONFLICT)


@pytest.mark.parametrize("name", ["x_user", "X_User", "x_workload", "X-user_"])
def test_hdr_05_variants_of_identity_headers_are_refused(server: Server, name: str) -> None:
    """CGI and its descendants take an underscore for a dash."""
    outcome = server.ask(Ask(headers=[(name, "root")]))
    assert outcome.allowed is (name == "X-user_")
    if not outcome.allowed:
        assert_denied(outcome, CONFLICT)


@pytest.mark.parametrize(
    "headers",
    [
        *([(":path", "/admin")], [(":path", "/public/b")], [(":method", "POST")], [(":authority", "evil.example")]),
        *(
            [(":status", "200")],
            [(":path", "/public/a"), (":path", "/admin")],
            [("", "x")],
            [("a b", "x")],
            [("a\n", "x")],
        ),
        *([("x", "a\r\nb: c")], [("x", "a\x00b")], [("x", "a\nb")]),
    ],
)
def test_hdr_05_headers_that_contradict_or_break_are_refused(server: Server, headers: list[tuple[str, str]]) -> None:
    """Pseudo-headers that say something else, names that are none, and line breaks."""
    assert_denied(server.ask(Ask(headers=headers)), CONFLICT, MALFORMED)
    assert server.ask(Ask(headers=[(":path", "/public/a"), (":method", "GET")])).allowed


@pytest.mark.parametrize(
    "name",
    ["source.service", "x-envoy-internal", "x-envoy-downstream-service-cluster", "x-forwarded-client-cert", "x-user"],
)
def test_hdr_07_no_header_is_an_identity(server: Server, name: str) -> None:
    """Neither a workload nor a user; and `source.service` of the message is what the client called itself."""
    identity = "spiffe://shop.example/ns/front/sa/web"

    def claim(message: CheckRequest) -> None:
        message.attributes.source.service = identity

    headers = [(name, identity), (name + "-x", f"URI={identity}")]
    for path in ("/list", "/me"):
        assert not server.ask(Ask(path=path, headers=headers, change=claim)).allowed
    assert server.ask(server.as_web()).allowed


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python it takes, which no other work on the machine changes."""
    count = 0

    def trace(_frame: object, _event: str, _argument: object) -> object:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_hdr_08_a_header_has_a_bounded_number_of_values(server: Server) -> None:
    """Beyond that a deny rule that reads it denies."""
    for count, reason in ((10_000, Reason.ALLOWED), (10_001, Reason.DENY_RULE_ERROR)):
        outcome = server.ask(Ask(path="/tagged", headers=[("x-role", ",".join(["a"] * count))]))
        assert outcome.reason == reason


@pytest.mark.parametrize("value", ["x", "x" * 100], ids=["many", "much"])
def test_hdr_08_the_work_for_headers_is_linear(server: Server, value: str) -> None:
    """Ten thousand of them, or a megabyte, cost ten times what a thousand cost, and not more."""

    def message(count: int) -> bytes:
        return message_of(Ask(headers=[(f"x-h{number}", value) for number in range(count)])).SerializeToString()

    small, large = message(1_000), message(10_000)
    server.send(small)
    assert steps(lambda: server.send(large)) <= 15 * steps(lambda: server.send(small))
    assert server.send(large).allowed


def with_metadata(namespace: str, **members: Any) -> Callable[[CheckRequest], None]:
    """What a filter of Envoy has written."""

    def change(message: CheckRequest) -> None:
        message.attributes.metadata_context.filter_metadata[namespace].update(members)

    return change


def test_hdr_09_metadata_counts_of_listed_namespaces_alone(server: Server) -> None:
    """It is no identity, and what is absent, or stands under another namespace, is an error."""
    good = with_metadata("tier.filter", tier="gold", banned=False)
    assert server.ask(Ask(path="/gold", change=good)).allowed
    for other in ("envoy.filters.http.jwt_authn", "tier.filter.x", "Tier.Filter", ""):
        change = with_metadata(other, tier="gold", banned=False, sub="root", workload=WEB)
        assert_denied(server.ask(Ask(path="/gold", change=change)), Reason.DENY_RULE_ERROR)
        for path in ("/me", "/list"):
            assert not server.ask(Ask(path=path, change=change)).allowed
        assert server.ask(Ask(change=change)).allowed

    def of_the_route(message: CheckRequest) -> None:
        message.attributes.route_metadata_context.filter_metadata["tier.filter"].update(
            {"tier": "gold", "banned": False}
        )

    assert_denied(server.ask(Ask(path="/gold", change=of_the_route)), Reason.DENY_RULE_ERROR)


@pytest.mark.parametrize(
    "members", [{}, {"tier": "gold"}, {"tier": "gold", "banned": None}, {"tier": "gold", "banned": "\0"}]
)
def test_hdr_09_absent_metadata_never_skips_a_rule(server: Server, members: dict[str, object]) -> None:
    """A deny rule that needs what is not there denies."""
    outcome = server.ask(Ask(path="/gold", change=with_metadata("tier.filter", **members)))
    # A value that is there and is not `true` bans nobody.
    assert outcome.allowed is (members.get("banned", 0) is None)
    if not outcome.allowed:
        assert_denied(outcome, Reason.DENY_RULE_ERROR)


JSON = ("content-type", "application/json")
SMALL = b'{"amount": 5}'


def partial(message: CheckRequest) -> None:
    """Envoy has cut the body."""
    for header in message.attributes.request.http.header_map.headers:
        if header.key == "x-envoy-auth-partial-body":
            header.raw_value = b"true"


def longer(message: CheckRequest) -> None:
    """Envoy has counted more bytes than it sends."""
    message.attributes.request.http.size += 1


def as_text(message: CheckRequest) -> None:
    """Envoy sends a text, in which it has replaced what is none."""
    http = message.attributes.request.http
    http.body = http.raw_body.decode()
    http.ClearField("raw_body")


@pytest.mark.parametrize(
    "ask",
    [
        Ask(body=SMALL, headers=[JSON], change=partial),
        Ask(body=SMALL, headers=[JSON, ("content-length", "13")], change=partial),
        Ask(body=SMALL, headers=[JSON], change=longer),
        Ask(body=SMALL, headers=[JSON], change=as_text),
        Ask(body=SMALL, headers=[JSON, ("content-length", "14")]),
        Ask(body=SMALL, headers=[JSON, ("content-length", "13"), ("content-length", "13")]),
        Ask(body=SMALL, headers=[JSON, ("content-length", "x")]),
        Ask(body=SMALL + b" " * (16 * 1024 + 1 - len(SMALL)), headers=[JSON]),
        Ask(body=SMALL + b" " * 16 * 1024, headers=[JSON, ("content-length", str(16 * 1024 + len(SMALL)))]),
        Ask(body=None, headers=[JSON, ("content-length", "13")]),
        Ask(body=None, announced=False),
        Ask(body=None, announced=False, headers=[("x-envoy-auth-partial-body", "false")]),
        Ask(body=SMALL, announced=False, headers=[JSON]),
        Ask(body=None, headers=[("upgrade", "websocket"), ("connection", "upgrade")]),
    ],
    ids=range(14),
)
def test_hdr_06_a_body_that_is_not_all_there_denies(server: Server, ask: Ask) -> None:
    """Cut, of another size, kept back: neither what is in it counts, nor that there is none."""
    for path in ("/pay", "/upload"):
        outcome = server.ask(replace(ask, path=path, method="POST"))
        if path == "/pay" and any(name == "upgrade" for name, _ in ask.headers):
            assert_denied(outcome, Reason.NO_RULE_ALLOWS)
            continue
        assert_denied(outcome, Reason.BODY_INCOMPLETE)
    assert server.ask(Ask(body=ask.body, announced=ask.announced, change=ask.change)).allowed


@pytest.mark.parametrize(
    ("headers", "body", "pay", "upload"),
    [
        ([JSON], SMALL, True, True),
        ([JSON], b'{"amount": 101}', False, True),
        ([JSON], b'{"amount": 1000000}', False, False),
        ([JSON], b'{"amount": 5, "amount": 1000000}', False, False),
        ([JSON], b'{"amount": 1000000, "amount": 5}', False, False),
        ([JSON], b'{"amount": 5, "Amount": 1000000}', False, False),
        ([JSON], b'{"amount": 5} {"amount": 1000000}', False, False),
        ([JSON], b'{"amount": 5e999}', False, False),
        ([JSON], b'{"amount": "5"}', False, False),
        ([JSON], b'[{"amount": 5}]', False, False),
        ([JSON], b"amount=5", False, False),
        ([JSON], b'{"amount": 5', False, False),
        ([JSON], b"[" * 16_000, False, False),
        ([("content-type", "application/x-www-form-urlencoded")], SMALL, False, False),
        ([("content-type", "application/json; charset=utf-16")], SMALL, False, False),
        ([JSON, ("content-type", "text/plain")], SMALL, False, False),
        ([], SMALL, False, False),
        ([JSON, ("content-encoding", "gzip")], SMALL, False, False),
        ([JSON], b"", True, True),
        ([JSON], None, True, True),
    ],
    ids=range(20),
)
def test_hdr_06_a_body_with_two_readings_opens_nothing(
    server: Server, headers: list[tuple[str, str]], body: bytes | None, pay: bool, upload: bool
) -> None:
    """What a service may read otherwise is an error: an allow rule does not apply, a deny rule denies."""
    for path, allowed in (("/pay", pay), ("/upload", upload)):
        assert server.ask(Ask(method="POST", path=path, headers=headers, body=body)).allowed is allowed


def test_hdr_06_the_body_is_never_on_record_whole(server: Server) -> None:
    """The members that rules name alone, and those only where a rule has looked."""
    body = b'{"amount": 5, "card": "4111-1111"}'
    record = server.ask(Ask(method="POST", path="/pay", headers=[JSON], body=body)).record
    assert record["inputs"]["body.amount"] == 5
    assert "4111" not in str(record)
    assert "body.amount" not in server.ask(Ask(headers=[JSON], body=body)).record["inputs"]


@pytest.mark.parametrize("unit", [b'{"a":1},', b"[],", b"1,", b'"\\u0000",', b'":",'], ids=str)
def test_hdr_06_the_work_for_a_body_is_linear(server: Server, unit: bytes) -> None:
    """Ten times the body, ten times the work."""

    def message(size: int) -> bytes:
        body = b"[" + unit * (size // len(unit)) + b"1]"
        return message_of(Ask(method="POST", path="/pay", headers=[JSON], body=body)).SerializeToString()

    small, large = message(1_600), message(16_000)
    server.send(small)
    assert steps(lambda: server.send(large)) <= 15 * steps(lambda: server.send(small))
