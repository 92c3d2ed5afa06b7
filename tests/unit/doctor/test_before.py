"""Changes of headers before ext_authz asks: those that a decision rests on are told, with their place."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from authz_server.doctor.finding import Finding
from tests.unit.doctor.test_examine import HTTP, SETTINGS, TYPE, Config, behind, findings, generated, host, manager

FILTER = f"{HTTP}header_mutation.v3.HeaderMutation"
CALLERS: Config = SETTINGS | {
    "issuers": {"corp": {"issuer": "https://login.example/", "audiences": ["shop"]}},
    "api_keys": {"header": "x-api-key", "file": "keys.json"},
    "identity_headers": ["x-user-id"],
}


def remove(name: str) -> Config:
    """Takes a header away."""
    return {"remove": name}


def write(name: str) -> Config:
    """Adds to a header, or replaces it."""
    return {"append": {"header": {"key": name, "value": "a"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def early(mutation: Config) -> Config:
    """What we write, with this as the first change of headers."""
    config = generated()
    manager(config)["early_header_mutation_extensions"][0]["typed_config"]["mutations"].insert(0, mutation)
    return config


def with_filter(mutation: Config) -> Config:
    """What we write, with a filter in front of ours."""
    config = generated()
    made = {"@type": FILTER, "mutations": {"request_mutations": [mutation]}}
    manager(config)["http_filters"].insert(0, {"name": "before", "typed_config": made})
    return config


def with_route(mutation: Config, name: str = "before") -> Config:
    """What we write, with a filter in front of ours that this route gives something to do."""
    config = with_filter({})
    override = {"@type": f"{FILTER}PerRoute", "mutations": {"request_mutations": [mutation]}}
    host(config)["routes"][0]["typed_per_filter_config"] = {name: override}
    return config


def with_wrapped_route(mutation: Config) -> Config:
    """The same in the form that can also disable a filter."""
    config = with_route(mutation)
    overrides = host(config)["routes"][0]["typed_per_filter_config"]
    overrides["before"] = {"@type": f"{TYPE}envoy.config.route.v3.FilterConfig", "config": overrides["before"]}
    return config


def with_tokens(provider: Config) -> Config:
    """What we write, with a filter in front of ours that verifies tokens."""
    config = generated()
    made = {"@type": f"{HTTP}jwt_authn.v3.JwtAuthentication", "providers": {"corp": provider}}
    manager(config)["http_filters"].insert(0, {"name": "jwt", "typed_config": made})
    return config


@pytest.mark.parametrize("plant", [early, with_filter, with_route, with_wrapped_route])
@pytest.mark.parametrize(
    ("mutation", "code", "message"),
    [
        (remove("Host"), "header_removed_before", "`Host` is removed before Envoy asks: every request is refused"),
        (remove(":authority"), "header_removed_before", "every request is refused"),
        (remove("authorization"), "header_removed_before", "what callers show there is never seen"),
        (remove("x-api-key"), "header_removed_before", "what callers show there is never seen"),
        (
            {"remove_on_match": {"key_matcher": {"prefix": "X-A", "ignore_case": True}}},
            "header_removed_before",
            "`x-api-key` is removed before Envoy asks",
        ),
        (write("host"), "header_written_before", "`host` is written before Envoy asks: the policy is chosen by it"),
        (write("Authorization"), "header_written_before", "it is taken for what the caller shows"),
        (write("X-User-Id"), "identity_header_written", "Envoy writes `X-User-Id` before it asks"),
    ],
)
def test_a_change_before_we_are_asked_is_found(
    mutation: Config, code: str, message: str, plant: Callable[[Config], Config], tmp_path: Path
) -> None:
    """Wherever it is."""
    [found] = findings(plant(mutation), tmp_path, CALLERS)
    assert (found.code, message in found.message) == (code, True)
    assert found.place.startswith("envoy.yaml:")
    assert yaml.safe_load(found.mend) is None


@pytest.mark.parametrize(
    "config",
    [
        early(remove("x-user-id")),
        early(remove("cookie")),
        early(write("x-region")),
        early({"remove_on_match": {"key_matcher": {"prefix": "x-internal-"}}}),
        with_route(remove("host"), "another"),
    ],
    ids=["identity", "cookie", "region", "internal", "of another filter"],
)
def test_other_changes_are_nobody_s_business(config: Config, tmp_path: Path) -> None:
    """That clients' identity headers are removed is what we write ourselves."""
    assert findings(config, tmp_path, CALLERS) == []


def test_headers_in_which_nobody_shows_anything_may_change(tmp_path: Path) -> None:
    """Without issuers nobody reads `authorization`, and without `workloads.xfcc` nobody the header of proxies."""
    for name in ("authorization", "x-forwarded-client-cert"):
        assert findings(early(remove(name)), tmp_path / name) == []
    proxies = {"workloads": {"trust_domains": {"shop.example": {}}, "xfcc": {"hops": ["spiffe://shop.example/edge"]}}}
    config = early(remove("x-forwarded-client-cert"))
    manager(config)["forward_client_cert_details"] = "APPEND_FORWARD"
    assert codes(findings(config, tmp_path, proxies)) == ["header_removed_before"]


def test_what_changes_behind_us_is_told_as_such(tmp_path: Path) -> None:
    """The decision has been made."""
    config = generated()
    behind("header_mutation.v3.HeaderMutation")(config)
    manager(config)["http_filters"][1]["typed_config"]["mutations"] = {"request_mutations": [remove("host")]}
    assert codes(findings(config, tmp_path, CALLERS)) == ["filter_after"]


@pytest.mark.parametrize(
    ("provider", "found"),
    [
        ({}, ["header_removed_before"]),
        ({"forward": False, "from_headers": [{"name": "Authorization"}]}, ["header_removed_before"]),
        ({"from_headers": [{"name": "x-other"}]}, []),
        ({"from_params": ["token"]}, []),
        ({"forward": True}, []),
    ],
)
def test_a_filter_that_keeps_tokens_for_itself_is_found(provider: Config, found: list[str], tmp_path: Path) -> None:
    """jwt_authn removes what it has verified, unless it forwards it."""
    assert codes(findings(with_tokens(provider), tmp_path, CALLERS)) == found


def codes(found: list[Finding]) -> list[str]:
    """What they are."""
    return [finding.code for finding in found]
