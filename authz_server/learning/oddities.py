"""Paths that somebody tries rather than uses: what scanners ask for, and characters of injections."""

import re

from authz_server.model import Path

_PROBED = frozenset(
    {
        "_ignition",
        "boaform",
        "cgi-bin",
        "eval-stdin.php",
        "hnap1",
        "id_rsa",
        "passwd",
        "phpinfo.php",
        "phpmyadmin",
        "server-status",
        "shadow",
        "web-inf",
        "web.config",
        "win.ini",
        "wp-admin",
        "wp-content",
        "wp-includes",
        "wp-login.php",
        "xmlrpc.php",
    }
)
"""Segments, in lower case."""
_LEFTOVERS = (".bak", ".old", ".orig", ".sql", ".swp", "~")
"""Ends of files that nobody means to serve."""
# Nothing that names something has these; templates could not be written with some of them.
_CHARACTERS = re.compile(r"[<>\"'`|^{}*]|\$\(")


def oddity(path: Path) -> str | None:
    """The first segment that looks like an attack; None where there is none."""
    return next((segment for segment in path.segments if _is_odd(segment)), None)


def _is_odd(segment: str) -> bool:
    folded = segment.casefold()
    hidden = segment.startswith(".") and folded != ".well-known"
    probed = folded in _PROBED or folded.endswith(_LEFTOVERS)
    return hidden or probed or not segment.isprintable() or _CHARACTERS.search(segment) is not None
