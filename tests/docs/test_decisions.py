"""The decision records are numbered, and all of them are listed."""

import re

from tests.docs.markdown import ROOT

DECISIONS = ROOT / "docs" / "decisions"


def test_each_record_has_a_number_of_its_own_and_its_line_in_the_list() -> None:
    """In the order of the numbers, with the title that the record has."""
    records = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    titles = [path.read_text().splitlines()[0] for path in records]
    numbers = list(range(1, len(records) + 1))
    assert [int(path.name.partition("-")[0]) for path in records] == numbers
    assert [int(title.removeprefix("# ").partition(".")[0]) for title in titles] == numbers
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    assert [(int(number), file) for number, _, file in listed] == [
        (number, path.name) for number, path in zip(numbers, records, strict=True)
    ]
