"""In which form a client wants to read why it was denied (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Iterable
from functools import lru_cache

from authz_server.bounds import KIB, Bound
from authz_server.model import BodyFormat
from authz_server.request.grpc import is_grpc_type

MAX_ACCEPT_BYTES = 1024
ACCEPTED = Bound(
    "`accept`",
    "worker",
    entries=1024,
    bytes=1024 * (MAX_ACCEPT_BYTES + KIB // 2),
    holds="The form of denials that an `accept` prefers.",
    full="The one that was used least recently goes.",
    kept_in=("_preferred",),
)
_QUALITY = re.compile(r"[01](?:\.[0-9]{0,3})?", re.ASCII)
# By preference where a client has none. A name that fits better stands first.
_NAMES: dict[BodyFormat, tuple[str, ...]] = {
    "problem": ("application/problem+json", "application/json", "application/*", "*/*"),
    "page": ("text/html", "text/*", "*/*"),
    "plain": ("text/plain", "text/*", "*/*"),
}


def denial_format(headers: Iterable[tuple[str, bytes]]) -> BodyFormat:
    """The form that fits the headers of a request best, whatever else is wrong with them."""
    accepted, is_grpc = [], False
    for name, value in headers:
        lower = name.lower()
        if lower == "content-type":
            is_grpc = is_grpc or is_grpc_type(value)
        elif lower == "accept":
            accepted.append(value)
    return accepted_format(b",".join(accepted), is_grpc=is_grpc)


def accepted_format(accept: bytes | None, *, is_grpc: bool) -> BodyFormat:
    """The form that this `Accept` prefers: a problem where it does not say, and for gRPC a status."""
    if is_grpc:
        return "grpc"
    return _preferred(accept) if accept and len(accept) <= MAX_ACCEPT_BYTES else "problem"


# Clients of one kind send the same again and again.
@lru_cache(maxsize=ACCEPTED.entries)
def _preferred(accept: bytes) -> BodyFormat:
    qualities = _qualities(accept.decode("latin-1").lower())
    return max(_NAMES, key=lambda form: _quality(form, qualities))


def _qualities(accept: str) -> dict[str, float]:
    """Media range -> its `q`; a range whose `q` cannot be read is left out."""
    qualities = {}
    for part in accept.split(","):
        name, *parameters = [piece.strip(" \t") for piece in part.split(";")]
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        if _QUALITY.fullmatch(quality):
            qualities[name] = min(1.0, float(quality))
    return qualities


def _quality(form: BodyFormat, qualities: dict[str, float]) -> float:
    return next((qualities[name] for name in _NAMES[form] if name in qualities), 0.0)
