"""Addresses to listen on."""

import pytest

from authz_server.worker.address import Address, AddressError, TcpAddress, UnixAddress, of_slot, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9001", TcpAddress("127.0.0.1", 9001)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:9001", TcpAddress("::1", 9001)),
        ("0.0.0.0:65535", TcpAddress("0.0.0.0", 65535)),
        ("unix:/run/check.sock", UnixAddress("/run/check.sock")),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    """What is printed reads as the same address."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "9001", "127.0.0.1", "127.0.0.1:", ":9001", "::1:9001", "[::1]", "[127.0.0.1:1", "host.example:1"),
        *("127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣", "127.0.0.1:1e3", "127.0.0.1: 1"),
        *("unix:", "unix:/a\0b", "unix:/" + "a" * 107),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Names other than localhost too: what they mean can change."""
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        *(("127.0.0.2:1", True), ("[::1]:1", True), ("localhost:1", True), ("unix:/a", True)),
        *(("10.0.0.1:1", False), ("0.0.0.0:1", False), ("[::]:1", False)),
    ],
)
def test_loopback_is_known(text: str, loopback: bool) -> None:
    """Only what this machine alone can reach."""
    assert parse_address(text).loopback is loopback


def test_each_slot_has_an_address_of_its_own() -> None:
    """Ports count up, except the one that asks for a free port."""
    assert of_slot(TcpAddress("127.0.0.1", 9001), 2) == TcpAddress("127.0.0.1", 9003)
    assert of_slot(TcpAddress("127.0.0.1", 0), 2) == TcpAddress("127.0.0.1", 0)
    assert of_slot(UnixAddress("/run/{worker}/check-{worker}.sock"), 2) == UnixAddress("/run/2/check-2.sock")
