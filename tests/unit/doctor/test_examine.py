"""Each fault that is planted into a good configuration is found, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz_server.control.settings import Settings
from authz_server.doctor.envoy import envoy_of
from authz_server.doctor.examine import examine
from authz_server.doctor.finding import SEVERITIES, Finding
from authz_server.doctor.needs import needs_of
from authz_server.doctor.view import read
from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream
from tests.builders import plan_of

Config = dict[str, Any]
TYPE = "type.googleapis.com/"
HTTP = f"{TYPE}envoy.extensions.filters.http."
PER_ROUTE = f"{HTTP}ext_authz.v3.ExtAuthzPerRoute"
POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: read
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
        when: request.headers["x-tenant"] == "t1"
        answer: {set_headers: {x-user: "'web'"}}
"""
SETTINGS: Config = {"workloads": {"trust_domains": {"shop.example": {"bundle": "bundle.pem"}}}}
XFCC: Config = {"workloads": {"trust_domains": {"shop.example": {}}, "xfcc": {"hops": ["spiffe://shop.example/edge"]}}}


def generated() -> Config:
    """The configuration that `authz envoy config` writes."""
    upstream = Upstream("orders.shop.example", Address("127.0.0.1", 8080))
    settings = EnvoySettings(upstreams=(upstream,), check_addresses=(Address("127.0.0.1", 9001),))
    written: Config = yaml.safe_load(to_yaml(settings))
    return written


def findings(
    config: Config, directory: Path, settings: Config | None = None, *, policy: str = POLICY, **policies: str
) -> list[Finding]:
    """What is found in a configuration, beside the policy above, or these."""
    needs = needs_of(
        plan_of(directory / "policies", orders=policy, **policies),
        Settings.model_validate(SETTINGS if settings is None else settings, context={"base": directory}),
    )
    return examine(envoy_of(read(yaml.safe_dump(config), "envoy.yaml")), needs)


def chain(config: Config) -> Config:
    """The filter chain."""
    found: Config = config["static_resources"]["listeners"][0]["filter_chains"][0]
    return found


def manager(config: Config) -> Config:
    """The HTTP connection manager."""
    found: Config = chain(config)["filters"][0]["typed_config"]
    return found


def ext_authz(config: Config) -> Config:
    """The configuration of the filter."""
    found: Config = manager(config)["http_filters"][0]["typed_config"]
    return found


def host(config: Config) -> Config:
    """The virtual host."""
    found: Config = manager(config)["route_config"]["virtual_hosts"][0]
    return found


def check_cluster(config: Config) -> Config:
    """The cluster that answers Check."""
    found: Config = config["static_resources"]["clusters"][0]
    return found


def behind(kind: str) -> Callable[[Config], None]:
    """Puts a filter behind ours."""
    filter_config = {"name": "other", "typed_config": {"@type": f"{HTTP}{kind}"}}
    return lambda config: manager(config)["http_filters"].insert(1, filter_config)


def on_route(override: Config) -> Callable[[Config], None]:
    """Overrides the filter on the first route."""
    overrides = {"envoy.filters.http.ext_authz": override}
    return lambda config: host(config)["routes"][0].update(typed_per_filter_config=overrides)


def on_split(override: Config) -> Callable[[Config], None]:
    """Overrides the filter on one of the clusters that a route is split over."""
    part = {"name": "orders.shop.example", "weight": 1, "typed_per_filter_config": {"any-name": override}}
    return lambda config: host(config)["routes"][0].update(route={"weighted_clusters": {"clusters": [part]}})


