"""Certificates are renewed while requests run, and nobody notices."""

import socket
from contextlib import closing

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import LOOPBACK, SERVER_NAME, TIMEOUT_S, Ask, Caller, http1
from tests.envoy.stack import Stack
from tests.envoy.traffic import traffic

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-front-reads-orders
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{paths: ["/orders"]}]
    """
}
READ_ORDERS = Ask("GET", "/orders")


def served_certificate(caller: Caller, port: int) -> bytes | None:
    """The certificate that Envoy shows on a fresh connection, as DER."""
    with socket.create_connection((LOOPBACK, port), TIMEOUT_S) as plain:
        tls = caller.context("http/1.1").wrap_socket(plain, server_hostname=SERVER_NAME)
        with closing(tls):
            return tls.getpeercert(binary_form=True)


def test_renewed_certificates_are_taken_up_and_no_request_fails(stack: Stack) -> None:
    """Envoy shows the fresh certificate on the next connection; a caller's old one is good until it expires."""
    anybody = stack.identities.caller(None)
    old_caller = stack.identities.keep("web")
    before = served_certificate(anybody, stack.port)
    with traffic(old_caller, stack.port, READ_ORDERS, reconnect=True) as requests:
        stack.identities.renew()
        wait_until(lambda: served_certificate(anybody, stack.port) != before, 20, "Envoy's fresh certificate")
        requests.wait_for_more()
    assert requests.failures() == []
    assert set(requests.statuses()) == {200}
    assert http1(stack.identities.caller("web"), stack.port, READ_ORDERS).status == 200
