"""The page for operators leaves nothing out that the code can say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from authz_server.telemetry.names import CONTROL_METRICS, WORKER_METRICS
from tests.docs.markdown import ROOT, code_spans, tables_of

PAGE = ROOT / "docs" / "operations.md"
AUDIT = ROOT / "docs" / "audit-records.md"
SAY = {"readiness", "_readiness", "missing", "problems"}
"""The functions of the control process that say what readiness lacks."""
FROM_ELSEWHERE = {
    "<file>: …",
    "the audit spool is full: …",
    "requests are denied because …",
    "the certificate of the Check listener expired at …",
}
"""What other objects explain of themselves, and these functions pass on."""


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
    assert explained - said == FROM_ELSEWHERE


def test_every_promise_names_a_test_that_there_is() -> None:
    """A promise without a test is a hope."""
    [table] = tables_of(PAGE, "what happens", "what callers notice", "what you see", "test")
    named = [code_spans(row[3])[0] for row in table.rows]
    tests = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _tests_of(path)}
    assert named
    assert set(named) - tests == set()


def test_what_is_said_is_found() -> None:
    """The functions say more than a dozen things."""
    assert len(set(_said())) > 12


def _said() -> Iterator[str]:
    for path in sorted((ROOT / "authz_server" / "control").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in SAY:
                yield from (text for text in _texts(node) if text.strip("…: "))


def _texts(function: ast.FunctionDef) -> Iterator[str]:
    """What is appended to a list, stands in one or is the key of a mapping, with `…` for what is filled in."""
    for node in ast.walk(function):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            found = node.args
        elif isinstance(node, ast.List):
            found = node.elts
        elif isinstance(node, ast.ListComp):
            found = [node.elt]
        elif isinstance(node, ast.DictComp):
            found = [node.key]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            found = [node.targets[0].slice]
        yield from (text for one in found if (text := _text(one)) is not None)


def _text(expression: ast.expr) -> str | None:
    while isinstance(expression, ast.BinOp):
        expression = expression.left
    if isinstance(expression, ast.Constant):
        return str(expression.value)
    if isinstance(expression, ast.JoinedStr):
        # One that follows another at once is one to who reads.
        parts = [
            "…" if isinstance(part, ast.FormattedValue) else str(part.value)
            for part in expression.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        ]
        return re.sub("…+", "…", "".join(parts))
    return None


def _tests_of(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
