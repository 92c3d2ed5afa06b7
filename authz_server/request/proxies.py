"""The client's address behind proxies, by `x-forwarded-for`."""

from collections.abc import Iterable
from ipaddress import ip_network

import msgspec

from authz_server.model import Request
from authz_server.request.address import client_ip

HEADER = "x-forwarded-for"
UNKNOWN = ""
MAX_PROXIES = 32
"""In a row; the client behind more of them is unknown."""


class Proxies:
    """The networks of proxies whose entries are believed. Raises ValueError for what is no network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network) for network in networks]

    def behind(self, request: Request) -> Request:
        """The request with the address of the client in place of the last proxy's.

        Each proxy appends the address that it saw, so the client is the first one from the right that is no proxy.
        What stands further left is the client's own word. An entry that is no address leaves the client unknown.
        """
        address = request.client_address
        if not self._is_proxy(address):
            return request
        values = [value for name, value in request.headers if name.lower() == HEADER]
        entries = b",".join(values).decode("latin-1").rsplit(",", MAX_PROXIES) if values else []
        hops = entries[-MAX_PROXIES:]
        while hops and self._is_proxy(address):
            address = hops.pop().strip(" \t")
        behind_too_many = not hops and len(entries) > MAX_PROXIES and self._is_proxy(address)
        if client_ip(address) is None or behind_too_many:
            address = UNKNOWN
        return msgspec.structs.replace(request, client_address=address)

    def _is_proxy(self, text: str) -> bool:
        address = client_ip(text)
        return address is not None and any(address in network for network in self._networks)
