"""A route that demands a minimum revision is denied by workers whose policies are older."""

import json
from pathlib import Path

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, http1
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, admin_get

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: everybody-reads
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{methods: [GET]}]
    """,
    "revision.yaml": """
        kind: revision
        number: 41
    """,
}
LINE = "ignore_port_in_host_matching: true"
DEMAND = """typed_per_filter_config:
              envoy.filters.http.ext_authz:
                "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                check_settings: {context_extensions: {min_revision: "42"}}"""
VARIANT = Variant(envoy={LINE: f"{LINE}\n            {DEMAND}"})
READ = Ask("GET", "/orders")


def number(path: Path, value: int) -> None:
    """Give the policies another number."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"kind: revision\nnumber: {value}\n")
    draft.replace(path)


def number_that_decides(stack: Stack) -> int:
    """As the server says."""
    return int(json.loads(admin_get(stack.directory, "/readyz")[1])["policies"]["number"])


def test_a_route_is_served_from_the_revision_on_that_it_demands(stack: Stack) -> None:
    """Denied at once before it, with the reason on record; allowed from it on; denied again after a way back."""
    web = stack.identities.caller("web")

    def status() -> int:
        return http1(web, stack.port, READ).status

    assert status() == 503
    record = stack.record(decision="deny")
    assert (record["reason"], record["path"]) == ("not_ready", "/orders")
    assert record["detail"] == "the route demands revision 42, and the policies are of 41"
    for value, expected in ((42, 200), (1000, 200), (41, 503)):
        number(stack.policies / "revision.yaml", value)
        wait_until(lambda: number_that_decides(stack) == value, EVENT_TIMEOUT_S, f"revision {value}")  # noqa: B023
        assert status() == expected
