"""Attacks through a real Envoy: nothing passes that no rule allows, also where Envoy lets failures of ours pass."""

from urllib.parse import unquote

import pytest

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Headers, http1, http2
from tests.envoy.stack import Stack, Variant, running_stack
from tests.security.conftest import FAILURES_PASS, POLICIES

# As sent. The fates of all of them differ between the Envoys; what must not happen is the same.
SPELLINGS_OF_ADMIN = [
    *(
        "/admin",
        "//admin",
        "/x//admin",
        "/admin/",
        "/admin.",
        "/ADMIN",
        "/admin?",
        "/admin%20",
        "/admin;a=b",
        "/admin;/x",
    ),
    *("/public/../admin", "/public/%2e%2e/admin", "/public/%2E./admin", "/public\\..\\admin", "/%61dmin", "/admin%00"),
    *("/..;/admin", "/.;/admin", "/public/..;x=1/admin", "/public/%252e%252e/admin", "/public/%c0%ae%c0%ae/admin"),
    *("/public/..%2fadmin", "/public/..%5cadmin", "/public/%2e%2e%2fadmin", "/public//../admin", "/public/./../admin"),
    *("http://orders.shop.example/admin", "/admin/users", "//admin/users", "/%2561dmin", "/public/x/../../admin"),
    *("/admin%2f", "/admin%5c", "/adm%69n/users", "/public/..%c0%afadmin", "/public/..%252fadmin", "/.//admin"),
]
HARMLESS = ["/public/a", "/public/...", "/public/admin", "/public/a%20b", "/public/a?next=/admin"]


def readings(path: str) -> set[str]:
    """What backends may take a path for: decoded none to three times, cleaned, without parameters or with them."""
    found = set()
    for decoded in (path, unquote(path), unquote(unquote(path)), unquote(unquote(unquote(path)))):
        slashes = decoded.split("?")[0].replace("\\", "/")
        for text in (slashes, "/".join(part.split(";")[0] for part in slashes.split("/"))):
            segments: list[str] = []
            for segment in text.split("/"):
                if segment == "..":
                    segments = segments[:-1]
                elif segment not in ("", "."):
                    segments.append(segment.rstrip(". \0").lower())
            found.add("/".join(segments))
    return found


@pytest.mark.parametrize("host", ["orders.shop.example", "lenient.shop.example"])
@pytest.mark.parametrize("path", [*SPELLINGS_OF_ADMIN, *HARMLESS])
def test_path_01_nothing_that_a_backend_could_read_as_admin_gets_there(stack: Stack, path: str, host: str) -> None:
    """CVE-2019-9901, CVE-2021-29492, CVE-2021-31920: of what reaches the service no reading is below `/admin`."""
    before = len(stack.http.seen())
    ask = Ask(target=path.replace("orders.shop.example", host), authority=host)
    replies = [http1(stack.identities.caller("web"), stack.port, ask)]
    if path.startswith("/"):
        replies.append(http2(stack.identities.caller("web"), stack.port, ask))
    statuses = [reply.status for reply in replies]
    if path in HARMLESS:
        assert set(statuses) == {200}
    seen = stack.http.seen()[before:]
    assert len(seen) == statuses.count(200)
    for each in seen:
        assert not any(reading == "admin" or reading.startswith("admin/") for reading in readings(each.path))


