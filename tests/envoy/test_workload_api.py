"""Trust bundles from a Workload API, through a real Envoy."""

from collections.abc import Iterator
from ssl import PEM_cert_to_DER_cert

import pytest

from authz_server.dev.ca import create_ca, load_ca
from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, http1
from tests.envoy.identities import TRUST_DOMAIN
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, admin_get, running_stack
from tests.workload_api_server import WorkloadApi, workload_api

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: workloads
            effect: allow
            from: [{workloads: ["spiffe://shop.example/**", "spiffe://other.example/**"]}]
            to: [{paths: [/]}]
    """,
}


@pytest.fixture(scope="module", name="scene")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, WorkloadApi]]:
    directory = tmp_path_factory.mktemp("api")
    workloads = {
        "trust_domains": {domain: {"bundle": {"workload_api": True}} for domain in (TRUST_DOMAIN, "other.example")},
        "workload_api": f"unix://{directory}/agent.sock",
    }
    with (
        workload_api(directory / "agent.sock") as api,
        running_stack(directory, POLICIES, Variant({"workloads": workloads})) as stack,
    ):
        yield stack, api


def test_each_domain_is_verified_with_its_own_bundle_as_it_is_now(scene: tuple[Stack, WorkloadApi]) -> None:
    """ID-08, ID-12: nobody without one; who is signed by another domain's CA; and after the authority has changed."""
    stack, api = scene

    def reply_to(caller: str) -> tuple[int, str | None]:
        reply = http1(stack.identities.caller(caller), stack.port, Ask())
        return reply.status, reply.reason

    refused = (403, "workload_refused")
    assert reply_to("web") == refused
    assert f"bundle {TRUST_DOMAIN} has no certificates" in admin_get(stack.directory, "/readyz")[1]
    ours = PEM_cert_to_DER_cert(load_ca(stack.identities.directory).bundle_pem)
    other = PEM_cert_to_DER_cert(create_ca("other.example").bundle_pem)
    api.tell({TRUST_DOMAIN: ours, "other.example": other})
    wait_until(lambda: reply_to("web")[0] == 200, EVENT_TIMEOUT_S, "the bundle")
    wait_until(stack.ready, EVENT_TIMEOUT_S, "all bundles")
    # Its certificate is good to Envoy: the CA of the first domain has signed it.
    assert reply_to("other-domain") == refused
    # Another authority beside ours, and then alone.
    fresh = PEM_cert_to_DER_cert(create_ca(TRUST_DOMAIN).bundle_pem)
    api.tell({TRUST_DOMAIN: fresh + ours, "other.example": other})
    assert reply_to("web")[0] == 200
    api.tell({TRUST_DOMAIN: fresh, "other.example": other})
    wait_until(lambda: reply_to("web") == refused, EVENT_TIMEOUT_S, "the other authority")
    # A stream that ends takes nothing back, and the next one tells the latest.
    api.tell({TRUST_DOMAIN: ours, "other.example": other})
    wait_until(lambda: reply_to("web")[0] == 200, EVENT_TIMEOUT_S, "the first authority again")
    api.hang_up()
    assert reply_to("web")[0] == 200
    api.certificates = {}
    wait_until(lambda: reply_to("web") == refused, EVENT_TIMEOUT_S, "a domain that is not named any more")
