"""The doctor beside real Envoys: faults that are planted are found in the file and in the running Envoy."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: ["*"]
        rules:
          - {id: web, effect: allow, from: [{workloads: ["spiffe://shop.example/**"]}]}
    """,
}
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
DISABLED = f"{{envoy.filters.http.ext_authz: {{'@type': {PER_ROUTE}, disabled: true}}}}"
PLANTED = {
    "failure_mode_allow: false": "failure_mode_allow: true",
    "include_peer_certificate: true": "include_peer_certificate: false",
    "clear_route_cache: false": "clear_route_cache: true",
    "normalize_path: true": "normalize_path: false",
    "              - remove: x-authz-decision-id\n": (
        "              - remove: x-authz-decision-id\n              - remove: host\n"
    ),
    "disable_stateful_session_resumption: true": "disable_stateful_session_resumption: false",
    "          - name: envoy.filters.http.router": (
        f"          - name: lua\n            typed_config: {{'@type': {LUA}}}\n"
        "          - name: envoy.filters.http.router"
    ),
    "              - match:\n                  prefix: /\n": (
        f"              - match:\n                  prefix: /\n                typed_per_filter_config: {DISABLED}\n"
    ),
}
CODES = {
    *("failure_mode_allow", "no_peer_certificate", "clear_route_cache", "path_not_normalized", "session_resumption"),
    *("filter_after", "disabled_on_route", "header_removed_before"),
}


@pytest.fixture(scope="module", params=["good", "bad"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An Envoy with what we write, and one with faults that it accepts."""
    variant = Variant(envoy=PLANTED if request.param == "bad" else {})
    with running_stack(tmp_path_factory.mktemp(request.param), POLICIES, variant) as running:
        yield running


def doctor(stack: Stack, *source: str) -> tuple[int, dict[str, Any]]:
    """What the doctor says."""
    command = [sys.executable, "-m", "authz_server", "doctor", *source, "--json"]
    command += ["--config", str(stack.directory / "authz.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return done.returncode, found


@pytest.mark.parametrize("running", [False, True])
def test_planted_faults_are_found(stack: Stack, running: bool) -> None:
    """In the file that Envoy was started with, and in what it says of itself; nothing is found in what we write."""
    admin = (stack.directory / "envoy-admin.txt").read_text()
    code, found = doctor(stack, *(["--envoy", admin] if running else [str(stack.directory / "envoy.yaml")]))
    bad = "failure_mode_allow: true" in (stack.directory / "envoy.yaml").read_text()
    assert {finding["code"] for finding in found["findings"]} == (CODES if bad else set())
    assert code == (1 if bad else 0)
    assert found["not_seen"] == []
