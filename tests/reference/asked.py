"""What is asked of the reference, and what it answers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

Item = Mapping[str, Any]
Documents = Mapping[str, Mapping[str, Any]]
"""By the path of their file: `shop/orders.yaml`."""


class Asked(Struct, frozen=True, kw_only=True):
    """A request, and who makes it."""

    method: str = "GET"
    target: str = "/"
    host: str = "orders.shop.example"
    headers: Mapping[str, str] = {}
    workload: str | None = None
    user: Mapping[str, Any] | None = None
    """`issuer` by its configured name, `sub`, `scopes`, `roles`, `groups`, and other claims."""
    bad_token: bool = False
    address: str = ""
    port: int | None = None
    service: str | None = None
    """Named by the route."""
    now: float = 0.0
    body: bytes | None = None
    """What came of it; None where nothing did."""
    body_is_whole: bool = True
    """That is all of it, or there is none."""
    metadata: Mapping[str, Mapping[str, Any]] = {}


class Expected(NamedTuple):
    """What is decided."""

    reason: str
    rule: str | None = None


class Unknown(Exception):
    """A condition cannot be evaluated."""


class Incomplete(Unknown):
    """It needs the body, of which not all came."""


Condition = Callable[[Asked, Mapping[str, str]], bool]
