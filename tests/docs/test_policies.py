"""The policies in the documentation are valid, and decide what the pages say."""

from pathlib import Path

import pytest

from authz_server.errors import Reason
from authz_server.identity.spiffe import parse_spiffe_id, parse_spiffe_pattern
from authz_server.pipeline import check
from authz_server.policy.loader import load_policies
from authz_server.policy.patterns import parse_host_pattern, parse_path_template
from authz_server.request.host import canonical_host
from authz_server.request.path import canonical_path
from tests.builders import snapshot_of, write_policies
from tests.docs.examples import KEYS, NOW, SETTINGS, Section, changes_of, decision_sections, files_of, rows_of
from tests.docs.markdown import ROOT, Block, code_spans, sections_of, tables_of

REFERENCE = ROOT / "docs" / "policy-reference.md"
PATTERN_COLUMNS = ("fits", "does not fit")


@pytest.mark.parametrize("section", decision_sections(), ids=str)
def test_the_policies_of_a_section_decide_what_its_tables_say(section: Section, tmp_path: Path) -> None:
    """The documents of a section load together, and each row of its tables of decisions is what the engine says."""
    loaded = load_policies(write_policies(tmp_path, files_of(section)))
    assert loaded.plan is not None, "\n".join(map(str, loaded.problems))
    snapshot = snapshot_of(loaded.plan, SETTINGS, keys=KEYS)
    for row in rows_of(section):
        decision = check(row.request, snapshot, NOW.timestamp())
        outcome = decision.rule if decision.reason is Reason.ALLOWED else decision.reason
        assert (decision.allowed, outcome) == (row.allowed, row.word), f"{row}: {decision}"
        assert set(row.changes) <= changes_of(decision.answer), f"{row}: {decision.answer}"


def _wrong_sections() -> list[list[Block]]:
    blocks = [[part for part in section if isinstance(part, Block)] for section in sections_of(REFERENCE)]
    return [section for section in blocks if any("wrong" in block.attributes for block in section)]


@pytest.mark.parametrize("blocks", _wrong_sections(), ids=lambda blocks: str(blocks[0]))
def test_the_errors_that_the_reference_shows_are_those_of_the_loader(blocks: list[Block], tmp_path: Path) -> None:
    """A wrong policy stands beside exactly what the loader says about it."""
    [wrong, shown] = [block for block in blocks if "wrong" in block.attributes or "problems" in block.attributes]
    directory = tmp_path / "policies"
    name = wrong.attributes["file"].removeprefix("policies/")
    loaded = load_policies(write_policies(directory, {name: wrong.text}))
    said = "\n\n".join(map(str, loaded.problems)).replace(str(directory), "policies")
    assert said == shown.text.strip()


def test_path_templates_fit_what_the_reference_says() -> None:
    """The table of path templates is true for allow rules."""
    [table] = tables_of(REFERENCE, "template", *PATTERN_COLUMNS)
    for pattern, fitting, others in table.rows:
        template = parse_path_template(code_spans(pattern)[0])
        assert [path for path in code_spans(fitting) if template.match(canonical_path(path).path) is None] == []
        assert [path for path in code_spans(others) if template.match(canonical_path(path).path) is not None] == []


def test_spiffe_patterns_fit_what_the_reference_says() -> None:
    """The table of SPIFFE patterns is true."""
    tables = tables_of(REFERENCE, "pattern", *PATTERN_COLUMNS)
    [table] = [table for table in tables if "spiffe://" in table.rows[0][0]]
    for cell, fitting, others in table.rows:
        pattern = parse_spiffe_pattern(code_spans(cell)[0])
        assert [text for text in code_spans(fitting) if not pattern.matches(parse_spiffe_id(text))] == []
        assert [text for text in code_spans(others) if pattern.matches(parse_spiffe_id(text))] == []


def test_host_patterns_fit_what_the_reference_says() -> None:
    """The table of host patterns is true."""
    tables = tables_of(REFERENCE, "pattern", *PATTERN_COLUMNS)
    [table] = [table for table in tables if "spiffe://" not in table.rows[0][0]]
    for cell, fitting, others in table.rows:
        pattern = parse_host_pattern(code_spans(cell)[0])
        assert [text for text in code_spans(fitting) if not pattern.matches(*canonical_host(text))] == []
        assert [text for text in code_spans(others) if pattern.matches(*canonical_host(text))] == []