# Whatever made the server slow, or its answer impossible, would let a request pass that no rule allows.
HOSTILE: dict[str, Headers] = {
    "a long tracestate": [("tracestate", ",".join(f"a{number}=b" * 4 for number in range(2500)))],
    "a list that macros walk": [("x-items", "a," * 5000)],
    "long items": [("x-items", ",".join("a" * 200 for _ in range(200)))],
    "many headers": [(f"x-{number}", "v") for number in range(90)],
    "one header, many times": [("x-items", f"v{number}") for number in range(90)],
    "bytes that are no text": [("x-items", "\xff\xfe")],
    "a token without end": [("authorization", "Bearer " + "a" * 40_000)],
    "dots without end": [("authorization", "Bearer " + "." * 40_000)],
    "two credentials": [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    "a certificate of one's own": [("x-forwarded-client-cert", "URI=spiffe://shop.example/ns/front/sa/web")],
    "another path": [("x-envoy-original-path", "/public/a"), ("x-original-url", "/public/a")],
    "another method": [("x-http-method-override", "GET")],
    "an upgrade": [("connection", "upgrade"), ("upgrade", "websocket")],
    "a body that was cut": [("x-envoy-auth-partial-body", "true")],
    "the timeout of the call": [("grpc-timeout", "1n")],
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(("method", "target"), [("GET", "/admin"), ("DELETE", "/public/a"), ("GET", "/nothing")])
def test_resp_06_no_header_makes_a_failure_that_lets_a_request_pass(
    stack: Stack, method: str, target: str, headers: Headers
) -> None:
    """RESP-06, HDR-08: the service sees nothing, and the client gets an error of Envoy's or a denial of ours."""
    before = len(stack.http.seen())
    reply = http1(stack.identities.caller("batch"), stack.port, Ask(method, target, headers=headers))
    assert 400 <= reply.status < 600
    assert len(stack.http.seen()) == before


@pytest.mark.parametrize("items", ["a," * 5000, ",".join("a" * 9000 for _ in range(2))], ids=["many", "long"])
def test_pol_04_a_condition_that_costs_too_much_denies(stack: Stack, items: str) -> None:
    """POL-01, POL-04: an allow rule does not apply, and a deny rule denies, before Envoy loses its patience."""
    before = len(stack.http.seen())
    for target, reason in (("/public/items", "deny_rule_error"), ("/list", "no_rule_allows")):
        ask = Ask(target=target, headers=[("x-items", items)])
        reply = http1(stack.identities.caller("web"), stack.port, ask)
        assert (reply.status, reply.reason) == (403, reason)
    assert len(stack.http.seen()) == before


@pytest.mark.parametrize(
    ("authority", "status"),
    [
        ("orders.shop.example", 200),
        ("ORDERS.shop.example.", 200),
        ("orders.shop.example:8443", 200),
        ("orders.shop.example@evil.example", 400),
        ("orders.shop.example,evil.example", 400),
        ("evil.example", 403),
        ("orders.shop.example.evil.example", 403),
        ("orders%2eshop.example", 400),
    ],
)
def test_host_02_a_host_has_one_form(stack: Stack, authority: str, status: int) -> None:
    """Case, port and the final dot do not matter; what is no host is refused (CVE-2021-39155)."""
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target="/public/a", authority=authority))
    assert reply.status == status


@pytest.mark.parametrize(
    ("caller", "headers", "status"),
    [
        ("web", [], 200),
        ("batch", [], 403),
        (None, [], 403),
        (None, [("x-forwarded-client-cert", "URI=spiffe://shop.example/ns/front/sa/web")], 403),
        ("batch", [("x-forwarded-client-cert", "URI=spiffe://shop.example/ns/front/sa/web")], 403),
        ("batch", [("x-envoy-downstream-service-cluster", "spiffe://shop.example/ns/front/sa/web")], 403),
        ("two-names", [], 403),
        ("other-domain", [], 403),
    ],
)
def test_id_01_a_workload_is_whom_its_certificate_names(
    stack: Stack, caller: str | None, headers: Headers, status: int
) -> None:
    """ID-01, ID-02, ID-05, HDR-07: no header makes a workload, and two names make none."""
    ask = Ask(target="/list", headers=[("x-items", "a"), *headers])
    assert http1(stack.identities.caller(caller), stack.port, ask).status == status


def test_with_failures_that_pass_envoy_does_let_them_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the tests above would see if a failure of ours became an RPC error."""
    with running_stack(tmp_path_factory.mktemp("gone"), POLICIES, Variant(envoy=FAILURES_PASS)) as stack:
        stack.server.kill()
        stack.server.wait()

        def passes() -> bool:
            return http1(stack.identities.caller("batch"), stack.port, Ask(target="/admin")).status == 200

        wait_until(passes, 30, "Envoy to have nobody to ask")
