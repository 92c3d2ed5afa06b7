"""Which values an answer may carry: what Envoy passes on, within bounds."""

import re
from typing import Literal

Place = Literal["header", "query parameter", "metadata", "body", "hint"]

MAX_BYTES: dict[Place, int] = {
    "header": 16_384,
    "query parameter": 1024,
    "metadata": 4096,
    "body": 65_536,
    "hint": 1024,
}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Envoy answers 500 to the client for any other character in a parameter that it is told to set, escapes included.
_QUERY_VALUE = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)


def fault(place: Place, value: str) -> str | None:
    """Why a value cannot stand in its place, for people and without the value; None where it can."""
    if len(value.encode(errors="surrogatepass")) > MAX_BYTES[place]:
        return f"it is longer than {MAX_BYTES[place]:,} bytes"
    # RFC 9110 section 5.5.
    if place == "header" and (control := _CONTROL.search(value)):
        return f"it holds the control character U+{ord(control.group()):04X}"
    if place == "query parameter" and not _QUERY_VALUE.fullmatch(value):
        return "Envoy takes letters, digits, `.`, `_` and `-` only"
    return None
