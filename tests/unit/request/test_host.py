"""Canonical hosts."""

import pytest

from authz_server.errors import Reason, Refused
from authz_server.request.host import Host, canonical_host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders.shop.example", Host("orders.shop.example", None)),
        ("H.EXAMPLE", Host("h.example", None)),
        ("h.example.", Host("h.example", None)),
        ("h.example:80", Host("h.example", 80)),
        ("H.example.:8443", Host("h.example", 8443)),
        ("h:65535", Host("h", 65535)),
        ("localhost", Host("localhost", None)),
        ("my_service-1", Host("my_service-1", None)),
        ("127.0.0.1:9001", Host("127.0.0.1", 9001)),
        ("[::1]", Host("[::1]", None)),
        ("[2001:DB8:0:0::1]:443", Host("[2001:db8::1]", 443)),
        ("a" * 253, Host("a" * 253, None)),
        ("a" * 253 + ".:65535", Host("a" * 253, 65535)),
    ],
)
def test_a_host_is_lower_case_without_port_and_trailing_dot(text: str, expected: Host) -> None:
    """HOST-02: what patterns are compared with."""
    assert canonical_host(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "h..example", ".h.example", "h.example..", ":80", "-:"),
        *("user@h.example", "user:pw@h.example", "a.example,b.example", "h%2eexample", "h.example%00"),
        *(
            "h.example:",
            "h.example:0",
            "h.example:080",
            "h.example:65536",
            "h.example:999999",
            "h:8o",
            "h:80:80",
            "h:-1",
        ),
        *(
            " h",
            "h ",
            "h\n",
            "h\t",
            "h\x00",
            "h/x",
            "h?x",
            "h#x",
            "h\\x",
            "h;x",
            "h*",
            "*",
            "h!",
            "hé",
            "\uff48",
            "h\u212a",
        ),
        *("[::1", "::1", "[]", "[:]", "[::g]", "[::1%25eth0]", "[::1%eth0]", "[v1.x]", "[::1]x", "[::1]:", "[1.2.3.4]"),
        *("[::1]:65536", "[" + "1:" * 30 + "1]"),
        *("a" * 254, "a" * 10_000, "a" * 254 + ":80"),
        "h:\u0668\u0660",
    ],
)
def test_anything_but_a_name_or_an_ipv6_literal_is_refused(text: str) -> None:
    """HOST-02: userinfo, commas, escapes, bad ports, foreign characters and overlong names are no host."""
    with pytest.raises(Refused) as refused:
        canonical_host(text)
    assert refused.value.reason is Reason.BAD_HOST


@pytest.mark.parametrize("code", range(256))
def test_only_letters_digits_hyphen_underscore_and_dot_stand_in_a_name(code: int) -> None:
    """Each character, inside a label."""
    character = chr(code)
    if character.isascii() and (character.isalnum() or character in "-_."):
        assert canonical_host(f"a{character}b").name == f"a{character}b".lower()
    else:
        with pytest.raises(Refused):
            canonical_host(f"a{character}b")
