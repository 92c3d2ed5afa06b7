"""The endpoints file: the workers' addresses for Envoy's endpoint discovery from a file (EDS)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authz_server.worker.address import Address, TcpAddress

CLUSTER = "authz"
_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def endpoints_document(addresses: Mapping[int, Address], version: str) -> bytes:
    """An `envoy.service.discovery.v3.DiscoveryResponse` in JSON, which is YAML too, ordered by slot."""
    endpoints = [{"endpoint": {"address": _address(addresses[slot])}} for slot in sorted(addresses)]
    document = {
        "version_info": version,
        "resources": [{"@type": _TYPE, "cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]}],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


class EndpointsFile:
    """Replaced as a whole at each change: Envoy looks for a file that is moved into place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = 0
        self._written: bytes | None = None

    def write(self, addresses: Mapping[int, Address], *, again: bool = False) -> None:
        """Write the addresses, by slot, if they have changed, or `again`. Raises OSError."""
        # All workers of a shared address are one endpoint.
        unique = {address: slot for slot, address in sorted(addresses.items(), reverse=True)}
        by_slot = {slot: address for address, slot in unique.items()}
        content = endpoints_document(by_slot, "")
        if content == self._written and not again:
            return
        self._version += 1
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.unlink(missing_ok=True)
        # Never through a link that somebody else has put there.
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as stream:
            stream.write(endpoints_document(by_slot, f"{os.getpid()}-{self._version}"))
        draft.replace(self._path)
        self._written = content


def _address(address: Address) -> dict[str, Any]:
    if isinstance(address, TcpAddress):
        return {"socket_address": {"address": _reachable(address.host), "port_value": address.port}}
    return {"pipe": {"path": address.path}}


def _reachable(host: str) -> str:
    # Envoy beside us cannot connect to "any address", and resolves no names here.
    return {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
