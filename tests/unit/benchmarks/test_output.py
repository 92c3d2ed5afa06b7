"""What a run leaves behind: JSON, tables and a plot."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.errors import CannotMeasure
from benchmarks.figures import figures
from benchmarks.markdown import markdown, put_between_markers
from benchmarks.measurement import Measurement
from benchmarks.measuring import Sample
from benchmarks.percentiles import Percentiles
from benchmarks.plot import plot
from benchmarks.summary import Summary, as_json
from benchmarks.table import report
from benchmarks.targets import targets
from benchmarks.workloads import WORKLOADS

_RATIO = Measurement("<one> / another", "times", [1.5, 1.2, 1.3])


@pytest.fixture
def summary() -> Summary:
    """Of a run in which each workload took as much CPU as the others."""
    sample = Sample(
        cpu_us=100.0,
        control_cpu_us=None,
        resident_bytes=1 << 26,
        calls_per_s=1000.0,
        latency_us=Percentiles(1, 2, 3),
        records_lost=0,
    )
    samples = {workload.name: [sample] for workload in WORKLOADS}
    found = [_RATIO, Measurement("start", "s", [3.0])]
    judged = list(targets(found, {_RATIO.name: 1.25}))
    return Summary({"system": "Linux"}, 1, {32: 10, 1: 10}, figures(WORKLOADS, samples), found, judged, samples)


def test_json_holds_everything(summary: Summary) -> None:
    """What is read back is what was written."""
    assert msgspec.json.decode(as_json(summary), type=Summary) == summary


def test_tables_show_workloads_measurements_and_targets(summary: Summary) -> None:
    """Each has a line, on the terminal and in Markdown; what has a target stands there alone."""
    for text in (report(summary), markdown(summary)):
        lines = text.splitlines()
        for workload in WORKLOADS:
            assert sum(line.lstrip("| ").startswith(f"{workload.name} ") for line in lines) == 1
        assert sum("start" in line for line in lines) == 1
        assert ["FAIL" in line for line in lines if _RATIO.name in line] == [True]


def test_tables_go_between_markers(tmp_path: Path, summary: Summary) -> None:
    """Again and again, and what stands around them stays."""
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- figures: written by the benchmarks -->\nold\n<!-- end of the figures -->\nz\n")
    put_between_markers(page, markdown(summary))
    once = page.read_text()
    put_between_markers(page, markdown(summary))
    assert page.read_text() == once
    assert once.startswith("a\n")
    assert once.endswith("\nz\n")
    assert "old" not in once


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    """Before anything is measured, it is said what it needs."""
    page = tmp_path / "page.md"
    page.write_text("a\n")
    with pytest.raises(CannotMeasure, match="needs two lines"):
        put_between_markers(page, "tables")
    assert page.read_text() == "a\n"


def test_the_plot_has_a_bar_for_each_workload(summary: Summary) -> None:
    """It is XML, with the name of each."""
    texts = {element.text for element in ElementTree.fromstring(plot(summary.figures)).iter()}  # noqa: S314 - our own
    assert {workload.name for workload in WORKLOADS} <= texts
