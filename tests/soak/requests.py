"""Requests that reach the server as they are sent: what Envoy itself refuses or rewrites is not among them."""

import re
from collections.abc import Mapping
from random import Random

from msgspec.structs import replace

from tests.envoy.clients import LOOPBACK, Ask
from tests.reference.asked import Asked
from tests.reference.worlds import TARGETS, ask

WORKLOADS = {
    "a-x": "spiffe://shop.example/ns/a/sa/x",
    "b-x": "spiffe://shop.example/ns/b/sa/x",
    "ab-x": "spiffe://shop.example/ns/ab/sa/x",
    "a": "spiffe://shop.example/ns/a",
}
NAMES = {spiffe_id: name for name, spiffe_id in WORKLOADS.items()}
UNCHANGED = [target for target in TARGETS if re.fullmatch(r"/([A-Za-z0-9.?=_-]|%20|/(?!/|\.\.))*", target)]
"""Envoy resolves dots and unreserved escapes, merges slashes, and refuses escaped ones and fragments."""
_KEPT_HEADERS = ("x-a", "content-type")


def draw(chance: Random, port: int) -> Asked:
    """A request of somebody; `port` is Envoy's."""
    asked = ask(chance)
    method = chance.choice(["GET", "POST", "DELETE"]) if asked.method == "CONNECT" else asked.method
    return replace(
        asked,
        method=method,
        target=chance.choice(UNCHANGED),
        headers={name: value for name, value in asked.headers.items() if name in _KEPT_HEADERS},
        workload=asked.workload if asked.workload in NAMES else None,
        bad_token=asked.bad_token and asked.user is not None,
        address=LOOPBACK,
        port=port,
        service=None,
        # A service that gets a call of gRPC reads no body of it that is none.
        body=asked.body or None,
        body_is_whole=True,
        metadata={},
    )


def as_sent(asked: Asked, token: str | None) -> Ask:
    """The request on the wire."""
    headers: Mapping[str, str] = dict(asked.headers)
    if token is not None:
        headers = {**headers, "authorization": f"Bearer {token}"}
    if asked.body is not None:
        headers = {**headers, "content-length": str(len(asked.body))}
    return Ask(asked.method, asked.target, asked.host, tuple(headers.items()), asked.body)