def raw_tcp(config: Config) -> None:
    """A listener beside ours, to the same service."""
    proxy = {"@type": f"{TYPE}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "orders.shop.example"}
    listener = {"name": "raw", "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}]}
    config["static_resources"]["listeners"].append(listener)


def address_of_check(config: Config) -> Config:
    """Where Check is."""
    endpoints = check_cluster(config)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    found: Config = endpoints["endpoint"]["address"]["socket_address"]
    return found


def without(*names: str) -> Callable[[Config], None]:
    """Takes settings of the connection manager away."""

    def plant(config: Config) -> None:
        for name in names:
            manager(config).pop(name)

    return plant


FAULTS: list[tuple[str, Callable[[Config], object]]] = [
    ("no_ext_authz", lambda config: manager(config)["http_filters"].pop(0)),
    ("filter_disabled", lambda config: manager(config)["http_filters"][0].update(disabled=True)),
    ("failure_mode_allow", lambda config: ext_authz(config).update(failure_mode_allow=True)),
    ("filter_enabled", lambda config: ext_authz(config).update(filter_enabled={"default_value": {"numerator": 50}})),
    ("filter_enabled", lambda config: ext_authz(config).update(filter_enabled_metadata={"filter": "x"})),
    ("no_grpc_service", lambda config: ext_authz(config).update(http_service={}, grpc_service=None)),
    ("wrong_api_version", lambda config: ext_authz(config).pop("transport_api_version")),
    ("no_peer_certificate", lambda config: ext_authz(config).pop("include_peer_certificate")),
    ("headers_withheld", lambda config: ext_authz(config).update(allowed_headers={"patterns": [{"prefix": "x-a"}]})),
    ("headers_withheld", lambda config: ext_authz(config).update(disallowed_headers={"patterns": [{"suffix": "ant"}]})),
    ("status_on_error", lambda config: ext_authz(config).update(status_on_error={"code": "OK"})),
    ("status_on_error", lambda config: ext_authz(config).update(status_on_error={"code": 302})),
    ("clear_route_cache", lambda config: ext_authz(config).update(clear_route_cache=True)),
    ("filter_after", behind("lua.v3.Lua")),
    ("filter_after", behind("header_mutation.v3.HeaderMutation")),
    ("filter_after", behind("something.new.v3.Filter")),
    ("disabled_on_route", on_route({"@type": PER_ROUTE, "disabled": True})),
    ("disabled_on_route", on_route({"@type": f"{TYPE}envoy.config.route.v3.FilterConfig", "disabled": True})),
    ("disabled_on_route", on_split({"@type": PER_ROUTE, "disabled": True})),
    (
        "disabled_on_route",
        on_split(
            {
                "@type": f"{TYPE}envoy.config.route.v3.FilterConfig",
                "config": {"@type": PER_ROUTE, "disabled": True},
            }
        ),
    ),
    ("other_server_on_route", on_route({"@type": PER_ROUTE, "check_settings": {"grpc_service": {"timeout": "1s"}}})),
    (
        "unknown_service",
        on_route({"@type": PER_ROUTE, "check_settings": {"context_extensions": {"service": "shop/none"}}}),
    ),
    (
        "revision_not_there",
        on_route({"@type": PER_ROUTE, "check_settings": {"context_extensions": {"min_revision": "1"}}}),
    ),
    ("host_without_policy", lambda config: host(config)["domains"].append("web.shop.example")),
    (
        "identity_header_written",
        lambda config: host(config).update(request_headers_to_add=[{"header": {"key": "X-User", "value": "root"}}]),
    ),
    (
        "upgrade_without_ext_authz",
        lambda config: manager(config).update(
            upgrade_configs=[{"upgrade_type": "websocket", "filters": [manager(config)["http_filters"][-1]]}]
        ),
    ),
    ("path_not_normalized", without("normalize_path")),
    ("path_not_normalized", without("merge_slashes", "path_with_escaped_slashes_action")),
    ("underscores_accepted", without("common_http_protocol_options")),
    (
        "certificate_header_forwarded",
        lambda config: manager(config).update(forward_client_cert_details="APPEND_FORWARD"),
    ),
    ("no_client_certificates", lambda config: chain(config).pop("transport_socket")),
    (
        "no_client_certificates",
        lambda config: chain(config)["transport_socket"]["typed_config"]["common_tls_context"].pop(
            "validation_context_sds_secret_config"
        ),
    ),
    (
        "session_resumption",
        lambda config: chain(config)["transport_socket"]["typed_config"].pop("disable_stateful_session_resumption"),
    ),
    ("raw_tcp", raw_tcp),
    ("check_without_tls", lambda config: address_of_check(config).update(address="10.0.0.7")),
    ("admin_exposed", lambda config: config["admin"]["address"]["socket_address"].update(address="0.0.0.0")),
]


def test_nothing_is_found_in_what_we_write(tmp_path: Path) -> None:
    """Also where callers come behind proxies, and Envoy appends."""
    assert findings(generated(), tmp_path) == []


@pytest.mark.parametrize(("code", "plant"), FAULTS, ids=[f"{code}-{i}" for i, (code, _) in enumerate(FAULTS)])
def test_a_planted_fault_is_found_and_nothing_else(
    code: str, plant: Callable[[Config], object], tmp_path: Path
) -> None:
    """With its place, what it does, and YAML that mends it."""
    config = generated()
    plant(config)
    found = findings(config, tmp_path)
    assert [finding.code for finding in found] == [code]
    assert found[0].place.startswith("envoy.yaml:")
    assert found[0].message
    assert yaml.safe_load(found[0].mend) is None or isinstance(yaml.safe_load(found[0].mend), dict)


def test_all_faults_are_told_at_once_the_worst_first(tmp_path: Path) -> None:
    """As many as there are."""
    config = generated()
    planted = ("failure_mode_allow", "no_peer_certificate", "path_not_normalized", "admin_exposed", "raw_tcp")
    for code, plant in FAULTS:
        if code in planted:
            plant(config)
    found = findings(config, tmp_path)
    assert {finding.code for finding in found} == set(planted)
    order = [list(dict.fromkeys(SEVERITIES.values())).index(finding.severity) for finding in found]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("how", "appended", "codes"),
    [
        ("SANITIZE", True, ["certificate_header_mismatch"]),
        ("APPEND_FORWARD", True, []),
        ("FORWARD_ONLY", True, ["certificate_header_mismatch"]),
        ("APPEND_FORWARD", False, ["certificate_header_mismatch"]),
        ("FORWARD_ONLY", False, []),
        ("ALWAYS_FORWARD_ONLY", False, ["certificate_header_forwarded"]),
    ],
)
def test_the_certificate_header_is_what_the_configuration_says(
    how: str, appended: bool, codes: list[str], tmp_path: Path
) -> None:
    """`workloads.xfcc` and Envoy have to agree."""
    config = generated()
    manager(config)["forward_client_cert_details"] = how
    settings = {"workloads": XFCC["workloads"] | {"xfcc": XFCC["workloads"]["xfcc"] | {"appended": appended}}}
    assert [finding.code for finding in findings(config, tmp_path, settings)] == codes


LENIENT = POLICY.replace("name: orders", "name: orders\n    paths: lenient")


@pytest.mark.parametrize(
    ("action", "domain", "codes"),
    [
        ("KEEP_UNCHANGED", "orders.shop.example", []),
        ("IMPLEMENTATION_SPECIFIC_DEFAULT", "*.shop.example", []),
        ("REJECT_REQUEST", "orders.shop.example", ["escaped_slashes_withheld"]),
        ("UNESCAPE_AND_FORWARD", "ORDERS.shop.example:8443", ["escaped_slashes_withheld"]),
        ("UNESCAPE_AND_REDIRECT", "*", ["escaped_slashes_withheld"]),
        ("KEEP_UNCHANGED", "web.shop.example", ["path_not_normalized"]),
        ("REJECT_REQUEST", "web.shop.example", []),
    ],
)
def test_lenient_paths_want_their_slashes(action: str, domain: str, codes: list[str], tmp_path: Path) -> None:
    """And what wants them is not told to have them refused; another service's listener is."""
    config = generated()
    manager(config)["path_with_escaped_slashes_action"] = action
    host(config)["domains"] = [domain]
    web = "kind: service\nname: web\nhosts: [web.shop.example]\nrules: []\n"
    assert [finding.code for finding in findings(config, tmp_path, policy=LENIENT, web=web)] == codes


def test_lenient_paths_are_found_by_the_name_on_a_route(tmp_path: Path) -> None:
    """And where routes come from elsewhere, nothing is advised that would be wrong for them."""
    config = generated()
    host(config)["domains"] = ["elsewhere.example"]
    on_route({"@type": PER_ROUTE, "check_settings": {"context_extensions": {"service": "orders"}}})(config)
    assert [finding.code for finding in findings(config, tmp_path, policy=LENIENT)] == ["escaped_slashes_withheld"]
    manager(config).update(route_config=None, path_with_escaped_slashes_action="KEEP_UNCHANGED")
    assert findings(config, tmp_path, policy=LENIENT) == []


@pytest.mark.parametrize(
    ("upgrades", "codes"),
    [
        ([{"upgrade_type": "WebSocket"}], []),
        ([{"upgrade_type": "websocket", "enabled": False}], ["upgrade_not_enabled"]),
        ([{"upgrade_type": "CONNECT"}], ["upgrade_not_enabled"]),
        ([], ["upgrade_not_enabled"]),
    ],
)
def test_upgrades_that_rules_allow_are_enabled(upgrades: list[Config], codes: list[str], tmp_path: Path) -> None:
    """On the listener, or on a route; where no rule names one, none is missed."""
    config = generated()
    manager(config)["upgrade_configs"] = upgrades
    listens = """
      - {id: listen, effect: allow, from: anyone, to: [{paths: [/events], upgrade: websocket}]}
"""
    assert [finding.code for finding in findings(config, tmp_path, policy=POLICY + listens)] == codes
    assert findings(config, tmp_path / "none") == []
    host(config)["routes"][0]["route"]["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    assert findings(config, tmp_path / "route", policy=POLICY + listens) == []


def test_certificates_that_nobody_signed_are_found_where_we_do_not_verify(tmp_path: Path) -> None:
    """With a bundle of our own they are refused here."""
    config = generated()
    common = chain(config)["transport_socket"]["typed_config"]["common_tls_context"]
    common["validation_context"] = {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
    assert findings(config, tmp_path) == []
    unverified: Config = {"workloads": {"trust_domains": {"shop.example": {}}}}
    assert [finding.code for finding in findings(config, tmp_path, unverified)] == ["untrusted_certificates"]


def test_errors_of_ours_that_envoy_lets_pass_are_found(tmp_path: Path) -> None:
    """Either alone is the operator's choice; both together allow what could not be decided."""
    passing = generated()
    ext_authz(passing)["failure_mode_allow"] = True
    errors = SETTINGS | {"answers": {"failures": "error"}}
    assert [f.code for f in findings(passing, tmp_path / "a", errors)] == ["failure_mode_allow", "failures_pass"]
    assert [f.code for f in findings(passing, tmp_path / "b")] == ["failure_mode_allow"]
    assert findings(generated(), tmp_path / "c", errors) == []


def test_every_code_has_been_planted() -> None:
    """A finding that no test plants may never be found."""
    elsewhere = {"certificate_header_mismatch", "untrusted_certificates", "too_little_time", "failures_pass"}
    elsewhere |= {"escaped_slashes_withheld", "upgrade_not_enabled", "metadata_withheld"}
    elsewhere |= {"header_written_before", "header_removed_before"}
    elsewhere |= {"body_withheld", "body_as_text", "body_bound_unsaid", "body_bound_wrong"}
    assert {code for code, _ in FAULTS} | elsewhere == set(SEVERITIES)


@pytest.mark.parametrize(
    "patterns",
    [
        [{"exact": "X-Tenant", "ignore_case": True}],
        [{"prefix": "x-"}],
        [{"contains": "tena"}],
        [{"safe_regex": {"regex": "x-.*"}}],
        [{"exact": "no"}, {"suffix": "-tenant"}],
    ],
)
def test_headers_that_are_sent_are_not_withheld(patterns: list[Config], tmp_path: Path) -> None:
    """By every kind of pattern that Envoy has."""
    config = generated()
    ext_authz(config)["allowed_headers"] = {"patterns": patterns}
    assert findings(config, tmp_path) == []
    ext_authz(config).pop("allowed_headers")
    ext_authz(config)["disallowed_headers"] = {"patterns": patterns}
    assert [finding.code for finding in findings(config, tmp_path)] == ["headers_withheld"]


def test_proofs_that_are_not_sent_are_withheld(tmp_path: Path) -> None:
    """With DPoP their header is needed."""
    config = generated()
    ext_authz(config)["allowed_headers"] = {"patterns": [{"prefix": "x-"}, {"exact": "authorization"}]}
    assert findings(config, tmp_path) == []
    [finding] = findings(config, tmp_path, {**SETTINGS, "dpop": {}})
    assert finding.code == "headers_withheld"
    assert "dpop" in finding.message


@pytest.mark.parametrize("kind", ["rbac.v3.RBAC", "local_ratelimit.v3.LocalRateLimit", "cors.v3.Cors"])
def test_filters_that_keep_the_request_may_stand_behind(kind: str, tmp_path: Path) -> None:
    """They can deny and no more."""
    config = generated()
    behind(kind)(config)
    assert findings(config, tmp_path) == []


def test_a_host_whose_route_names_its_service_needs_no_policy_for_the_host(tmp_path: Path) -> None:
    """The route chooses the service."""
    config = generated()
    host(config)["domains"] = ["elsewhere.example"]
    on_route({"@type": PER_ROUTE, "check_settings": {"context_extensions": {"service": "orders"}}})(config)
    assert findings(config, tmp_path) == []
