"""What claims say about a user."""

import pytest

from authz_server.identity.claims import find_claim, groups, roles, scopes
from authz_server.identity.settings import ClaimNames


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", 1),
        ("b.c", "whole name"),
        ("b", {"c": "nested", "d": {"e": 2}}),
        ("b.d", {"e": 2}),
        ("b.d.e", 2),
        ("https://x.example/roles", ["r"]),
        ("b.d.f", None),
        ("a.b", None),
        ("l.0", None),
        ("", None),
        (".", None),
        ("absent", None),
    ],
)
def test_a_claim_is_found_by_its_whole_name_first(name: str, expected: object) -> None:
    """The whole name, then the dotted path through objects."""
    claims = {
        "a": 1,
        "b.c": "whole name",
        "b": {"c": "nested", "d": {"e": 2}},
        "https://x.example/roles": ["r"],
        "l": ["x"],
    }
    assert find_claim(claims, name) == expected


@pytest.mark.parametrize(
    ("value", "as_scopes", "as_others"),
    [
        ("a b", {"a", "b"}, {"a b"}),
        ("a", {"a"}, {"a"}),
        ("  a  b ", {"a", "b"}, {"  a  b "}),
        ("a\tb", {"a\tb"}, {"a\tb"}),
        (["a", "b c"], {"a", "b c"}, {"a", "b c"}),
        (["a", 1, None, True, ["b"], {"c": "d"}, ""], {"a"}, {"a"}),
        ("", set(), set()),
        ([], set(), set()),
        (None, set(), set()),
        (5, set(), set()),
        (True, set(), set()),
        ({"a": "b"}, set(), set()),
    ],
)
def test_scopes_roles_and_groups_are_texts(value: object, as_scopes: set[str], as_others: set[str]) -> None:
    """A scope text is separated by spaces; roles and groups as text are one; what is no text fits no rule."""
    claims = {"scope": value, "realm": {"roles": value}, "groups": value}
    names = ClaimNames(roles="realm.roles")
    assert scopes(claims, names) == as_scopes
    assert roles(claims, names) == as_others
    assert groups(claims, names) == as_others
