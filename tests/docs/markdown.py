"""Reads the parts of the documentation that tests check: code blocks, tables, headings and links."""

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]))

_FENCE = re.compile(r" *```(.*)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"#{1,6} +(.*)")
_CODE_SPAN = re.compile(r"`([^`]*)`")


class Block(Struct, frozen=True):
    """A fenced code block; `attributes` are the words `name` and `name=value` behind its language."""

    page: str
    line: int
    language: str
    attributes: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Heading(Struct, frozen=True):
    """A heading, which begins a section."""

    text: str


class Table(Struct, frozen=True):
    """A table: names of its columns in lower case, and rows."""

    page: str
    line: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    """The page as people speak of it: its path from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, in their order."""
    return [part for part in parts_of(page) if isinstance(part, Block)]


def tables_of(page: Path, *columns: str) -> list[Table]:
    """The tables of a page that begin with these columns."""
    tables = [part for part in parts_of(page) if isinstance(part, Table)]
    return [table for table in tables if table.columns[: len(columns)] == columns]


def sections_of(page: Path) -> list[list[Block | Table]]:
    """Code blocks and tables from heading to heading."""
    sections: list[list[Block | Table]] = [[]]
    for part in parts_of(page):
        if isinstance(part, Heading):
            sections.append([])
        else:
            sections[-1].append(part)
    return sections


def parts_of(page: Path) -> Iterator[Block | Heading | Table]:
    """Code blocks, headings and tables, in their order."""
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        start = at
        if fence := _FENCE.fullmatch(lines[at]):
            end = next(number for number in range(at + 1, len(lines)) if lines[number].strip() == "```")
            language, *pairs = fence[1].split() or [""]
            attributes = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
            yield Block(name_of(page), start + 1, language, attributes, "\n".join([*lines[at + 1 : end], ""]))
            at = end
        elif heading := _HEADING.fullmatch(lines[at]):
            yield Heading(heading[1])
        elif lines[at].startswith("|"):
            while at + 1 < len(lines) and lines[at + 1].startswith("|"):
                at += 1
            columns, _, *rows = [_cells(line) for line in lines[start : at + 1]]
            yield Table(name_of(page), start + 1, tuple(cell.lower() for cell in columns), tuple(rows))
        at += 1


def code_spans(text: str) -> list[str]:
    """The texts between backquotes."""
    return _CODE_SPAN.findall(text)


def links_of(page: Path) -> list[str]:
    """Every link target of a page, outside code."""
    return _LINK.findall(_CODE_SPAN.sub("", _without_blocks(page)))


def anchors_of(page: Path) -> set[str]:
    """What a link to a part of a page can name: the headings as GitHub spells them."""
    headings = [heading[1] for line in _without_blocks(page).splitlines() if (heading := _HEADING.fullmatch(line))]
    return {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _cells(line: str) -> tuple[str, ...]:
    # A bar inside a cell is written `\|`.
    return tuple(cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def _without_blocks(page: Path) -> str:
    lines, outside = [], True
    for line in page.read_text().splitlines():
        if _FENCE.fullmatch(line):
            outside = not outside
        elif outside:
            lines.append(line)
    return "\n".join(lines)
