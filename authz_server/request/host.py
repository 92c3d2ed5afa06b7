"""The canonical host: lower case, without port and trailing dot (RFC 9110 section 7.2, RFC 3986 section 3.2.2)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from authz_server.bounds import KIB, Bound
from authz_server.errors import Reason, Refused

MAX_HOST_BYTES = 253
MAX_PORT = 65535
HOSTS = Bound(
    "hosts",
    "worker",
    entries=4096,
    bytes=4096 * KIB,
    holds="Hosts in their canonical form.",
    full="The one that was used least recently goes.",
    kept_in=("_host",),
)

_PORT = r"(?::([1-9][0-9]{0,4}))?"
_NAME = re.compile(r"([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?" + _PORT, re.ASCII)
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\]" + _PORT, re.ASCII)


class Host(NamedTuple):
    """A host as patterns are compared with it; an IPv6 literal keeps its brackets and is compressed."""

    name: str
    port: int | None


def canonical_host(text: str) -> Host:
    """Read a Host header or `:authority`. Raises Refused (`bad_host`)."""
    # The longest name, a trailing dot and the longest port: longer texts need not be looked at.
    if len(text) > MAX_HOST_BYTES + len(".:65535"):
        raise _bad("it is too long")
    return _host(text)


@lru_cache(maxsize=HOSTS.entries)
def _host(text: str) -> Host:
    # The same few hosts are asked for again and again.
    if match := _NAME.fullmatch(text):
        name, port = match.groups()
        name = name.lower()
        if len(name) > MAX_HOST_BYTES:
            raise _bad("it is too long")
    elif match := _IPV6.fullmatch(text):
        literal, port = match.groups()
        name = _ipv6_name(literal)
    else:
        raise _bad("it is no host name and no IPv6 literal, perhaps with a port" if text else "it is empty")
    if port is None:
        return Host(name, None)
    if (number := int(port)) > MAX_PORT:
        raise _bad("its port is out of range")
    return Host(name, number)


def _ipv6_name(literal: str) -> str:
    try:
        return f"[{IPv6Address(literal).compressed}]"
    except ValueError as error:
        raise _bad("its IPv6 literal is not one") from error


def _bad(fault: str) -> Refused:
    return Refused(Reason.BAD_HOST, f"the host is not acceptable: {fault}")
