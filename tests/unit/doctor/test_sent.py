"""What keeps bodies and metadata from rules that read them is found, and nothing in what we write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream
from tests.unit.doctor.test_examine import PER_ROUTE, SETTINGS, ext_authz, findings, host, on_route

Config = dict[str, Any]
FILTER = "envoy.filters.http.ext_authz"
POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    body: json
    rules:
      - {id: small, effect: allow, from: anyone, when: 'body.amount < 100 && metadata["a.b"].tier == "gold"'}
"""
WITH_METADATA = SETTINGS | {"metadata": {"namespaces": ["a.b"]}}


def generated() -> Config:
    """What `authz envoy config` writes for these policies."""
    upstream = Upstream("orders.shop.example", Address("127.0.0.1", 8080), body=True)
    check = (Address("127.0.0.1", 9001),)
    settings = EnvoySettings(upstreams=(upstream,), check_addresses=check, metadata=("a.b",))
    written: Config = yaml.safe_load(to_yaml(settings))
    return written


def codes(config: Config, directory: Path) -> list[str]:
    """What is found."""
    return [finding.code for finding in findings(config, directory, WITH_METADATA, policy=POLICY)]


def test_what_we_write_sends_everything(tmp_path: Path) -> None:
    """Bodies as bytes, how much of them, and the namespaces."""
    assert codes(generated(), tmp_path) == []


def _of_routes(config: Config) -> list[Config]:
    """The parts that say something of their own to the filter."""
    text = yaml.safe_dump(config)
    assert "max_request_bytes" in text
    found: list[Config] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "context_extensions" in value:
                found.append(value["context_extensions"])
            for below in value.values():
                walk(below)
        elif isinstance(value, list):
            for below in value:
                walk(below)

    walk(config)
    return found


def without_bodies(config: Config) -> None:
    """The filter sends none."""
    ext_authz(config).pop("with_request_body")


def as_text(config: Config) -> None:
    """The filter sends them as text."""
    ext_authz(config)["with_request_body"].pop("pack_as_bytes")


def unsaid(config: Config) -> None:
    """No route says how much is sent."""
    for extensions in _of_routes(config):
        extensions.pop("max_request_bytes", None)


def wrong(config: Config) -> None:
    """Less is sent than a route says."""
    ext_authz(config)["with_request_body"]["max_request_bytes"] = 10


def bytes_on_a_host_alone(config: Config) -> None:
    """Envoy heeds `pack_as_bytes` of the filter only."""
    body = ext_authz(config).pop("with_request_body")
    host(config)["typed_per_filter_config"][FILTER]["check_settings"]["with_request_body"] = body


def switched_off(config: Config) -> None:
    """A route of a host that says that bodies are sent."""
    on_route({"@type": PER_ROUTE, "check_settings": {"disable_request_body_buffering": True}})(config)


def without_metadata(config: Config) -> None:
    """The filter sends none."""
    ext_authz(config).pop("metadata_context_namespaces")


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        (without_bodies, "body_withheld"),
        (as_text, "body_as_text"),
        (unsaid, "body_bound_unsaid"),
        (wrong, "body_bound_wrong"),
        (bytes_on_a_host_alone, "body_as_text"),
        (switched_off, "body_bound_wrong"),
        (without_metadata, "metadata_withheld"),
    ],
)
def test_each_fault_is_found(tmp_path: Path, plant: Callable[[Config], None], code: str) -> None:
    """And no other."""
    config = generated()
    plant(config)
    assert codes(config, tmp_path) == [code]


def test_a_route_may_take_back_that_bodies_are_sent(tmp_path: Path) -> None:
    """Then nobody takes a body that is kept back for none."""
    config = generated()
    settings = {"disable_request_body_buffering": True, "context_extensions": {"max_request_bytes": ""}}
    on_route({"@type": PER_ROUTE, "check_settings": settings})(config)
    assert codes(config, tmp_path) == []
