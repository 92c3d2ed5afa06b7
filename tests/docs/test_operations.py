"""The page for operators leaves nothing out that the code can say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from authz_server.telemetry.names import CONTROL_METRICS, WORKER_METRICS
from tests.docs.markdown import ROOT, code_spans, tables_of

PAGE = ROOT / "docs" / "operations.md"
AUDIT = ROOT / "docs" / "audit-records.md"
SAID_IN = {
    "control/readiness.py": "readiness",
    "control/trust.py": "missing",
    "control/server.py": "_readiness",
    "control/audit.py": "problems",
}
"""The functions that say what readiness lacks."""


def test_every_metric_has_something_to_do() -> None:
    """In the order of the page of metrics."""
    [table] = tables_of(PAGE, "metric", "what to do")
    assert [code_spans(name)[0] for name, _ in table.rows] == [m.name for m in WORKER_METRICS + CONTROL_METRICS]


def test_everything_that_readiness_says_is_explained() -> None:
    """By this page, or by that of the audit, and they explain nothing else."""
    explained = {
        text
        for page in (PAGE, AUDIT)
        for table in tables_of(page, "what it says", "what it means", "what to do")
        for row in table.rows
        for text in code_spans(row[0])
    }
    said = set(_said())
    assert said - explained == set()
    # What other objects explain of themselves comes as it is.
    assert explained - said <= {"<file>: …", "the audit spool is full: …", "requests are denied because …"}


def test_every_promise_names_a_test_that_there_is() -> None:
    """A promise without a test is a hope."""
    [table] = tables_of(PAGE, "what happens", "what callers notice", "what you see", "test")
    named = [code_spans(row[3])[0] for row in table.rows]
    tests = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _tests_of(path)}
    assert named
    assert set(named) - tests == set()


def test_what_is_said_is_found() -> None:
    """The four functions say more than a dozen things."""
    assert len(set(_said())) > 12


def _said() -> Iterator[str]:
    for file, function in SAID_IN.items():
        module = ast.parse((ROOT / "authz_server" / file).read_text())
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and node.name == function:
                yield from _texts(node)


def _texts(function: ast.FunctionDef) -> Iterator[str]:
    """What is appended to a list, or is the key of a mapping, with `…` for what is filled in."""
    for node in ast.walk(function):
        found: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            found = node.args[0]
        elif isinstance(node, ast.DictComp):
            found = node.key
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            found = node.targets[0].slice
        while isinstance(found, ast.BinOp):
            found = found.left
        if isinstance(found, ast.Constant):
            yield str(found.value)
        elif isinstance(found, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in found.values)


def _tests_of(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
