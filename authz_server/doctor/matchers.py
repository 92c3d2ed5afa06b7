"""Whether a header is what Envoy's matchers mean."""

import re

from authz_server.doctor.view import View


def matches(matchers: View, header: str) -> bool:
    """Whether one of a ListStringMatcher fits; header names are in lower case, as Envoy has them."""
    return any(fits(pattern, header) for pattern in matchers["patterns"].each())


def fits(pattern: View, header: str) -> bool:
    """The same for one StringMatcher."""
    exact, prefix, suffix, part = [_text(pattern, name) for name in ("exact", "prefix", "suffix", "contains")]
    if exact or prefix or suffix or part:
        starts, ends = bool(prefix) and header.startswith(prefix), bool(suffix) and header.endswith(suffix)
        return header == exact or starts or ends or (bool(part) and part in header)
    try:
        return re.fullmatch(pattern.at("safe_regex", "regex").text, header) is not None
    except re.error:
        return False


def _text(pattern: View, name: str) -> str:
    text = pattern[name].text
    return text.lower() if pattern["ignore_case"].on else text
