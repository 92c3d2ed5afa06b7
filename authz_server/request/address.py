"""The client's address."""

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from authz_server.bounds import KIB, Bound
from authz_server.model import IpAddress

MAX_TEXT = 45
"""Characters of the longest address, an IPv6 one that ends in an IPv4 one."""
ADDRESSES = Bound(
    "addresses",
    "worker",
    entries=2 * 4096,
    bytes=2 * 4096 * KIB // 2,
    holds="Addresses of clients as they are compared, and in their canonical form.",
    full="The one that was used least recently goes.",
    kept_in=("_canonical", "_parsed"),
)


def client_ip(text: str) -> IpAddress | None:
    """The address, an IPv4-mapped one as IPv4 (RFC 4291 section 2.5.5.2); None where it is unknown or no address."""
    return _parsed(text) if 0 < len(text) <= MAX_TEXT else None


def client_ip_text(text: str) -> str | None:
    """The address in its canonical form; what is no address as it came, None where there is none."""
    return _canonical(text) if 0 < len(text) <= MAX_TEXT else text or None


@lru_cache(maxsize=ADDRESSES.entries // 2)
def _canonical(text: str) -> str:
    parsed = _parsed(text)
    return text if parsed is None else str(parsed)


@lru_cache(maxsize=ADDRESSES.entries // 2)
def _parsed(text: str) -> IpAddress | None:
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text)
    except AddressValueError:
        return None
    if address.scope_id is not None:
        return None
    return address.ipv4_mapped or address
