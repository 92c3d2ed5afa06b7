"""What one run measures: all parts of it or some, or the checks beside those of another revision."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.beside_candidate import measure_candidate
from benchmarks.figures import figures
from benchmarks.loading import measure_loading
from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement
from benchmarks.overload import measure_overload
from benchmarks.ratios import RATIOS, measured_ratios, ratios_against
from benchmarks.reloading import measure_reload
from benchmarks.revision import check_out, transports_of
from benchmarks.rounds import Bench, Samples, run_rounds
from benchmarks.servers import Server
from benchmarks.starting import measure_starting
from benchmarks.summary import Summary
from benchmarks.targets import BOUNDS, targets
from benchmarks.through_envoy import measure_through_envoy
from benchmarks.two_workers import measure_two_workers
from benchmarks.workloads import WORKLOADS, Workload, compared, others

_CHECKS = "checks"
_OTHER_PARTS: Mapping[str, Callable[[Bench], list[Measurement]]] = {
    "loading": measure_loading,
    "starting": measure_starting,
    "envoy": measure_through_envoy,
    "workers": measure_two_workers,
    "candidate": measure_candidate,
    "reload": measure_reload,
    "overload": measure_overload,
}
PARTS: Sequence[str] = (_CHECKS, *_OTHER_PARTS)


def run(bench: Bench, parts: Sequence[str], other: Server | None = None) -> Summary:
    """Measure these parts, and with the checks somebody else's server. Raises CannotMeasure."""
    workloads: Sequence[Workload] = WORKLOADS if _CHECKS in parts else ()
    if workloads and other is not None:
        workloads = (*workloads, *others())
    samples = run_rounds(bench, workloads, other=other) if workloads else {}
    found = list(measured_ratios(RATIOS, samples)) if samples else []
    for part, measure in _OTHER_PARTS.items():
        if part in parts:
            found += measure(bench)
    return _summary(bench, workloads, samples, found, BOUNDS)


def run_against(bench: Bench, revision: str) -> Summary:
    """Measure the checks, each at that revision and here. Raises CannotMeasure."""
    earlier = check_out(revision, bench.directory / "earlier")
    workloads = compared(revision, transports_of(earlier))
    ratios = ratios_against(revision, workloads)
    samples = run_rounds(bench, workloads, earlier=earlier)
    bounds = {ratio.name: ratio.most for ratio in ratios}
    return _summary(bench, workloads, samples, list(measured_ratios(ratios, samples)), bounds)


def _summary(
    bench: Bench,
    workloads: Sequence[Workload],
    samples: Samples,
    found: Sequence[Measurement],
    bounds: Mapping[str, float],
) -> Summary:
    judged = list(targets(found, bounds))
    return Summary(describe_machine(), bench.rounds, bench.calls, figures(workloads, samples), found, judged, samples)
