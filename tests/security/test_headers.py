"""Attacks with headers."""

import sys
from collections.abc import Callable

import pytest

from authz_server.errors import Reason
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.security.server import Ask, Server, assert_denied, message_of

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


@pytest.mark.parametrize("value", ["x", "x" * 100], ids=["many", "much"])
def test_hdr_08_the_work_for_headers_is_linear(server: Server, value: str) -> None:
    """Ten thousand of them, or a megabyte, cost ten times what a thousand cost, and not more."""

    def message(count: int) -> bytes:
        return message_of(Ask(headers=[(f"x-h{number}", value) for number in range(count)])).SerializeToString()

    small, large = message(1_000), message(10_000)
    server.send(small)
    assert steps(lambda: server.send(large)) <= 15 * steps(lambda: server.send(small))
    assert server.send(large).allowed


def test_hdr_09_metadata_is_no_input(server: Server) -> None:
    """Whatever other filters have written: nothing reads it."""

    def fill(message: CheckRequest) -> None:
        data = message.attributes.metadata_context.filter_metadata["envoy.filters.http.jwt_authn"]
        data["sub"] = "root"
        data["workload"] = "spiffe://shop.example/ns/front/sa/web"

    for path in ("/me", "/list"):
        assert not server.ask(Ask(path=path, change=fill)).allowed
    assert server.ask(Ask(change=fill)).allowed


@pytest.mark.parametrize("body", ["", "{", '{"role": "admin"}', "x" * 100_000])
def test_hdr_06_the_body_decides_nothing(server: Server, body: str) -> None:
    """No rule can read it, so that a body that is cut cannot change a decision."""

    def send(message: CheckRequest) -> None:
        message.attributes.request.http.body = body
        message.attributes.request.http.size = 10

    assert server.ask(Ask(change=send)).allowed
    assert not server.ask(Ask(path="/list", change=send)).allowed
