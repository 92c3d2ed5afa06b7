"""The figures for people."""

from collections.abc import Sequence

from benchmarks.figures import Figures
from benchmarks.measurement import Measurement, Spread, spread
from benchmarks.summary import Summary
from benchmarks.targets import Target

Row = tuple[str, ...]
HEAD = ("", "CPU us", "(low-high)", "times", "(low-high)", "audit us", "calls/s", "p50 us", "p99", "p99.9", "MiB")


def report(summary: Summary) -> str:
    """Where it was measured, what everything costs, and which targets are met."""
    judged = {target.name for target in summary.targets}
    tables = (
        ([HEAD, *map(row, summary.figures)] if summary.figures else [], (0,)),
        ([measurement_row(each) for each in summary.measurements if each.name not in judged], (0, 3)),
        ([target_row(each) for each in summary.targets], (0, 1)),
    )
    return "\n\n".join([where(summary), *(_aligned(rows, left) for rows, left in tables if rows)])


def where(summary: Summary) -> str:
    """The machine, in one line."""
    machine = ", ".join(f"{name} {value}" for name, value in summary.machine.items())
    return f"{machine}; medians of {summary.rounds} rounds of {max(summary.calls.values()):,} calls"


def row(figures: Figures) -> Row:
    """One workload: medians, in brackets the extremes; the audit's CPU is that of the control process."""
    return (
        figures.workload,
        _median(figures.cpu_us, 1),
        extremes(figures.cpu_us, 1),
        _median(figures.times, 2),
        extremes(figures.times, 2),
        _median(figures.control_cpu_us, 1),
        _median(figures.calls_per_s, 0),
        _median(figures.p50_us, 0),
        _median(figures.p99_us, 0),
        _median(figures.p999_us, 0),
        _median(figures.resident_mib, 0),
    )


def measurement_row(measurement: Measurement) -> Row:
    """Anything else."""
    found = spread(measurement.values)
    return measurement.name, _median(found, 2), extremes(found, 2), measurement.unit


def target_row(target: Target) -> Row:
    """What was to be reached, and what was."""
    measured = target.measured
    return (
        "pass" if target.met else "FAIL",
        target.name,
        f"{measured.median:.2f}",
        extremes(measured, 2),
        f"at most {target.bound:g} {target.unit}",
    )


def _median(spread: Spread | None, digits: int) -> str:
    return "" if spread is None else f"{spread.median:.{digits}f}"


def extremes(spread: Spread | None, digits: int) -> str:
    """The smallest and the largest, in brackets."""
    return "" if spread is None else f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"


def _aligned(rows: Sequence[Row], left: Sequence[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(each, widths, strict=True))
        ).rstrip()
        for each in rows
    )
