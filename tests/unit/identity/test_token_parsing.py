"""The strict reader of tokens."""

import gzip
import json

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.token import MAX_HEADER_BYTES, MAX_TOKEN_BYTES, strict_parse
from tests.unit.identity.tokens import encoded, encoded_json

HEADER = encoded_json({"alg": "ES256"})
PAYLOAD = encoded_json({"sub": "zoe"})
SIGNATURE = encoded(b"\x01" * 64)


def assert_refused(token: str) -> None:
    """Refused for its form, in words that repeat nothing of it."""
    with pytest.raises(Refused) as refused:
        strict_parse(token)
    assert refused.value.reason is Reason.TOKEN_INVALID
    assert "zoe" not in refused.value.detail


def test_a_token_is_taken_apart() -> None:
    """What was signed is the text of the first two parts."""
    parsed = strict_parse(f"{HEADER}.{PAYLOAD}.{SIGNATURE}")
    assert parsed.header == {"alg": "ES256"}
    assert parsed.claims == {"sub": "zoe"}
    assert parsed.signing_input == f"{HEADER}.{PAYLOAD}".encode()
    assert parsed.signature == b"\x01" * 64


@pytest.mark.parametrize("size", range(1, 10))
def test_parts_of_every_length_are_read(size: int) -> None:
    """JWT-05: canonical base64url of any number of bytes."""
    assert strict_parse(f"{HEADER}.{PAYLOAD}.{encoded(b'x' * size)}").signature == b"x" * size


@pytest.mark.parametrize(
    "token",
    [
        *(
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            HEADER,
            f"{HEADER}.{PAYLOAD}",
            f"{HEADER}.{PAYLOAD}.",
            f".{PAYLOAD}.{SIGNATURE}",
        ),
        *(f"{HEADER}..{SIGNATURE}", f"{HEADER}.{PAYLOAD}.{SIGNATURE}.", f".{HEADER}.{PAYLOAD}.{SIGNATURE}"),
        *(f"{HEADER}.{PAYLOAD}.{SIGNATURE}.{PAYLOAD}", f"{HEADER}.{PAYLOAD}.{PAYLOAD}.{PAYLOAD}.{SIGNATURE}"),
        ".".join([HEADER, *[PAYLOAD] * 4, SIGNATURE]),
        json.dumps({"protected": HEADER, "payload": PAYLOAD, "signature": SIGNATURE}),
        *(f" {HEADER}.{PAYLOAD}.{SIGNATURE}", f"{HEADER}.{PAYLOAD}.{SIGNATURE}\n", f"{HEADER}.{PAYLOAD} .{SIGNATURE}"),
        *(
            f"{HEADER}.{PAYLOAD}.{SIGNATURE}=",
            f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
            f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-4]}+AAA",
        ),
        *(f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-4]}/AAA", f"{HEADER}.{PAYLOAD}.{SIGNATURE}é", f"{HEADER}.{PAYLOAD}.\uff21"),
        *(f"{HEADER}.{PAYLOAD}.AB", f"{HEADER}.{PAYLOAD}.AAB", f"{HEADER}.{PAYLOAD}.A", f"{HEADER}.{PAYLOAD}.AAAAA"),
        f"{HEADER}.{PAYLOAD}.{'A' * MAX_TOKEN_BYTES}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}\x00",
    ],
)
def test_what_is_not_three_parts_of_canonical_base64url_is_refused(token: str) -> None:
    """JWT-05, JWT-13: other numbers of parts, padding, whitespace, foreign alphabets, idle bits, and length."""
    assert_refused(token)


def test_idle_bits_must_be_zero() -> None:
    """JWT-05: of the characters that decode to the same bytes only one is accepted."""
    last_characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for prefix, expected in (("A", 4), ("AA", 16)):
        accepted = 0
        for character in last_characters:
            token = f"{HEADER}.{PAYLOAD}.{prefix}{character}"
            try:
                strict_parse(token)
            except Refused:
                continue
            accepted += 1
        assert accepted == expected


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"null", b'"zoe"', b'{"sub":"zoe","sub":"bob"}', b'{"sub":"zoe"}x', b'\xef\xbb\xbf{"sub":"zoe"}'),
        *(b'{"sub":"zoe","exp":NaN}', b'{"sub":"zoe","exp":Infinity}', b'{"sub":"zoe","exp":1e400}'),
        *(b'{"sub":"zoe","a":' + b"9" * 5000 + b"}", b'{"sub":"zoe","a":' + b"[" * 33 + b"]" * 33 + b"}"),
        *(b'{"sub":"zoe","a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":' * 2000),
        *('{"sub":"zoe"}'.encode("utf-16"), b'{"sub":"zoe\\ud800"}', b'{"sub":"zoe\\u0000"}', b'{"sub":"zoe\xff"}'),
        *(gzip.compress(b'{"sub":"zoe"}', mtime=0), f"{HEADER}.{PAYLOAD}.{SIGNATURE}".encode()),
    ],
)
def test_a_part_that_is_no_strict_json_object_is_refused(data: bytes) -> None:
    """JWT-06: in the payload as in the header, 401 and never an error of ours."""
    assert_refused(f"{HEADER}.{encoded(data)}.{SIGNATURE}")
    assert_refused(f"{encoded(data)}.{PAYLOAD}.{SIGNATURE}")


def test_a_header_has_a_bounded_length() -> None:
    """JWT-05: 2 KiB, decoded."""
    shell = len(json.dumps({"alg": "ES256", "kid": ""}))
    fitting = encoded_json({"alg": "ES256", "kid": "k" * (MAX_HEADER_BYTES - shell)})
    strict_parse(f"{fitting}.{PAYLOAD}.{SIGNATURE}")
    assert_refused(
        f"{encoded_json({'alg': 'ES256', 'kid': 'k' * (MAX_HEADER_BYTES - shell + 1)})}.{PAYLOAD}.{SIGNATURE}"
    )
