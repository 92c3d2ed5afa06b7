"""The Envoys that attacks go through: hardened or with its defaults, and lenient about failures of ours or not."""

from collections.abc import Iterator, Mapping

import pytest

from tests.envoy.stack import Stack, Variant, running_stack
from tests.security.server import Server

FAILURES_PASS = {"failure_mode_allow: false": "failure_mode_allow: true"}
# What Envoy does unless it is told otherwise.
DEFAULTS = {
    "normalize_path: true": "normalize_path: false",
    "merge_slashes: true": "merge_slashes: false",
    "path_with_escaped_slashes_action: REJECT_REQUEST": "path_with_escaped_slashes_action: KEEP_UNCHANGED",
    "headers_with_underscores_action: REJECT_REQUEST": "headers_with_underscores_action: ALLOW",
}
ENVOYS: Mapping[str, Mapping[str, str]] = {
    "hardened": {},
    "defaults": DEFAULTS,
    "hardened, failures pass": FAILURES_PASS,
    "defaults, failures pass": {**DEFAULTS, **FAILURES_PASS},
}
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-public-part
            effect: allow
            from: anyone
            to: [{methods: [GET], paths: ["/public/**"]}]
          - id: workloads-list
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/sa/web"]}]
            to: [{methods: [GET], paths: ["/list"]}]
            when: request.header_values["x-items"].all(item, item != "forbidden")
          - id: nobody-administers
            effect: deny
            to: [{paths: ["/admin", "/admin/**"]}]
          - id: no-bad-items
            effect: deny
            to: [{paths: ["/public/items"]}]
            when: request.header_values["x-items"].filter(item, item in request.header_values["x-items"]).size() > 0
    """,
}
POLICIES["lenient.yaml"] = (
    POLICIES["orders.yaml"]
    .replace("name: orders", "name: lenient\n        paths: lenient")
    .replace("hosts: [orders", "hosts: [lenient")
)


@pytest.fixture(scope="session", params=list(ENVOYS.values()), ids=list(ENVOYS))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with each of the Envoys."""
    with running_stack(tmp_path_factory.mktemp("security"), POLICIES, Variant(envoy=request.param)) as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A Check in this process; tests that load something else into it make one of their own."""
    return Server(tmp_path_factory.mktemp("server"))
