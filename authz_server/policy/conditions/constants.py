"""Constants that an attribute never has: a comparison with one of them never holds, and a deny rule with it is void."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from authz_server.documents.suggest import quoted
from authz_server.errors import Refused
from authz_server.policy.methods import meant_method
from authz_server.request.host import canonical_host

COMPARISONS = frozenset({"_==_", "_!=_"})


class Never(NamedTuple):
    """Why an attribute never has a value, and what to write instead."""

    message: str
    hint: str


def never(attribute: str, constant: str) -> Never | None:
    """Why an attribute such as `request.method` never equals a constant; None where it may."""
    check = _CHECKS.get(attribute)
    # Not even the empty text equals any of them, but whoever compares with it asks whether there is one.
    return check(constant) if check and constant else None


def _method(text: str) -> Never | None:
    meant = meant_method(text)
    if text != text.upper():
        return Never(f"no method is {quoted(text)}: methods are in upper case", f"write `{meant or text.upper()}`")
    return Never(f"unknown method {quoted(text)}", f"did you mean `{meant}`?") if meant else None


def _host(text: str) -> Never | None:
    if text.startswith("*."):
        return Never("hosts are compared as they are, without wildcards", f'write request.host.endsWith("{text[1:]}")')
    try:
        host = canonical_host(text)
    except Refused:
        return Never(
            f"no host is {quoted(text)}", "a host is such as `orders.shop.example`, without scheme, port and path"
        )
    if host.port is not None:
        return Never("`request.host` is without the port", f"write `{host.name}`; for ports there is `hosts` in `to`")
    if host.name != text:
        return Never(f"no host is {quoted(text)}: hosts are in lower case, without a final dot", f"write `{host.name}`")
    return None


def _client(text: str) -> Never | None:
    try:
        address = str(ip_address(text))
    except ValueError:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            return Never(
                f"no address is {quoted(text)}", 'write one such as `203.0.113.7`, or client.within("10.0.0.0/8")'
            )
        return Never("an address never equals a network", f'write client.within("{network}")')
    mapped = getattr(ip_address(text), "ipv4_mapped", None)
    address = str(mapped) if mapped else address
    return None if address == text else Never(f"{quoted(text)} is not the form of addresses", f"write `{address}`")


def _workload(text: str) -> Never | None:
    if "*" in text:
        return Never("an ID never equals a pattern", f'write workload.within("{text}")')
    return None


_CHECKS: dict[str, Callable[[str], Never | None]] = {
    "request.method": _method,
    "request.host": _host,
    "client.ip": _client,
    "workload.id": _workload,
}
