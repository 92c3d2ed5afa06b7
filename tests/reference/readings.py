"""How backends of a lenient service may read a path, as the reference of the policy language describes it."""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from tests.reference.paths import Ambiguous, Path

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
INNER = "\1"
"""A slash that is part of a segment."""


def as_sent(target: str) -> Path:
    """The path of a target that a lenient service takes, as it was sent. Raises Ambiguous."""
    path = target.partition("?")[0]
    bad = set(' \x7f"<>^{|}`') | {chr(code) for code in range(0x20)}
    if not path.startswith("/") or "#" in target or set(path) & bad or not path.isascii() or len(path) > 65_536:
        raise Ambiguous
    if path.count("/") > 1024:
        raise Ambiguous
    if any(character <= " " or character == "\x7f" for character in target):
        raise Ambiguous
    if re.search("%(?![0-9A-Fa-f]{2})", path):
        raise Ambiguous
    text = path
    for _ in range(2):
        text = _decoded(text)
        if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
            raise Ambiguous
    if re.search("%[0-9A-Fa-f]{2}", text):
        raise Ambiguous
    return _path(path)


def every_reading(target: str) -> list[Path]:
    """All readings of a path. Raises Ambiguous where there are more than anybody needs."""
    path = target.partition("?")[0]
    found = {path}
    while True:
        more = {read(text) for text in found for read in STEPS} - found
        if not more:
            break
        found |= more
        slashes = len(re.findall(r"/|\\|%(?:25)*(?:2[Ff]|5[Cc])", path))
        if len(found) > 32 or len(path) > 4096 or slashes > 128:
            raise Ambiguous
    return [_path(text) for text in sorted(found)]


def _path(text: str) -> Path:
    segments = [segment.replace(INNER, "/") for segment in text.split("/")[1:]]
    return Path(tuple(segments if segments[-1] else segments[:-1]), not segments[-1])


def _decoded(text: str, keep: str = "") -> str:
    """Decoded but for the escapes of some characters; a percent sign that begins no escape stays."""

    def decode(match: re.Match[str]) -> str:
        escapes = re.findall("%..", match[0])
        kept = [escape if unquote_to_bytes(escape).decode("latin-1") in keep else None for escape in escapes]
        raw = [
            unquote_to_bytes(escape) if one is None else one.encode() for escape, one in zip(escapes, kept, strict=True)
        ]
        try:
            return b"".join(raw).decode()
        except UnicodeDecodeError:
            raise Ambiguous from None

    return re.sub("(?:%[0-9A-Fa-f]{2})+", decode, text)


def _unreserved(text: str) -> str:
    everything_else = "".join([chr(code) for code in range(256) if chr(code) not in UNRESERVED])
    return _decoded(text, everything_else)


def _resolved(text: str) -> str:
    segments: list[str] = []
    parts = text.split("/")[1:]
    for number, part in enumerate(parts):
        if part == "..":
            segments = segments[:-1]
        if part not in (".", ".."):
            segments.append(part)
        elif number == len(parts) - 1:
            segments.append("")
    return "/" + "/".join(segments)


def _resolved_with_escapes(text: str) -> str:
    parts = [part.lower().replace("%2e", ".") for part in text.split("/")]
    written = text.split("/")
    return _resolved("/".join([one if one in (".", "..") else two for one, two in zip(parts, written, strict=True)]))


def _resolved_to_the_end(text: str) -> str:
    ends_with_dots = text.split("/")[-1] in (".", "..")
    resolved = _resolved(text)
    return resolved[:-1] if ends_with_dots and resolved != "/" else resolved


def _without_host(text: str) -> str:
    match = re.fullmatch("//[^/]*/?(.*)", text, re.DOTALL)
    return text if match is None else f"/{match[1]}"


def _without_host_of_a_browser(text: str) -> str:
    match = re.fullmatch("//+[^/]*/?(.*)", text, re.DOTALL)
    return text if match is None else f"/{match[1]}"


def _cut(mark: str) -> Callable[[str], str]:
    return lambda text: text.split(mark)[0]


STEPS: list[Callable[[str], str]] = [
    _decoded,
    lambda text: _decoded(text.replace("%2f", INNER).replace("%2F", INNER)),
    lambda text: _decoded(text, "/"),
    lambda text: _decoded(text, "/\\"),
    _unreserved,
    lambda text: text.replace("\\", "/"),
    lambda text: re.sub("/+", "/", text),
    _without_host,
    _without_host_of_a_browser,
    _resolved,
    _resolved_to_the_end,
    _resolved_with_escapes,
    lambda text: re.sub(";[^/]*", "", text),
    lambda text: re.sub(";[^/]*$", "", text),
    _cut(";"),
    _cut("?"),
    _cut("#"),
]
