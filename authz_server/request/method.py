"""The canonical method: methods are compared exactly, so only upper-case tokens are methods."""

import re

from authz_server.errors import Reason, Refused

# The characters of a token (RFC 9110 section 5.6.2) without lower-case letters.
_USUAL = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+", re.ASCII)


def canonical_method(text: str) -> str:
    """Check that the text is a method in upper case and return it. Raises Refused (`bad_method`)."""
    if text in _USUAL:
        return text
    if _METHOD.fullmatch(text) is None:
        raise Refused(Reason.BAD_METHOD, "the method is not an upper-case token" if text else "there is no method")
    return text
