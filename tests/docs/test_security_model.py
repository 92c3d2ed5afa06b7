"""The security model names tests that exist."""

import ast

from tests.docs.markdown import ROOT, code_spans

MODEL = ROOT / "docs" / "security-model.md"


def test_every_test_that_the_security_model_names_exists() -> None:
    """A guarantee stays tied to its tests when they are renamed or removed."""
    named = [span.split("::") for span in code_spans(MODEL.read_text()) if "::" in span]
    assert named
    assert [f"{path}::{name}" for path, name in named if name not in _tests_in(path)] == []


def test_every_guarantee_names_a_test() -> None:
    """No guarantee rests on words alone."""
    guaranteed = MODEL.read_text().partition("\n## What is guaranteed\n")[2].partition("\n## ")[0]
    [introduction, *sections] = guaranteed.split("\n### ")
    assert not introduction.strip()
    assert [section.splitlines()[0] for section in sections if "::test_" not in section] == []


def _tests_in(path: str) -> set[str]:
    file = ROOT / path
    return (
        {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
        if file.exists()
        else set()
    )
