"""The callers behind trusted proxies, by `x-forwarded-client-cert`.

Each proxy appends one element about its own peer: `By=<the proxy's ID>;Hash=<SHA-256 of the peer's certificate>;`
`URI=<the peer's ID>` (Envoy, "x-forwarded-client-cert"). Envoy does not quote the URI, so a name with commas in a
certificate can forge further elements, and one with semicolons further keys. So `URI` is the last key of an element,
every element was written by the hop that the one to its right is about, no hop comes twice, and nothing stands to the
left of the caller: what is forged breaks one of these.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.model import SpiffeId

HEADER = "x-forwarded-client-cert"
MAX_BYTES = 16 * 1024
MAX_ELEMENTS = 16

_KEYS = frozenset({"By", "Hash", "Cert", "Chain", "Subject", "URI", "DNS"})
_PAIR = re.compile(r'([A-Za-z]++)=(?:"((?:[^"\\]|\\[ -~])*+)"|([^",;=\s]*+))([;,]|\Z)', re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class InvalidXfcc(ValueError):
    """A header that does not say in one way who calls; the message is for operators."""


class Element(Struct, frozen=True):
    """What a proxy says of its peer."""

    by: SpiffeId
    """The proxy that wrote it."""
    fingerprint: str
    """SHA-256 of the DER form of the peer's certificate, lower-case hexadecimal."""
    id: SpiffeId
    certificate: str
    """The peer's certificate, URL-encoded PEM; "" where the proxy does not pass it on."""


def parse_xfcc(value: bytes) -> list[Element]:
    """All elements from left to right. Raises InvalidXfcc."""
    if len(value) > MAX_BYTES:
        raise InvalidXfcc(f"it is longer than {MAX_BYTES:,} bytes")
    text = value.decode("latin-1")
    if not text.isascii():
        raise InvalidXfcc("it has bytes outside ASCII")
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text) or not elements[-1]:
        pair = _PAIR.match(text, position)
        if pair is None:
            raise InvalidXfcc(f"no pair of key and value begins at byte {position}")
        key, quoted, plain, end = pair.groups()
        if key not in _KEYS or key in elements[-1]:
            raise InvalidXfcc("an element has a key twice, or one that is not known")
        # What follows may be a part of the peer's own name, which Envoy does not quote.
        if "URI" in elements[-1]:
            raise InvalidXfcc("an element goes on after its `URI`: the hop must forward no DNS names")
        elements[-1][key] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = pair.end()
        if end == ",":
            elements.append({})
        elif end == ";" and position == len(text):
            raise InvalidXfcc("it ends within an element")
    if len(elements) > MAX_ELEMENTS:
        raise InvalidXfcc(f"it has more than {MAX_ELEMENTS} elements")
    return [_element(pairs) for pairs in elements]


def _element(pairs: dict[str, str]) -> Element:
    for key in ("By", "Hash", "URI"):
        if not pairs.get(key):
            raise InvalidXfcc(f"an element has no `{key}`")
    if not _HASH.fullmatch(pairs["Hash"]):
        raise InvalidXfcc("the `Hash` of an element is no SHA-256")
    try:
        by, identity = parse_spiffe_id(pairs["By"]), parse_spiffe_id(pairs["URI"])
    except InvalidSpiffeId as error:
        raise InvalidXfcc(f"`By` or `URI` of an element is not acceptable: {error}") from error
    return Element(by, pairs["Hash"], identity, pairs.get("Cert", ""))


def without_own(elements: list[Element], peer: SpiffeId, fingerprint: str | None) -> list[Element]:
    """The elements but for the last one, which the proxy that asks us has appended about its peer.

    `fingerprint` is that of the peer's certificate, where there is one. Raises InvalidXfcc.
    """
    *others, own = elements
    if own.id != peer or fingerprint not in (None, own.fingerprint):
        raise InvalidXfcc("its last element is not about the peer: the proxy that asks must append one")
    return others


def caller_behind(elements: list[Element], peer: SpiffeId, is_hop: Callable[[SpiffeId], bool]) -> Element | None:
    """The element about the first caller that is no hop, seen from a peer that is one; None where no hop names a peer.

    Raises InvalidXfcc.
    """
    remaining = list(elements)
    hop, passed = peer, {peer}
    while remaining:
        element = remaining.pop()
        if element.by != hop:
            raise InvalidXfcc("an element was not written by the hop that follows it")
        # Forged elements could lead away from the hop that wrote them, and back to it.
        if element.id in passed:
            raise InvalidXfcc("a hop stands in it twice")
        if not is_hop(element.id):
            if remaining:
                raise InvalidXfcc("there are elements before that of the caller")
            return element
        hop = element.id
        passed.add(hop)
    return None
