"""Queries as conditions see them."""

import pytest

from authz_server.request.query import MAX_PARAMETERS, UnreadableQuery, parse_query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=1", {"a": ["1"]}),
        ("a=1&a=2&b=3", {"a": ["1", "2"], "b": ["3"]}),
        ("a=1;a=2", {"a": ["1;a=2"]}),
        ("a=b+c", {"a": ["b+c"]}),
        ("a=b%20c&%61=d", {"a": ["b c", "d"]}),
        ("a=%2526", {"a": ["%26"]}),
        ("a=%26b%3Dc", {"a": ["&b=c"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("a&b=", {"a": [""], "b": [""]}),
        ("=x", {"": ["x"]}),
        ("&&a=1&&", {"a": ["1"]}),
        ("a=%C3%A9&b=é", {"a": ["é"], "b": ["é"]}),
        ("a=\\x41%41\\", {"a": ["\\x41A\\"]}),
        ("a=%5C%5c", {"a": ["\\\\"]}),
        ("A=1&a=2", {"A": ["1"], "a": ["2"]}),
    ],
)
def test_each_name_has_a_list_of_values_decoded_once(text: str, expected: dict[str, list[str]]) -> None:
    """PATH-12: `+` stays, `;` separates nothing, and nothing is decoded twice."""
    assert parse_query(text) == expected


@pytest.mark.parametrize("text", ["a=%", "a=%zz", "%4=a", "a=%00", "%00=a", "a=\x00", "a=%ff", "%C3=1", "a=%ED%A0%80"])
def test_a_query_without_a_single_reading_is_unreadable(text: str) -> None:
    """PATH-12: broken escapes, bytes that are not UTF-8, and NUL."""
    with pytest.raises(UnreadableQuery):
        parse_query(text)


def test_a_query_has_a_bounded_number_of_parameters() -> None:
    """Reading a query takes bounded work."""
    assert parse_query("&".join(["a=1"] * MAX_PARAMETERS)) == {"a": ["1"] * MAX_PARAMETERS}
    with pytest.raises(UnreadableQuery):
        parse_query("&".join(["a=1"] * (MAX_PARAMETERS + 1)))
