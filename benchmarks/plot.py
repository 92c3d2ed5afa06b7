"""A bar for the CPU of each workload, as SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.figures import Figures
from benchmarks.measurement import Spread

_WIDTH, _LABEL, _VALUE = 900, 330, 60
_BAR, _STEP, _TOP = 14, 22, 40
_COLOURS = {"grpcio": "#4878a8", "lean": "#5a9a68", "constant": "#999999", "other": "#b07848"}


def plot(figures: Sequence[Figures]) -> str:
    """Medians as bars, extremes as lines across their ends."""
    bars = [(each, each.cpu_us) for each in figures if each.cpu_us is not None]
    # One round that something else has disturbed is not to squeeze all bars.
    largest = 1.3 * max((cpu.median for _, cpu in bars), default=1.0)
    height = _TOP + _STEP * len(bars) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="22" font-size="14">CPU of a check in microseconds: medians, and lines from low to high</text>',
    ]
    for number, (each, cpu) in enumerate(bars):
        lines += _bar(each.workload, cpu, _TOP + _STEP * number, (_WIDTH - _LABEL - _VALUE) / largest)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(name: str, cpu: Spread, top: int, scale: float) -> Iterator[str]:
    middle = top + _BAR / 2
    low, median, high = (
        _LABEL + min(value * scale, _WIDTH - _LABEL - _VALUE) for value in (cpu.low, cpu.median, cpu.high)
    )
    colour = next(colour for word, colour in _COLOURS.items() if word in name)
    yield f'<text x="{_LABEL - 8}" y="{middle + 4:g}" text-anchor="end">{escape(name)}</text>'
    yield f'<rect x="{_LABEL}" y="{top}" width="{median - _LABEL:.1f}" height="{_BAR}" fill="{colour}"/>'
    yield f'<path d="M{low:.1f} {middle:g}H{high:.1f}" stroke="#222222"/>'
    yield f'<text x="{max(high, median) + 6:.1f}" y="{middle + 4:g}">{cpu.median:.0f}</text>'
