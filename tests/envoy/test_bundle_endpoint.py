"""Trust bundles that the server fetches, through a real Envoy."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from authz_server.dev.ca import create_ca, load_ca
from authz_server.dev.waiting import wait_until
from tests.builders import spiffe_bundle
from tests.envoy.clients import Ask, http1
from tests.envoy.identities import TRUST_DOMAIN
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, admin_get, running_stack
from tests.unit.control.issuer_server import IssuerServer, answer, issuer_server

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


class Scene(NamedTuple):
    """A stack, and the endpoint that its bundles come from."""

    stack: Stack
    endpoint: IssuerServer

    def reply_to(self, caller: str | None) -> tuple[int, str | None]:
        """Status and reason."""
        reply = http1(self.stack.identities.caller(caller), self.stack.port, Ask())
        return reply.status, reply.reason


@pytest.fixture(scope="module", name="scene")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with issuer_server() as endpoint:
        for path in ("/shop", "/other"):
            endpoint.answers[path] = answer(b"", 503)
        domains = {
            TRUST_DOMAIN: {"bundle": {"url": f"{endpoint.url}/shop"}},
            "other.example": {"bundle": {"url": f"{endpoint.url}/other"}},
        }
        variant = Variant(settings={"workloads": {"trust_domains": domains}})
        with running_stack(tmp_path_factory.mktemp("endpoint"), POLICIES, variant) as stack:
            yield Scene(stack, endpoint)


def test_each_domain_is_verified_with_its_own_fetched_bundle(scene: Scene) -> None:
    """Dark domains are named and refused; a certificate for one domain by the CA of another is no identity."""
    assert scene.reply_to("web") == (403, "workload_refused")
    _, ready = admin_get(scene.stack.directory, "/readyz")
    assert f"bundle {TRUST_DOMAIN} has no certificates" in ready
    ca = load_ca(scene.stack.identities.directory)
    scene.endpoint.serve("/other", spiffe_bundle(create_ca("other.example")))
    scene.endpoint.serve("/shop", spiffe_bundle(ca, spiffe_refresh_hint=10))
    wait_until(lambda: scene.reply_to("web")[0] == 200, EVENT_TIMEOUT_S, "the bundle to be fetched")
    wait_until(scene.stack.ready, EVENT_TIMEOUT_S, "the other bundle to be fetched")
    assert scene.reply_to("other-domain") == (403, "workload_refused")
    # What comes instead of a bundle changes nothing.
    failed = {"name": "authz_bundle_fetches_total", "trust_domain": TRUST_DOMAIN, "result": "failed"}
    before = scene.stack.metric(**failed)
    scene.endpoint.answers["/shop"] = answer(b"<html>")
    wait_until(lambda: scene.stack.metric(**failed) > before, EVENT_TIMEOUT_S, "a fetch that fails")
    assert scene.reply_to("web")[0] == 200
    # Another authority: what the old one signed is refused, although Envoy still accepts it.
    scene.endpoint.serve("/shop", spiffe_bundle(create_ca(TRUST_DOMAIN)))
    wait_until(lambda: scene.reply_to("web") == (403, "workload_refused"), EVENT_TIMEOUT_S, "the other authority")
