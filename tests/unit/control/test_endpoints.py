"""The endpoints file that Envoy watches."""

import json
from pathlib import Path
from typing import Any

import pytest
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment

from authz_server.control.endpoints import EndpointsFile
from authz_server.worker.address import Address, TcpAddress, UnixAddress


def resource(path: Path) -> dict[str, Any]:
    """The one resource in the file, without its type."""
    [only] = json.loads(path.read_text())["resources"]
    assert only.pop("@type") == "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    return dict(only)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (TcpAddress("127.0.0.1", 9001), {"socket_address": {"address": "127.0.0.1", "port_value": 9001}}),
        (TcpAddress("localhost", 9001), {"socket_address": {"address": "127.0.0.1", "port_value": 9001}}),
        (TcpAddress("0.0.0.0", 9001), {"socket_address": {"address": "127.0.0.1", "port_value": 9001}}),
        (TcpAddress("::", 9001), {"socket_address": {"address": "::1", "port_value": 9001}}),
        (UnixAddress("/run/check-0.sock"), {"pipe": {"path": "/run/check-0.sock"}}),
    ],
)
def test_an_address_is_one_that_envoy_can_connect_to(
    tmp_path: Path, address: Address, expected: dict[str, Any]
) -> None:
    """On the same machine, without resolving names."""
    EndpointsFile(tmp_path / "endpoints.yaml").write({0: address})
    [group] = resource(tmp_path / "endpoints.yaml")["endpoints"]
    assert group["lb_endpoints"] == [{"endpoint": {"address": expected}}]


def test_the_file_is_what_envoy_reads(tmp_path: Path) -> None:
    """Its resource is a ClusterLoadAssignment in protobuf's JSON form, by an independent implementation."""
    path = tmp_path / "run" / "endpoints.yaml"
    EndpointsFile(path).write({1: TcpAddress("127.0.0.1", 9002), 0: TcpAddress("127.0.0.1", 9001)})
    assignment = ClusterLoadAssignment.from_dict(resource(path))
    assert assignment.cluster_name == "authz"
    addresses = [
        item.endpoint.address for group in assignment.endpoints for item in group.lb_endpoints if item.endpoint
    ]
    sockets = [address.socket_address for address in addresses if address]
    assert [socket.port_value for socket in sockets if socket] == [9001, 9002]


def test_workers_that_share_an_address_are_one_endpoint(tmp_path: Path) -> None:
    """Envoy would open the same connections twice."""
    path = tmp_path / "endpoints.yaml"
    EndpointsFile(path).write({0: TcpAddress("127.0.0.1", 9001), 1: TcpAddress("127.0.0.1", 9001)})
    [group] = resource(path)["endpoints"]
    assert len(group["lb_endpoints"]) == 1


def test_a_change_is_moved_into_place_with_a_version_of_its_own(tmp_path: Path) -> None:
    """Envoy looks for moves, and takes an unchanged version for unchanged content."""
    path = tmp_path / "endpoints.yaml"
    file = EndpointsFile(path)
    seen = []
    for port in (9001, 9002):
        file.write({0: TcpAddress("127.0.0.1", port)})
        seen.append((path.stat().st_ino, json.loads(path.read_text())["version_info"]))
    assert len(set(seen)) == 2
    assert len({version for _, version in seen}) == 2


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """Each write would make Envoy read it all again."""
    path = tmp_path / "endpoints.yaml"
    file = EndpointsFile(path)
    file.write({0: TcpAddress("127.0.0.1", 9001)})
    before = path.stat().st_ino
    file.write({0: TcpAddress("127.0.0.1", 9001)})
    assert path.stat().st_ino == before


def test_what_somebody_has_removed_is_written_again(tmp_path: Path) -> None:
    """When that is asked for, with a version of its own."""
    path = tmp_path / "endpoints.yaml"
    file = EndpointsFile(path)
    file.write({0: TcpAddress("127.0.0.1", 9001)})
    before = json.loads(path.read_text())
    path.unlink()
    file.write({0: TcpAddress("127.0.0.1", 9001)}, again=True)
    after = json.loads(path.read_text())
    assert after["resources"] == before["resources"]
    assert after["version_info"] != before["version_info"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """In a directory that others may write to, it could lead to any file."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".endpoints.yaml.new").symlink_to(victim)
    EndpointsFile(tmp_path / "endpoints.yaml").write({0: TcpAddress("127.0.0.1", 9001)})
    assert victim.read_text() == "mine"
    assert not (tmp_path / "endpoints.yaml").is_symlink()
