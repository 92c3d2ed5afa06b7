"""The addresses of the workers, and whether they can be had."""

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from authz_server.control.errors import CannotStart
from authz_server.control.settings import ListenSettings
from authz_server.worker.address import SLOT, Address, TcpAddress, UnixAddress, of_slot


class AddressTaken(CannotStart):
    """An address cannot be listened on; says which and why."""


def worker_addresses(listen: ListenSettings, workers: int) -> list[Address]:
    """Where each worker listens, by slot."""
    if listen.endpoints == "shared":
        return [listen.address] * workers
    return [of_slot(listen.address, slot) for slot in range(workers)]


def socket_directory(address: Address) -> Path | None:
    """The directory that holds the Unix sockets; None for TCP."""
    if isinstance(address, TcpAddress):
        return None
    path = Path(address.path)
    return next((parent.parent for parent in path.parents if SLOT in parent.name), path.parent)


def check_free(addresses: Iterable[Address]) -> None:
    """Make sure that nobody listens there: gRPC would take a socket over, and share a port, without a word.

    Raises AddressTaken.
    """
    for address in dict.fromkeys(addresses):
        try:
            if isinstance(address, UnixAddress):
                _check_socket(address)
            elif address.port:
                _check_port(address)
        except OSError as error:
            raise AddressTaken(f"cannot listen on {address}: {_words(error)}") from None


def listen_on(address: Address) -> socket.socket:
    """A listening socket for the control process's own HTTP. Raises AddressTaken."""
    try:
        check_free([address])
        if isinstance(address, UnixAddress):
            Path(address.path).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return _bound(listener, address.path)
        listener = socket.socket(_family(address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bound(listener, _sockaddr(address))
    except OSError as error:
        raise AddressTaken(f"cannot listen on {address}: {_words(error)}") from None


def bound_address(listener: socket.socket, address: Address) -> Address:
    """The address that the socket listens on: port 0 has become a real one."""
    return TcpAddress(address.host, listener.getsockname()[1]) if isinstance(address, TcpAddress) else address


def _bound(listener: socket.socket, place: str | tuple[str, int]) -> socket.socket:
    try:
        listener.bind(place)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _check_socket(address: UnixAddress) -> None:
    parent = Path(address.path).parent
    if not parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"the directory {parent} is missing")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address.path)
        except (FileNotFoundError, ConnectionRefusedError):
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _check_port(address: TcpAddress) -> None:
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        # With it, connections of an earlier server that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(_sockaddr(address))
        probe.listen(1)


def _family(address: TcpAddress) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _sockaddr(address: TcpAddress) -> tuple[str, int]:
    return ("127.0.0.1" if address.host == "localhost" else address.host, address.port)


def _words(error: OSError) -> str:
    return "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
