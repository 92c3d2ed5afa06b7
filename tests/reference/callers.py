"""Whether a caller fits what a rule names."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from tests.reference.asked import Item


def spiffe_fits(pattern: str, name: str) -> bool:
    """Whether a SPIFFE ID fits a pattern: `*` is one segment, a last `/**` one or more."""
    parts, segments = pattern.split("/")[2:], name.split("/")[2:]
    if parts[-1] == "**":
        parts, segments = parts[:-1], segments[: len(parts) - 1] if len(segments) >= len(parts) else []
    return len(parts) == len(segments) and all(part in ("*", one) for part, one in zip(parts, segments, strict=True))


def user_fits(users: Item, user: Mapping[str, Any]) -> bool:
    """Whether a user is one of those that a rule names."""
    claims = users.get("claims", {})
    return (
        user["issuer"] == users["issuer"]
        and ("subjects" not in users or user["sub"] in users["subjects"])
        and set(users.get("scopes", [])) <= set(user.get("scopes", []))
        and ("roles" not in users or bool(set(users["roles"]) & set(user.get("roles", []))))
        and ("groups" not in users or bool(set(users["groups"]) & set(user.get("groups", []))))
        and all(_claim_fits(user.get(name), wanted) for name, wanted in claims.items())
    )


def _claim_fits(value: object, wanted: object) -> bool:
    """One of the wanted values is the claim, or one of its elements; numbers are no texts."""
    values = value if isinstance(value, list) else [value]
    all_wanted = wanted if isinstance(wanted, list) else [wanted]
    return any(type(one) is type(other) and one == other for one in values for other in all_wanted)


def ip_of(text: str) -> Any:
    """The address, an IPv4-mapped one as IPv4."""
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
