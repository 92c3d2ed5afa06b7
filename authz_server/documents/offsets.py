"""Where each character of a YAML scalar's value stands in the file.

A condition that is quoted, folded or written as a block is not the text that stands in the file, and its errors are to
be underlined there all the same.
"""

from collections.abc import Iterator

_SPACE = frozenset(" \t\r\n")
_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


def source_offsets(raw: str, style: str, value: str) -> list[int] | None:
    """For each character of `value`, and for its end, the offset in `raw`, the scalar as it stands in the file.

    `style` is "" (plain), ', ", | or >. Folding, indentation and chomping change nothing but white space, so a run of
    it is aligned as a whole and everything else exactly. None where the two do not fit.
    """
    tokens = list(_tokens(raw, style))
    offsets: list[int] = []
    at = 0
    for character in value:
        if character not in _SPACE:
            while at < len(tokens) and tokens[at][0] in _SPACE:
                at += 1
            # An escape ("") stands for whatever the value has there.
            if at == len(tokens) or tokens[at][0] not in (character, ""):
                return None
        offsets.append(tokens[at][1] if at < len(tokens) else len(raw))
        if at < len(tokens) and (character not in _SPACE or tokens[at][0] in _SPACE):
            at += 1
    offsets.append(tokens[at][1] if at < len(tokens) else _end(raw, style))
    return offsets


def _tokens(raw: str, style: str) -> Iterator[tuple[str, int]]:
    """The scalar's characters without quotes or header, each with its offset; an escape is one character, ""."""
    at = 1 if style in ("'", '"') else raw.find("\n") + 1 if style in ("|", ">") else 0
    end = _end(raw, style)
    while at < end:
        if style == '"' and raw[at] == "\\":
            if raw[at + 1] in "\r\n":
                at += 1
                while at < end and raw[at] in _SPACE:
                    at += 1
                continue
            yield "", at
            at += _ESCAPE_LENGTHS.get(raw[at + 1], 2)
        elif style == "'" and raw.startswith("''", at):
            yield "'", at
            at += 2
        else:
            yield raw[at], at
            at += 1


def _end(raw: str, style: str) -> int:
    return len(raw) - 1 if style in ("'", '"') else len(raw)
