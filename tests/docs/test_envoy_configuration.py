"""What the README says about an Envoy that one already has is a configuration that Envoy accepts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz_server.control.endpoints import EndpointsFile
from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream
from authz_server.worker.address import TcpAddress
from tests.docs.markdown import ROOT, blocks_of

README = ROOT / "README.md"
MANAGER_TYPE = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def _parts() -> dict[str, Any]:
    blocks = [block for block in blocks_of(README) if "envoy" in block.attributes]
    return {block.attributes["envoy"]: yaml.safe_load(block.text) for block in blocks}


def _around(parts: dict[str, Any], endpoints: Path) -> dict[str, Any]:
    """The smallest Envoy that has the parts of the README in it."""
    cluster = parts["cluster"]
    cluster["eds_cluster_config"]["eds_config"]["path_config_source"] = {
        "path": str(endpoints),
        "watched_directory": {"path": str(endpoints.parent)},
    }
    manager = {
        "@type": MANAGER_TYPE,
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"]}]},
        "http_filters": [
            parts["http_filter"],
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER_TYPE}},
        ],
        **parts["connection_manager"],
    }
    listener = {
        "name": "edge",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    node = {"id": "edge", "cluster": "edge"}
    return {"node": node, "static_resources": {"listeners": [listener], "clusters": [cluster]}}


def test_envoy_accepts_what_the_readme_says(tmp_path: Path) -> None:
    """The filter, the cluster and the hardening stand together in a configuration that Envoy validates."""
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if envoy is None:
        pytest.skip("needs Envoy, which `make install` brings on Linux")
    configuration = tmp_path / "envoy.yaml"
    endpoints = tmp_path / "endpoints.yaml"
    EndpointsFile(endpoints).write({0: TcpAddress("127.0.0.1", 9001)})
    configuration.write_text(yaml.safe_dump(_around(_parts(), endpoints)))
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", str(configuration)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr


def test_the_readme_wires_envoy_as_our_own_configuration_does() -> None:
    """Whatever the README says stands in what `authz envoy config` writes as well."""
    written = yaml.safe_load(to_yaml(EnvoySettings(endpoints_file="/run/authz/endpoints.yaml")))
    [cluster] = written["static_resources"]["clusters"]
    [listener] = written["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    own = {"cluster": cluster, "connection_manager": manager, "http_filter": manager["http_filters"][0]}
    assert _missing(_parts(), own) == []


def test_the_page_about_bodies_wires_envoy_as_our_own_configuration_does() -> None:
    """Where the policies of one host read bodies, and those of another do not."""
    [block] = [block for block in blocks_of(ROOT / "docs" / "bodies.md") if "envoy" in block.attributes]
    upstreams = (
        Upstream("orders.shop.example", Address("127.0.0.1", 8080), body=True),
        Upstream("web.shop.example", Address("127.0.0.1", 8081)),
    )
    [listener] = yaml.safe_load(to_yaml(EnvoySettings(upstreams=upstreams)))["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    own = {"http_filters": manager["http_filters"][:1], "virtual_hosts": manager["route_config"]["virtual_hosts"]}
    assert _missing(yaml.safe_load(block.text), own) == []


def _missing(said: object, written: object, place: str = "") -> list[str]:
    """Where the first says something that the second does not."""
    if isinstance(said, dict) and isinstance(written, dict):
        return [
            missing for name, value in said.items() for missing in _missing(value, written.get(name), f"{place}.{name}")
        ]
    if isinstance(said, list) and isinstance(written, list) and len(said) == len(written):
        return [missing for pair in zip(said, written, strict=True) for missing in _missing(*pair, place)]
    # A number or bool that is not written is zero or false (protobuf).
    same = not said if written is None else _plain(said) == _plain(written)
    return [] if same else [f"{place}: {said!r}, but {written!r}"]


def _plain(value: object) -> object:
    """A duration as seconds, whichever way it is written."""
    duration = re.fullmatch(r"([0-9.]+)s", value) if isinstance(value, str) else None
    return float(duration[1]) if duration else value
