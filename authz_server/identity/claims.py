"""What the claims of a token say about a user."""

from collections.abc import Mapping
from typing import Any

from authz_server.identity.settings import ClaimNames


def find_claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its whole name, else by its dotted path; None where there is none."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def scopes(claims: Mapping[str, Any], names: ClaimNames) -> frozenset[str]:
    """The scopes: a space-separated text (RFC 8693 section 4.2) or a list of texts."""
    value = find_claim(claims, names.scopes)
    if isinstance(value, str):
        return frozenset(value.split(" ")) - {""}
    return _texts(value)


def roles(claims: Mapping[str, Any], names: ClaimNames) -> frozenset[str]:
    """The roles: a list of texts; a text is a list of one."""
    return _texts(find_claim(claims, names.roles))


def groups(claims: Mapping[str, Any], names: ClaimNames) -> frozenset[str]:
    """The groups: a list of texts; a text is a list of one."""
    return _texts(find_claim(claims, names.groups))


def _texts(value: object) -> frozenset[str]:
    # No rule can name what is not a text, so leaving it out changes no decision.
    elements = value if isinstance(value, list) else [value]
    return frozenset([element for element in elements if isinstance(element, str) and element])
