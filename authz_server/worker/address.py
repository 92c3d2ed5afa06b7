"""Where a listener listens: a TCP address or a Unix socket."""

from ipaddress import ip_address

from msgspec import Struct, structs

SLOT = "{worker}"
"""Stands in the path of a Unix socket for the number of the worker's slot."""

# sockaddr_un holds 108 bytes with the final NUL (unix(7)).
_LONGEST_SOCKET_PATH = 107


class AddressError(ValueError):
    """A text that is no address to listen on; the message says what to write."""


class TcpAddress(Struct, frozen=True, tag="tcp"):
    """An IP address, or `localhost`, and a port; port 0 asks for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ip_address(self.host).is_loopback


class UnixAddress(Struct, frozen=True, tag="unix"):
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return True


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read `127.0.0.1:9001`, `[::1]:9001`, `localhost:9001` or `unix:/run/authz/check.sock`.

    Raises AddressError.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise AddressError("an address is written `127.0.0.1:9001`, `[::1]:9001` or `unix:/path/to.sock`")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise AddressError("the port is a number from 0 to 65535")
    return TcpAddress(_host(host), int(port))


def of_slot(address: Address, slot: int) -> Address:
    """The address of one worker's own listener: the port counted up, or the slot's number in the path."""
    if isinstance(address, UnixAddress):
        return UnixAddress(address.path.replace(SLOT, str(slot)))
    return address if address.port == 0 else structs.replace(address, port=address.port + slot)


def _unix(path: str) -> UnixAddress:
    if not path or "\0" in path:
        raise AddressError("a Unix socket needs a path: `unix:/path/to.sock`")
    longest = path.replace(SLOT, "000")
    if len(longest.encode()) > _LONGEST_SOCKET_PATH:
        raise AddressError(f"the path of a Unix socket has at most {_LONGEST_SOCKET_PATH} bytes")
    return UnixAddress(path)


def _host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare == "localhost":
        return bare
    try:
        parsed = ip_address(bare)
    except ValueError:
        raise AddressError("the host is an IP address or `localhost`") from None
    if parsed.version == 6 and bare == text:
        raise AddressError("an IPv6 address stands in brackets: `[::1]:9001`")
    return str(parsed)
