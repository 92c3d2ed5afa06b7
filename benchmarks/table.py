"""The figures for people."""

from collections.abc import Iterable, Sequence

from benchmarks.figures import Figures, Spread
from benchmarks.summary import Summary
from benchmarks.targets import Target

_HEAD = ("", "CPU us", "(low-high)", "times", "(low-high)", "of", "audit us", "calls/s", "call us", "MiB")


def report(summary: Summary) -> str:
    """Where it was measured, what everything costs, and which targets are met."""
    where = ", ".join(f"{name} {value}" for name, value in summary.machine.items())
    return f"{where}; medians of {summary.rounds} rounds\n\n{_figures(summary.figures)}\n\n{_targets(summary.targets)}"


def _figures(found: Sequence[Figures]) -> str:
    """A line for each workload: medians, in brackets the extremes; the audit's CPU is that of the control process."""
    return _aligned([_HEAD, *(_row(figures) for figures in found)], left=(0, 5))


def _targets(targets: Sequence[Target]) -> str:
    rows = [
        (
            "pass" if target.met else "FAIL",
            target.name,
            f"{target.measured.median:.2f} {target.unit}",
            f"at most {target.bound:g}",
        )
        for target in targets
    ]
    return _aligned(rows, left=(0, 1))


def _row(figures: Figures) -> tuple[str, ...]:
    ratio, control = figures.ratio, figures.control_cpu_us
    return (
        figures.workload,
        f"{figures.cpu_us.median:.1f}",
        _extremes(figures.cpu_us, 1),
        "" if ratio is None else f"{ratio.median:.2f}",
        "" if ratio is None else _extremes(ratio, 2),
        figures.baseline,
        "" if control is None else f"{control.median:.1f}",
        f"{figures.calls_per_s.median:.0f}",
        f"{figures.latency_us.median:.0f}",
        f"{figures.resident_mib.median:.1f}",
    )


def _extremes(spread: Spread, digits: int) -> str:
    return f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"


def _aligned(rows: Iterable[tuple[str, ...]], left: tuple[int, ...]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
