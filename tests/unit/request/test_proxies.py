"""The client's address behind proxies."""

import pytest

from authz_server.model import Request
from authz_server.request.proxies import Proxies

PROXIES = Proxies(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.7", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1,10.0.0.9 ,\t10.0.0.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.7, 2001:db8::1"], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [""], ""),
        ("10.0.0.1", ["198.51.100.1,"], ""),
        ("10.0.0.1", ["198.51.100.1, unknown"], ""),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2:80"], ""),
        ("10.0.0.1", ["198.51.100.1\xff"], ""),
        ("", ["198.51.100.1"], ""),
        ("10.0.0.1", [", ".join(["198.51.100.1", *["10.0.0.2"] * 31])], "198.51.100.1"),
        ("10.0.0.1", [", ".join(["198.51.100.1", *["10.0.0.2"] * 32])], ""),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, forwarded: list[str], expected: str
) -> None:
    """Nothing further left is believed, and what is no address is not passed over."""
    headers = tuple([("X-Forwarded-For", value.encode("latin-1")) for value in forwarded])
    assert PROXIES.behind(Request(client_address=peer, headers=headers)).client_address == expected
