"""The addresses of the workers, and whether they are free."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from authz_server.control.addresses import (
    AddressTaken,
    bound_address,
    check_free,
    listen_on,
    socket_directory,
    worker_addresses,
)
from authz_server.control.settings import ListenSettings
from authz_server.worker.address import TcpAddress, UnixAddress

LOOPBACK = TcpAddress("127.0.0.1", 0)


def test_each_worker_has_the_next_port() -> None:
    """Worker i adds i to the port."""
    listen = ListenSettings.model_validate("127.0.0.1:9001")
    assert worker_addresses(listen, 2) == [TcpAddress("127.0.0.1", 9001), TcpAddress("127.0.0.1", 9002)]


def test_workers_can_share_an_address() -> None:
    """For proxies that can name one address only."""
    listen = ListenSettings.model_validate({"address": "127.0.0.1:9001", "endpoints": "shared"})
    assert worker_addresses(listen, 2) == [TcpAddress("127.0.0.1", 9001)] * 2


def test_the_directory_of_sockets_is_above_the_workers_number() -> None:
    """That is the one to lock, whatever part of the path the number stands in."""
    assert socket_directory(UnixAddress("/run/authz/check-{worker}.sock")) == Path("/run/authz")
    assert socket_directory(UnixAddress("/run/authz/{worker}/check.sock")) == Path("/run/authz")
    assert socket_directory(LOOPBACK) is None


def test_a_port_in_use_is_refused() -> None:
    """gRPC would say less, and with a shared port nothing at all."""
    with closing(listen_on(LOOPBACK)) as taken:
        address = bound_address(taken, LOOPBACK)
        with pytest.raises(AddressTaken, match=f"cannot listen on {address}: another program listens there"):
            check_free([address])


def test_a_port_that_others_would_share_is_refused() -> None:
    """SO_REUSEPORT of the other side is no invitation."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressTaken):
            check_free([TcpAddress("127.0.0.1", taken.getsockname()[1])])


def test_a_socket_in_use_is_refused_and_a_stale_one_is_not(tmp_path: Path) -> None:
    """A server that was killed leaves its socket behind."""
    address = UnixAddress(str(tmp_path / "check.sock"))
    with closing(listen_on(address)), pytest.raises(AddressTaken, match="another program listens there"):
        check_free([address])
    assert Path(address.path).exists()
    check_free([address])


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """Not just "no such file"."""
    with pytest.raises(AddressTaken, match=f"the directory {tmp_path}/none is missing"):
        check_free([UnixAddress(f"{tmp_path}/none/check.sock")])
