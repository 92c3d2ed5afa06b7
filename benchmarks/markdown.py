"""The figures for the documentation."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.errors import CannotMeasure
from benchmarks.summary import Summary
from benchmarks.table import HEAD, Row, measurement_row, row, target_row, where

_BEGIN, _END = "<!-- figures: written by the benchmarks -->\n", "<!-- end of the figures -->\n"
_MEASURED = ("", "median", "(low-high)", "unit")
_TARGETS = ("", "target", "median", "(low-high)", "bound")


def markdown(summary: Summary) -> str:
    """The same tables as on the terminal, in Markdown."""
    judged = {target.name for target in summary.targets}
    tables = (
        (HEAD, [row(each) for each in summary.figures]),
        (_MEASURED, [measurement_row(each) for each in summary.measurements if each.name not in judged]),
        (_TARGETS, [target_row(each) for each in summary.targets]),
    )
    parts = [f"Measured on: {where(summary)}.", *("\n".join(_lines(head, rows)) for head, rows in tables if rows)]
    return "\n\n".join(parts)


def need_markers(file: Path) -> None:
    """Raises CannotMeasure where nothing can be put between markers in this file."""
    _parts(file)


def put_between_markers(file: Path, text: str) -> None:
    """Replace what stands between the markers. Raises CannotMeasure where there are none."""
    before, after = _parts(file)
    file.write_text(f"{before}{_BEGIN}\n{text}\n\n{_END}{after}")


def _parts(file: Path) -> tuple[str, str]:
    text = file.read_text() if file.exists() else ""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise CannotMeasure(f"{file} needs two lines, between which the tables are put:\n{_BEGIN}{_END}")
    return before, after


def _lines(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
