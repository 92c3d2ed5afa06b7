"""Envoy with our configuration, but without TLS, and with an answer of its own in place of a service behind it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml
from betterproto2 import Casing

from authz_server.dev.demo import DemoError, installed_envoy
from authz_server.dev.processes import child
from authz_server.dev.waiting import wait_until
from authz_server.envoy.config import bootstrap
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream
from benchmarks.errors import CannotMeasure
from benchmarks.policies import HOST
from benchmarks.servers import LOOPBACK, Server

THREADS = 2
_START_S = 60.0
_EXT_AUTHZ = "envoy.filters.http.ext_authz"


@contextmanager
def envoy(directory: Path, server: Server | None) -> Iterator[int]:
    """Envoy that asks this server, or nobody; gives its port for HTTP/1.1 on loopback. Raises CannotMeasure."""
    directory.mkdir()
    config, admin, log = directory / "envoy.yaml", directory / "admin.txt", directory / "log"
    config.write_text(yaml.safe_dump(_configuration(None if server is None else server.addresses)))
    try:
        program = installed_envoy()
    except DemoError as error:
        raise CannotMeasure(str(error)) from None
    flags = ["--disable-hot-restart", "--concurrency", str(THREADS), "-l", "warning"]
    with child([program, "-c", str(config), "--admin-address-path", str(admin), *flags], log) as process:

        def ready() -> bool:
            if process.poll() is not None:
                raise CannotMeasure(f"Envoy has ended; it said:\n{log.read_text()}")
            text = admin.read_text() if admin.exists() else ""
            return bool(text) and httpx2.get(f"http://{text}/ready", trust_env=False).is_success

        wait_until(ready, _START_S, "Envoy to be ready")
        listeners = httpx2.get(f"http://{admin.read_text()}/listeners?format=json", trust_env=False).json()
        yield listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"]


def _configuration(check: Sequence[str] | None) -> dict[str, Any]:
    anywhere = Address(LOOPBACK, 0)
    # Two cores are shared with everything else here: a slow answer is no failure.
    settings = EnvoySettings(
        listener=anywhere, admin=anywhere, upstreams=(Upstream(HOST, anywhere),), check_timeout_s=5.0
    )
    document: dict[str, Any] = bootstrap(settings).to_dict(casing=Casing.SNAKE)
    resources = document["static_resources"]
    _simplify(resources["listeners"][0], asks=check is not None)
    authz = next(cluster for cluster in resources["clusters"] if cluster["name"] == "authz")
    # The constant server knows nothing of health.
    for name in ("health_checks", "eds_cluster_config"):
        del authz[name]
    endpoints = [{"endpoint": {"address": _address(each)}} for each in check or ()]
    authz["type"] = "STATIC"
    authz["load_assignment"] = {"cluster_name": "authz", "endpoints": [{"lb_endpoints": endpoints}]}
    resources["clusters"] = [authz]
    return document


def _simplify(listener: dict[str, Any], *, asks: bool) -> None:
    # h2load has no client certificate to show; and handshakes, logs and a service are not what is measured.
    del listener["listener_filters"], listener["access_log"]
    [chain] = listener["filter_chains"]
    for name in ("transport_socket", "transport_socket_connect_timeout"):
        del chain[name]
    manager = chain["filters"][0]["typed_config"]
    del manager["access_log"]
    if not asks:
        manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] != _EXT_AUTHZ]
    [host] = manager["route_config"]["virtual_hosts"]
    host["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}]


def _address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
