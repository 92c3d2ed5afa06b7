"""The client's address."""

from ipaddress import ip_address

import pytest

from authz_server.request.address import client_ip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::FFFF:0a01:0203", "10.1.2.3"),
        ("::1", "::1"),
    ],
)
def test_an_address_is_parsed_and_mapped_ones_are_ipv4(text: str, expected: str) -> None:
    """An IPv4-mapped address is compared with networks as IPv4."""
    assert client_ip(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "10.1.2",
        "010.1.2.3",
        "10.1.2.3/8",
        "fe80::1%eth0",
        "[::1]",
        "1" * 1000,
        "10.1.2.3\n",
        "\u0661.1.1.1",
    ],
)
def test_what_is_no_address_is_unknown(text: str) -> None:
    """An address is never guessed."""
    assert client_ip(text) is None
