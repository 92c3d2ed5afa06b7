"""Configurations are read as they are written, and never break the reader."""

import json

import pytest

from authz_server.doctor.envoy import envoy_of
from authz_server.doctor.view import Unreadable, View, read

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def test_values_have_their_place() -> None:
    """Line and column from 1; what is missing has the place of what it is missing in."""
    root = read("a:\n  b: [1, {c: true}]\n", "e.yaml")
    assert root["a"]["b"].each()[1]["c"].place == "e.yaml:2:14"
    assert root["a"]["b"].each()[1]["c"].on
    assert root.at("a", "x", "y").place == "e.yaml:2:3"
    assert not root.at("a", "x", "y")


def test_both_spellings_of_a_name_are_one() -> None:
    """Protobuf's JSON has lowerCamelCase, people write snake_case; names that people choose stay."""
    root = read(json.dumps({"failureModeAllow": True, "envoy.filters.http.ext_authz": 1, "x-User": 2}), "e.json")
    assert [name for name, _ in root.items()] == ["failure_mode_allow", "envoy.filters.http.ext_authz", "x-User"]


def test_without_lines_a_place_is_the_way_to_it() -> None:
    """For a dump that nobody has before them."""
    assert read('{"a": [{"b": 1}]}', "dump", lines=False)["a"].each()[0]["b"].place == "dump.a[0].b"


def test_an_alias_is_read_where_it_stands() -> None:
    """People share parts of their configuration."""
    root = read("a: &x {b: 1}\nc: *x\n", "e.yaml")
    assert root.at("c", "b").text == "1"


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("text", ["", "a: [", "a: *b", "\x00", BOMB, "[" * 500 + "]" * 500])
def test_what_cannot_be_read_is_said(text: str) -> None:
    """And nothing else happens."""
    with pytest.raises(Unreadable, match=r"e\.yaml"):
        read(text, "e.yaml")


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        {"static_resources": "text"},
        {"static_resources": {"listeners": {"a": 1}}},
        {"static_resources": {"listeners": [None, 1, {"filter_chains": [{"filters": [{"typed_config": 3}]}]}]}},
        {"configs": [1, {"static_listeners": [{}], "static_clusters": 7, "bootstrap": None}]},
        {"static_resources": {"listeners": [{"api_listener": {"api_listener": {"@type": MANAGER}}}]}},
    ],
)
def test_odd_shapes_break_nothing(value: object) -> None:
    """They have no listeners that could be seen."""
    envoy = envoy_of(read(json.dumps(value), "e.json"))
    assert all(isinstance(view, View) for view in envoy.clusters.values())


def test_routes_from_elsewhere_are_said_to_be_unseen() -> None:
    """And found in a dump."""
    config = {"@type": MANAGER, "rds": {"route_config_name": "r"}, "http_filters": []}
    listener = {"name": "l", "filter_chains": [{"filters": [{"typed_config": config}]}]}
    alone = envoy_of(read(json.dumps({"static_resources": {"listeners": [listener]}}), "e"))
    assert len(alone.unseen) == 1
    routes = {"dynamic_route_configs": [{"route_config": {"name": "r", "virtual_hosts": []}}]}
    dump = {"configs": [{"dynamic_listeners": [{"active_state": {"listener": listener}}]}, routes]}
    whole = envoy_of(read(json.dumps(dump), "e"))
    assert whole.unseen == ()
    assert whole.managers[0].routes["name"].text == "r"
    dynamic = envoy_of(read('{"dynamic_resources": {"lds_config": {"path": "x"}}}', "e"))
    assert len(dynamic.unseen) == 1
