"""The pages of the documentation hang together: links lead somewhere, and the README is a short way in."""

from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors_of, links_of, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_and_headings_lead_somewhere(page: Path) -> None:
    """Every link that stays inside the repository names a file, and a heading of it where it names one."""
    inside = [link for link in links_of(page) if not link.startswith(("https://", "http://"))]
    assert [link for link in inside if not _leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_other_sites_are_encrypted(page: Path) -> None:
    """A link that leaves the repository is `https:`."""
    assert [link for link in links_of(page) if link.startswith("http://")] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.is_relative_to(ROOT) and target.exists() and (not anchor or anchor in anchors_of(target))


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    """Whoever begins at the README finds every page."""
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links_of(page) if "://" not in link]
        todo += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_the_readme_is_short() -> None:
    """What does not fit on a few screens belongs into docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
