"""The catalogue and the tests are about the same attacks."""

import re
from pathlib import Path

from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs/attack-catalogue.md").read_text()
TESTS = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py")))
ENTRY = re.compile(r"^\| ([A-Z]+-[0-9]{2}) \|", re.MULTILINE)
TEST = re.compile(r"^def test_([a-z]+_[0-9]{2})_", re.MULTILINE)
NAMED = re.compile(r"CVE-[0-9]{4}-[0-9]+|GHSA-[0-9a-z-]+")


def test_every_entry_has_a_test_and_every_test_an_entry() -> None:
    """By the id in the test's name."""
    entries = ENTRY.findall(PAGE)
    assert len(entries) == len(set(entries)) > 70
    tested = {name.upper().replace("_", "-") for name in TEST.findall(TESTS)}
    assert set(entries) == tested


def test_every_named_vulnerability_is_named_by_its_test() -> None:
    """Whoever reads of one finds the test."""
    assert set(NAMED.findall(PAGE)) == set(NAMED.findall(TESTS))
