"""Attacks with paths."""

import pytest

from authz_server.errors import Reason
from tests.security.server import POLICY, Ask, Server, assert_denied

LENIENT = POLICY.replace("    name: orders", "    name: orders\n    paths: lenient")
AMBIGUOUS = Reason.AMBIGUOUS_PATH
NO_AUTHORITY = (AMBIGUOUS, Reason.DENIED_BY_RULE, Reason.NO_RULE_ALLOWS)


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The same service with lenient paths."""
    return Server(tmp_path_factory.mktemp("lenient"), LENIENT)


SPELLINGS = [
    *(
        "//admin",
        "/x//admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public\\..\\admin",
    ),
    *("/..;/admin", "/.;/admin", "/public/..;x=1/admin", "/admin;a=b", "/admin;/x", "/admin.", "/ADMIN", "/admin/"),
    *(
        "/admin?",
        "/admin%20",
        "/%252e%252e/admin",
        "/%c0%ae%c0%ae/admin",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
    ),
    *("/admin%00", "/admin#frag", "/public/a#/../admin", "/%61dmin", "/adm%69n/users", "/.../admin/../../admin"),
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_path_01_no_spelling_of_admin_is_allowed(server: Server, path: str) -> None:
    """CVE-2019-9901, CVE-2021-29492, CVE-2021-31920: nothing that a backend could read as `/admin`."""
    assert_denied(server.ask(Ask(path=path)), *NO_AUTHORITY)
    assert server.ask(Ask(path="/public/admin")).allowed


@pytest.mark.parametrize("path", [*SPELLINGS, "/public/..;/admin", "/public/%252e%252e%252fadmin", "/public//../admin"])
def test_path_01_lenient_no_spelling_of_admin_is_allowed(lenient: Server, path: str) -> None:
    """Whatever a backend makes of it, some reading is `/admin`, or nobody allows it."""
    assert_denied(lenient.ask(Ask(path=path)), *NO_AUTHORITY)
    assert lenient.ask(Ask(path="/public/%61dmin")).allowed


@pytest.mark.parametrize(
    "path", ["//admin/dashboard", "//admin//dashboard", "///admin/dashboard", "/%2fadmin/dashboard"]
)
def test_path_02_a_double_slash_has_no_authority(server: Server, path: str) -> None:
    """GHSA-9f29-v6mm-pw6w, where `//admin/dashboard` parsed as a host escaped the rule for `/admin/**`."""
    assert_denied(server.ask(Ask(path=path)), AMBIGUOUS)
    assert_denied(server.ask(Ask(path="/admin/dashboard")), Reason.DENIED_BY_RULE)


@pytest.mark.parametrize("path", ["/..;/admin", "/admin;a=b/x", "/public/a;b", "/public/;/a", "/public/a%3bb"])
def test_path_03_path_parameters_are_ambiguous(server: Server, path: str) -> None:
    """What a backend does with `;` is not known."""
    assert_denied(server.ask(Ask(path=path)), AMBIGUOUS)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        *(("/..;/admin", Reason.DENIED_BY_RULE), ("/admin;a=b/x", Reason.DENIED_BY_RULE), ("/public/a;b", None)),
        *(
            ("/public/a%3bb", None),
            ("/public/..;x/admin", Reason.DENIED_BY_RULE),
            ("/exact;a=b", Reason.NO_RULE_ALLOWS),
        ),
        *(("/public/;/a", Reason.NO_RULE_ALLOWS), ("/public/a;/../../admin", Reason.DENIED_BY_RULE)),
        *(("/public/..%3b/admin", Reason.DENIED_BY_RULE), ("/public/..%253b/admin", Reason.DENIED_BY_RULE)),
        ("/public/x/..;/..;a=b/admin", Reason.DENIED_BY_RULE),
    ],
)
def test_path_03_lenient_parameters_are_kept_and_cut(lenient: Server, path: str, reason: Reason | None) -> None:
    """Both readings count, and those that come of resolving dots afterwards."""
    outcome = lenient.ask(Ask(path=path))
    assert outcome.allowed if reason is None else not outcome.allowed
    assert outcome.reason == (reason or Reason.ALLOWED)


@pytest.mark.parametrize(
    "escape",
    [
        *(
            "%2f",
            "%2F",
            "%5c",
            "%5C",
            "%2e",
            "%2E",
            "%00",
            "%0a",
            "%0A",
            "%0d",
            "%25",
            "%252f",
            "%255c",
            "%252e",
            "%2500",
        ),
        *("%c0%af", "%C0%AF", "%e0%80%af", "%c1%9c", "%ff", "%c3", "%2x", "%", "%zz", "%u002f", "%7f", "%23", "%3f"),
    ],
)
@pytest.mark.parametrize("place", ["/public/{}", "/public/a{}", "/public/{}a", "/public/a/{}/b"])
def test_path_04_escapes_with_two_readings_are_refused(server: Server, escape: str, place: str) -> None:
    """Encoded separators, dots and controls, double encoding, overlong UTF-8, broken escapes."""
    assert_denied(server.ask(Ask(path=place.format(escape))), AMBIGUOUS)
    assert server.ask(Ask(path=place.format("%20"))).allowed


@pytest.mark.parametrize("separator", ["%2f", "%2F", "%5c", "%5C", "%252f", "%252F", "%255c", "%25%32%66", "%2%66"])
@pytest.mark.parametrize("dots", ["..", "%2e%2e", ".%2E", "%252e%252e", "%25%32%65."])
def test_path_04_lenient_every_reading_is_decided(lenient: Server, separator: str, dots: str) -> None:
    """Encoded once or twice, in any mixture, dots and separators lead to `/admin` in some reading."""
    for path in (f"/public/{dots}{separator}admin", f"/public{separator}a{separator}{dots}/{dots}{separator}admin/x"):
        assert_denied(lenient.ask(Ask(path=path)), Reason.DENIED_BY_RULE, AMBIGUOUS)
    if separator != "%2%66":
        assert lenient.ask(Ask(path=f"/public/a{separator}b")).allowed


@pytest.mark.parametrize(
    "escape",
    [
        *("%00", "%0a", "%0A", "%0d", "%7f", "%c2%85", "%2500", "%250A", "%25%30%30", "%257f", "%25c2%2585"),
        *("%c0%af", "%C0%AF", "%e0%80%af", "%c1%9c", "%ff", "%c3", "%25c0%25af", "%2x", "%", "%zz", "%u002f"),
        *("%25252f", "%25252e", "%2525252e"),
    ],
)
@pytest.mark.parametrize("place", ["/public/{}", "/public/a{}", "/public/{}a", "/public/a/{}/b"])
def test_path_04_lenient_some_escapes_are_refused(lenient: Server, escape: str, place: str) -> None:
    """Controls, overlong UTF-8, broken escapes, and what is escaped more often than anybody decodes."""
    assert_denied(lenient.ask(Ask(path=place.format(escape))), AMBIGUOUS)


@pytest.mark.parametrize("path", ["/public/a#", "/public/a#b", "/public/a?x=#", "#/public/a", "/public/#/admin"])
def test_path_05_a_fragment_is_refused(server: Server, path: str) -> None:
    """CVE-2021-32779: a fragment is no part of a request target."""
    assert_denied(server.ask(Ask(path=path)), AMBIGUOUS)


MUTATIONS = ["{}/", "{}.", "{}..", "{}%20", "{}%20/", "{}./", "{}/%20", "{}/."]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_path_06_an_allow_rule_is_exact_and_a_deny_rule_is_not(server: Server, mutation: str) -> None:
    """Trailing slashes, dots, spaces and case: whoever ignores them must not be reached by them."""
    assert_denied(server.ask(Ask(path=mutation.format("/exact"))), *NO_AUTHORITY)
    assert_denied(server.ask(Ask(path="/EXACT")), Reason.NO_RULE_ALLOWS)
    assert server.ask(Ask(path="/exact")).allowed
    for path in ("/admin", "/ADMIN", "/aDmIn", "/admin/users", "/Admin/users"):
        assert_denied(server.ask(Ask(path=mutation.format(path))), Reason.DENIED_BY_RULE, AMBIGUOUS)


MUTATIONS_OF_READINGS = [
    *(
        "/{}",
        "/x/..{}",
        "/x%2f..{}",
        "/x/%2e%2e{}",
        "/x/..;{}",
        "/x\\..{}",
        "/x%5c..{}",
        "/x/%252e%252e{}",
        "/./{}",
        "//x{}",
    ),
    *(
        "{};a=b",
        "{}%3ba=b",
        "{}%3fa",
        "{}%23a",
        "{}%253fa",
        "{}%2f",
        "{}%252f",
        "{}%5c",
        "{}%2e",
        "{}%20",
        "{}%2520",
        "{}/x/..",
    ),
    *("{}//", "{}/%2e", "{};/", "{}/;a", "{}\\"),
]


@pytest.mark.parametrize("mutation", [*MUTATIONS, *MUTATIONS_OF_READINGS])
def test_path_06_lenient_no_spelling_escapes_a_deny_rule(lenient: Server, mutation: str) -> None:
    """Nor does it reach what an allow rule allows exactly."""
    for path in ("/admin", "/ADMIN", "/admin/users", "/%61dmin"):
        assert_denied(lenient.ask(Ask(path=mutation.format(path))), Reason.DENIED_BY_RULE)
    assert_denied(lenient.ask(Ask(path=mutation.format("/exact"))), *NO_AUTHORITY)
    assert lenient.ask(Ask(path="/exact")).allowed


@pytest.mark.parametrize("path", ["public/a", "admin", "orders.v1.Orders/Get", "*", " /public/a", "http://x/public/a"])
def test_path_07_a_path_begins_with_a_slash(server: Server, path: str) -> None:
    """CVE-2026-33186 of gRPC-Go: a path without its slash escaped rules, and was served."""
    assert_denied(server.ask(Ask(path=path)), AMBIGUOUS)


GRPC = [("content-type", "application/grpc")]


def rpc(path: str, content_type: str = "application/grpc") -> Ask:
    """A gRPC call."""
    return Ask(method="POST", path=path, headers=[("content-type", content_type)], protocol="HTTP/2")


@pytest.mark.parametrize(
    "path",
    [
        *("/orders.v1.Orders/get", "/orders.v1.orders/Get", "/orders.v1.Orders/Get/", "/orders.v1.Orders/Get/x"),
        *("/orders.v1.Orders", "/x/orders.v1.Orders/Get", "/orders.v1.Orders/Get?x=1", "/orders.v1.Orders/Put"),
    ],
)
def test_path_08_a_grpc_method_is_exact_for_allow_rules(server: Server, path: str) -> None:
    """Two segments, no query, with case."""
    assert not server.ask(rpc(path)).allowed
    assert server.ask(rpc("/orders.v1.Orders/Get")).allowed


@pytest.mark.parametrize("path", ["/orders.v1.Orders/Wipe", "/ORDERS.V1.orders/wipe", "/orders.v1.Orders/WIPE/"])
@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc-web+proto", "application/connect+json", ""]
)
def test_path_08_a_grpc_deny_rule_goes_by_the_path_in_any_case(server: Server, path: str, content_type: str) -> None:
    """Whatever the client says that it speaks."""
    assert_denied(server.ask(rpc(path, content_type)), Reason.DENIED_BY_RULE, Reason.MALFORMED_REQUEST)


def test_path_09_connect_has_no_path_and_needs_a_rule(server: Server) -> None:
    """No rule here names CONNECT."""
    assert_denied(server.ask(Ask(method="CONNECT", path="")), Reason.NO_RULE_ALLOWS)
    assert_denied(server.ask(Ask(method="GET", path="")), AMBIGUOUS)


@pytest.mark.parametrize(
    "name",
    [
        *("x-envoy-original-path", "x-forwarded-uri", "x-original-url", "x-rewrite-url", "x-http-method-override"),
        *("x-original-uri", "x-forwarded-path", "x-method-override", "x-http-method"),
    ],
)
def test_path_10_no_header_feeds_path_or_method(server: Server, name: str) -> None:
    """Neither to allow what is denied, nor the other way round."""
    shown = "GET" if "method" in name else "/public/a"
    assert not server.ask(Ask(method="POST", path="/list", headers=[(name, shown)])).allowed
    hidden = "DELETE" if "method" in name else "/admin"
    outcome = server.ask(Ask(headers=[(name, hidden)]))
    assert outcome.allowed
    assert (outcome.record["method"], outcome.record["path"]) == ("GET", "/public/a")


@pytest.mark.parametrize(
    "path", ["/healthz", "/health", "/ready", "/metrics", "/favicon.ico", "/.well-known/x", "/ping"]
)
@pytest.mark.parametrize("agent", ["kube-probe/1.30", "Envoy/HC", "GoogleHC/1.0", "ELB-HealthChecker/2.0"])
def test_path_11_nothing_skips_the_policies(server: Server, path: str, agent: str) -> None:
    """No path and no user agent has a way of its own."""
    headers = [("user-agent", agent), ("x-envoy-internal", "true"), ("x-envoy-healthcheck", "1")]
    assert not server.ask(Ask(path=path, headers=headers)).allowed


@pytest.mark.parametrize("query", ["a=%2f..%2fadmin", "a=1&/../admin", "/..;/admin", "a=%", "%00", "a=%252e%252e//"])
def test_path_12_lenient_the_query_has_no_readings(lenient: Server, query: str) -> None:
    """It is no part of the path, in any of its readings."""
    assert lenient.ask(Ask(path=f"/public/a%2Fb?{query}")).allowed
    assert_denied(lenient.ask(Ask(path=f"/public/a%2F..%2F..%2Fadmin?{query}")), Reason.DENIED_BY_RULE)


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        *(
            ("a=1", True),
            ("a=1&a=2", False),
            ("a=2&a=1", False),
            ("a=1;a=2", False),
            ("a=1%00", False),
            ("a=+1", False),
        ),
        *(("a=1&b=2", True), ("b=2", False), ("A=1", False), ("a=%31", True), ("a", False), ("a=1&a", False)),
    ],
)
def test_path_12_a_query_parameter_is_a_list(server: Server, query: str, allowed: bool) -> None:
    """A second value is seen, and the path patterns never see the query."""
    assert server.ask(Ask(path=f"/search?{query}")).allowed is allowed
    assert not server.ask(Ask(path=f"/searching?{query}&/search")).allowed
    assert server.ask(Ask(path=f"/public/a?{query}&x=/admin")).allowed
