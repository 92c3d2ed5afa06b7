"""The page on the doctor lists what it finds."""

from authz_server.doctor.finding import SEVERITIES
from tests.docs.markdown import ROOT, code_spans, tables_of


def test_every_finding_stands_on_its_page() -> None:
    """Code and severity, in the order of the code."""
    (table,) = tables_of(ROOT / "docs/doctor.md", "code", "severity")
    assert [(code_spans(row[0])[0], row[1]) for row in table.rows] == list(SEVERITIES.items())
