"""Strict JSON."""

import pytest

from authz_server.identity.strict_json import MAX_DEPTH, read_object


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        (' {"a": [1, -2.5, true, null, "é"]} ', {"a": [1, -2.5, True, None, "é"]}),
        ('{"a": 9223372036854775807, "b": -9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        ('{"a": 9007199254740993}', {"a": 9007199254740993}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        ('{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
    ],
)
def test_an_object_is_read_exactly(text: str, expected: object) -> None:
    """Integers keep every digit."""
    assert read_object(text.encode()) == expected


def nested(depth: int) -> bytes:
    """An object in which the deepest list stands at this depth."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"[]", b'"a"', b"1", b"null", b"{", b'{"a"}', b"{'a':1}", b'{"a":1,}', b'{"a":1}x', b'{"a":1}{}'),
        *(b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"a":[{"b":1,"b":2}]}', b'{"a":1,"\\u0061":2}'),
        *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e400}', b'{"a":-1e400}', b'{"a":0x10}'),
        *(b'{"a":9223372036854775808}', b'{"a":-9223372036854775809}', b'{"a":' + b"9" * 5000 + b"}", b'{"a":01}'),
        *(nested(MAX_DEPTH + 1), nested(5000), b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a":' * 9000),
        *(
            b'\xef\xbb\xbf{"a":1}',
            '{"a":1}'.encode("utf-16"),
            '{"a":1}'.encode("utf-16-le"),
            '{"a":1}'.encode("utf-32"),
        ),
        *(b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\xaf"}'),
        *(b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":"\x00"}', b'{"a":["\\ud800"]}', b'{"a":"\\ude00\\ud83d"}'),
        *(b'{"a":"\n"}', b'{"a":"\\x"}', b'{"a":tru}', b'\x00{"a":1}', b'{"a":1}\x00'),
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(data: bytes) -> None:
    """JWT-06: always a ValueError, whatever the input, and its words repeat none of it."""
    with pytest.raises(ValueError, match=r"\A[A-Za-z0-9, -]+\Z"):
        read_object(data)


def test_nesting_is_admitted_up_to_a_depth() -> None:
    """JWT-06: the bound is exact."""
    assert read_object(nested(MAX_DEPTH))
