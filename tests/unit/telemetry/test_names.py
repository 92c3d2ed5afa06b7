"""Names are what others build upon: documented, and used as they are documented."""

import ast
import re
from pathlib import Path

import pytest

from authz_server.telemetry.names import CHECK_BUCKETS_S, CONTROL_METRICS, KEYS_AGE, LOG_KEYS, WORKER_METRICS

ROOT = Path(__file__).parents[3]
SECTIONS = dict(
    section.split("\n", 1) for section in (ROOT / "docs" / "metrics.md").read_text().split("\n## ") if "|" in section
)
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("section", "metrics"),
    [
        ("Counted by the workers, summed over all of them", WORKER_METRICS),
        ("Counted by the control process", CONTROL_METRICS),
    ],
)
def test_the_documentation_has_every_metric(section: str, metrics: tuple[tuple[object, ...], ...]) -> None:
    """The tables say name, type, labels and meaning exactly as the code does, in its order."""
    documented = [
        (name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows(section)
    ]
    assert documented == [tuple(metric) for metric in metrics]


def test_the_documentation_has_every_log_key() -> None:
    """The table of log keys is the one in the code."""
    assert {key.strip("`"): meaning for key, meaning in rows("Log keys")} == LOG_KEYS


def test_the_documentation_has_the_buckets() -> None:
    """The bounds of the histogram stand in the text."""
    assert [bound * 1e6 for bound in CHECK_BUCKETS_S] == [50, 100, 200, 500, 1000, 2500, 10_000, 50_000]
    assert "50, 100, 200 and 500 µs and at 1, 2.5, 10 and 50 ms" in SECTIONS[
        "Counted by the workers, summed over all of them"
    ].replace("\n", " ")


def test_alerts_name_metrics_that_exist() -> None:
    """The expressions in the documentation are about our metrics."""
    known = {metric.name for metric in WORKER_METRICS + CONTROL_METRICS}
    named = {name for expression, _ in rows("Worth an alert") for name in re.findall(r"authz_\w+", expression)}
    assert named <= known
    assert named
    # Not a number before the first fetch, and a comparison with that is never true.
    assert KEYS_AGE.name not in named


def test_every_log_key_in_the_code_is_one_of_the_table() -> None:
    """A key that is logged and not in telemetry/names.py is either a second name for a thing or undocumented."""
    used: dict[str, str] = {}
    for path in sorted((ROOT / "authz_server").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_log_call(node):
                used |= {keyword.arg: f"{path.name}:{node.lineno}" for keyword in node.keywords if keyword.arg}
    assert {key: place for key, place in used.items() if key not in {*LOG_KEYS, "exc_info"}} == {}


def _is_log_call(node: ast.Call) -> bool:
    """`….error(event, key=value)`, which only loggers have in this project."""
    return isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS and bool(node.args)
