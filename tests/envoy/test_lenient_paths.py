"""Lenient paths through a real Envoy: with its defaults, which keep every path, and where it refuses escapes."""

from collections.abc import Iterator

import pytest

from tests.envoy.clients import Ask, http1, http2
from tests.envoy.stack import Stack, Variant, running_stack

DEFAULTS = {
    "path_with_escaped_slashes_action: REJECT_REQUEST": "path_with_escaped_slashes_action: KEEP_UNCHANGED",
    "normalize_path: true": "normalize_path: false",
    "merge_slashes: true": "merge_slashes: false",
}
ENVOYS = {"defaults": DEFAULTS, "hardened": {}}
RULES = """
        rules:
          - {id: files, effect: allow, from: anyone, to: [{methods: [GET], paths: ["/files/**"]}]}
          - {id: notes, effect: allow, from: anyone, to: [{methods: [GET], paths: ["/notes/{name}"]}]}
          - {id: no-admin, effect: deny, to: [{paths: ["/admin", "/admin/**"]}]}
"""
POLICIES = {
    "store.yaml": f"""
        kind: service
        name: store
        hosts: [store.shop.example]
        paths: lenient
{RULES}
    """,
    "strict.yaml": f"""
        kind: service
        name: strict
        hosts: [strict.shop.example]
{RULES}
    """,
}


@pytest.fixture(scope="module", params=ENVOYS)
def envoy(request: pytest.FixtureRequest) -> str:
    """The name of the Envoy."""
    return str(request.param)


@pytest.fixture(scope="module")
def stack(envoy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with each of the Envoys."""
    with running_stack(tmp_path_factory.mktemp("lenient"), POLICIES, Variant(envoy=ENVOYS[envoy])) as running:
        yield running


@pytest.mark.parametrize("send", [http1, http2])
@pytest.mark.parametrize(
    "path", ["/files/a%2Fb", "/files/a%252Fb%20c", "/files/a;v=1/b", "/files/a%3Fb", "/notes/a%20b"]
)
def test_what_every_reading_allows_arrives_as_it_was_sent(stack: Stack, envoy: str, path: str, send: object) -> None:
    """The service decides what it means; where Envoy refuses escaped slashes, they are not asked about."""
    before = len(stack.http.seen())
    ask = Ask(target=path, authority="store.shop.example")
    reply = (http1 if send is http1 else http2)(stack.identities.caller("web"), stack.port, ask)
    if envoy == "hardened" and "%2F" in path:
        assert (reply.status, reply.decision_id) == (400, None)
        assert len(stack.http.seen()) == before
        return
    assert reply.status == 200
    assert stack.http.seen()[-1].path == path
    record = stack.record(request_id=reply.json()["headers"]["x-request-id"])
    # Parameters are not on record, in whatever form.
    assert (record["decision"], record["path"]) == ("allow", path.partition(";")[0].partition("%3F")[0])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/files/..%2fadmin", "denied_by_rule"),
        ("/files/..%5Cadmin/x", "denied_by_rule"),
        ("/files/..;/admin", "denied_by_rule"),
        ("/files/%252e%252e/admin", "denied_by_rule"),
        ("/files/x%252f..%252f..%252fADMIN", "denied_by_rule"),
        ("/files/..%2fother", "no_rule_allows"),
        ("/notes/a%2Fb", "no_rule_allows"),
        ("/notes/a%252fb", "no_rule_allows"),
        ("/files/a%2500", "ambiguous_path"),
        ("/files/%c0%ae%c0%ae/admin", "ambiguous_path"),
        ("/files/a%25252fb", "ambiguous_path"),
    ],
)
def test_what_some_reading_denies_does_not_arrive(stack: Stack, envoy: str, path: str, reason: str) -> None:
    """PATH-01, PATH-03, PATH-04: whatever is left of it after Envoy."""
    before = len(stack.http.seen())
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target=path, authority="store.shop.example"))
    refused = envoy == "hardened" and any(escape in path.lower() for escape in ("%2f", "%5c"))
    assert (reply.status, reply.reason) == (400, None) if refused else reply.reason == reason
    assert len(stack.http.seen()) == before


@pytest.mark.parametrize("path", ["/files/a%2Fb", "/files/a;v=1/b", "/files/a%252Fb"])
def test_a_strict_service_beside_it_stays_strict(stack: Stack, path: str) -> None:
    """Also where Envoy lets everything through."""
    before = len(stack.http.seen())
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target=path, authority="strict.shop.example"))
    assert reply.status == 400
    assert len(stack.http.seen()) == before
