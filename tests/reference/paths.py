"""Paths as the reference of the policy language describes them."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_CAPTURE = re.compile(r"(.*)\{(\w+)(?::(int|uuid))?\}(.*)", re.DOTALL)
_KINDS = {
    None: r".+",
    "int": r"[0-9]{1,18}",
    "uuid": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
}


class Ambiguous(Exception):
    """Two servers could read the path in two ways."""


class Path(NamedTuple):
    """Decoded segments, and whether a slash follows them."""

    segments: tuple[str, ...]
    slash: bool


def read_path(target: str, *, connect: bool) -> Path:
    """The path of a request target. Raises Ambiguous."""
    path = target.partition("?")[0]
    if not target and connect:
        return Path((), False)
    bad = set(' \x7f"<>^{|}`;\\') | {chr(code) for code in range(0x20)}
    if not path.startswith("/") or "#" in target or set(path) & bad or not path.isascii() or len(path) > 65_536:
        raise Ambiguous
    if path.count("/") > 1024:
        raise Ambiguous
    if any(character <= " " or character == "\x7f" for character in target):
        raise Ambiguous
    *segments, last = [_decoded(segment) for segment in path.split("/")[1:]]
    if "" in segments or {".", ".."} & {*segments, last}:
        raise Ambiguous
    return Path((*segments, last) if last else tuple(segments), not last)


def _decoded(segment: str) -> str:
    if re.search("%(?![0-9A-Fa-f]{2})", segment):
        raise Ambiguous
    for escape in re.findall("%..", segment):
        if unquote_to_bytes(escape) in (b"/", b"\\", b".", b"%", b";", b"?", b"#"):
            raise Ambiguous
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Ambiguous from None
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise Ambiguous
    return text


def fits_exactly(template: str, path: Path) -> Mapping[str, str] | None:
    """The captures of a template that fits a path as it stands."""
    *parts, last = template.split("/")[1:]
    rest = last == "**" or last.endswith("...}")
    if rest:
        if len(path.segments) <= len(parts):
            return None
        captures = _captures(parts, path.segments[: len(parts)], "")
        if captures is not None and last != "**":
            captures |= {last[1:-4]: "/".join(path.segments[len(parts) :])}
        return captures
    if path.slash is not (last == ""):
        return None
    return _captures([*parts, last] if last else parts, path.segments, "")


def fits_folded(template: str, path: Path) -> list[Mapping[str, str]]:
    """The captures of a deny rule's template, in each way in which somebody may read the path, if any."""
    found: list[Mapping[str, str]] = []
    folded = _fold_template(template)
    for segments, slash in product(_readings(path.segments), (False, True)):
        if fits_exactly(folded, Path(tuple([part.lower() for part in segments]), slash)) is not None:
            original = _fits_in_any_case(template, Path(segments, slash))
            lower = fits_exactly(folded, Path(tuple([part.lower() for part in segments]), slash))
            found += [captures for captures in (original, lower) if captures is not None]
    return found


def _readings(segments: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """As they are, without trailing dots and spaces, and without what is nothing else at the end."""
    yield segments
    stripped = [segment.rstrip(". ") or segment for segment in segments]
    yield tuple(stripped)
    while stripped and not stripped[-1].strip(". "):
        stripped.pop()
    yield tuple(stripped)


def _fold_template(template: str) -> str:
    """Literal text in lower case; names of captures stay."""
    return "".join([part if part.startswith("{") else part.lower() for part in re.split(r"(\{[^}]*\})", template)])


def _fits_in_any_case(template: str, path: Path) -> Mapping[str, str] | None:
    *parts, last = template.split("/")[1:]
    if last == "**" or last.endswith("...}"):
        captures = _captures(parts, path.segments[: len(parts)], "(?i)")
        if captures is not None and last != "**":
            captures |= {last[1:-4]: "/".join(path.segments[len(parts) :])}
        return captures
    return _captures([*parts, last] if last else parts, path.segments, "(?i)")


def _captures(parts: list[str], segments: tuple[str, ...], flags: str) -> dict[str, str] | None:
    if len(parts) != len(segments):
        return None
    captures: dict[str, str] = {}
    for part, segment in zip(parts, segments, strict=True):
        match = _CAPTURE.fullmatch(part)
        if match is None:
            if re.fullmatch(flags + re.escape(part), segment) is None:
                return None
            continue
        before, name, kind, after = match.groups()
        pattern = f"{flags}(?s){re.escape(before)}({_KINDS[kind]}){re.escape(after)}"
        found = re.fullmatch(pattern.replace("(?i)(?s)", "(?is)"), segment)
        if found is None:
            return None
        captures[name] = found[1]
    return captures
