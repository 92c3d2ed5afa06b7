"""Write the table of bounds in docs/operations.md, made of every `Bound` in the code."""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from authz_server.bounds import KIB, MIB, Bound

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "authz_server"
PAGE = ROOT / "docs" / "operations.md"
_BEGIN = "<!-- generated from the bounds in the code: run tools/generate_bounds_docs.py -->\n"
_END = "<!-- end of the bounds -->\n"


def all_bounds() -> Iterator[tuple[Path, Bound]]:
    """Every constant of the package that is a bound, with the file where it stands, sorted by name."""
    found = []
    for path in SOURCE.rglob("*.py"):
        names = list(_constants(ast.parse(path.read_text(encoding="utf-8"))))
        if names:
            module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            found += [(path, getattr(module, name)) for name in names]
    yield from sorted(found, key=lambda home: (home[1].of, home[1].name))


def _constants(module: ast.Module) -> Iterator[str]:
    """The names that are bound to `Bound(…)` at the top of a module."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            called = node.value.func
            if isinstance(called, ast.Name) and called.id == Bound.__name__:
                yield node.targets[0].id


def table() -> str:
    """The table in Markdown."""
    rows = [
        "| what | of each | entries | memory | what it holds | when it is full |",
        "|---|---|---|---|---|---|",
    ]
    for _, bound in all_bounds():
        cells = (bound.name, bound.of, f"{bound.entries:,}", in_units(bound.bytes), bound.holds, bound.full)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def in_units(size: int) -> str:
    """A size for people, rounded up."""
    unit, name = (MIB, "MiB") if size >= MIB else (KIB, "KiB")
    return f"{-(-size // unit):,} {name}"


def page(current: str) -> str:
    """The page with its table made anew. Raises ValueError where the marks around the table are missing."""
    before, begin, rest = current.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has lost the marks around its table of bounds")
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def main() -> int:
    """Write the page; returns the exit code."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
