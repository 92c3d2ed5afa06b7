"""Sequences of segments, one for each way in which a set of patterns can fit or not.

The patterns are walked through together, segment by segment, and what differs in no pattern is walked once: so all
classes of paths or SPIFFE IDs that a policy tells apart have a representative, however many patterns there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from msgspec import Struct

from authz_server.identity.spiffe import SpiffePattern
from authz_server.policy.folding import fold_capture, fold_case, fold_segment
from authz_server.policy.patterns import Capture, Literal, PathTemplate

UUID = "0a1b2c3d-0a1b-4c3d-8e5f-0a1b2c3d4e5f"
SAMPLES = {"text": ("x", "y"), "int": ("7",), "uuid": (UUID,)}
_DOTS = "..."
"""A segment that deny rules ignore at the end of a path."""

Segments = tuple[str, ...]


class Pattern(Struct, frozen=True):
    """A pattern over segments; one that folds is a deny rule's, which reads paths without regard to case and dots."""

    segments: tuple[Literal | Capture, ...]
    rest: bool
    folds: bool = False

    def accepts(self, depth: int, segment: str) -> bool:
        """Whether a segment can stand at a place; `segment` is folded where the pattern folds."""
        if depth >= len(self.segments):
            return self.rest
        wanted = self.segments[depth]
        if isinstance(wanted, Literal):
            return (fold_segment(wanted.text) if self.folds else wanted.text) == segment
        return (fold_capture(wanted) if self.folds else wanted).accepts(segment) is not None


class _State(Struct, frozen=True):
    """Which patterns fit so far: as written, and in the two ways in which deny rules read."""

    exact: frozenset[int]
    folded: frozenset[int] = frozenset()
    stripped: frozenset[int] = frozenset()

    def alive(self) -> frozenset[int]:
        return self.exact | self.folded | self.stripped


def of_template(template: PathTemplate, *, folds: bool) -> Pattern:
    """The pattern of a path template."""
    return Pattern(template.segments, template.rest is not None, folds)


def of_workload(pattern: SpiffePattern) -> Pattern:
    """The pattern of a SPIFFE pattern; its first segment is the trust domain."""
    names = (pattern.trust_domain, *pattern.segments)
    return Pattern(tuple([Capture("any") if name == "*" else Literal(name) for name in names]), pattern.rest)


def representatives(patterns: Iterable[Pattern]) -> Iterator[Segments]:
    """Sequences of which each way to fit some of the patterns has one at least; those that end early are among them."""
    distinct = list(dict.fromkeys(patterns))
    folding = frozenset(number for number, pattern in enumerate(distinct) if pattern.folds)
    states: dict[_State, Segments] = {_State(frozenset(range(len(distinct))) - folding, folding, folding): ()}
    unusual: list[Segments] = []
    for depth in range(max((len(pattern.segments) for pattern in distinct), default=0) + 2):
        following: dict[_State, Segments] = {}
        for state, segments in states.items():
            yield segments
            unusual += [(*segments, _DOTS)] if folding else []
            if not state.alive():
                continue
            for letter in _letters(distinct, state.alive(), depth):
                following.setdefault(_step(distinct, state, depth, letter), (*segments, letter))
        states = following
    yield from states.values()
    yield from unusual


def _step(patterns: Sequence[Pattern], state: _State, depth: int, segment: str) -> _State:
    def kept(numbers: frozenset[int], text: str) -> frozenset[int]:
        return frozenset(number for number in numbers if patterns[number].accepts(depth, text))

    return _State(
        kept(state.exact, segment),
        kept(state.folded, fold_case(segment)),
        kept(state.stripped, fold_segment(segment)),
    )


def _letters(patterns: Sequence[Pattern], alive: frozenset[int], depth: int) -> list[str]:
    """Segments that differ to some of the patterns; what only deny rules take for the same comes last."""
    parts = [
        (patterns[n].segments[depth], patterns[n].folds) for n in sorted(alive) if depth < len(patterns[n].segments)
    ]
    literals = list(dict.fromkeys(part.text for part, _ in parts if isinstance(part, Literal)))
    captures = [part for part, _ in parts if isinstance(part, Capture)]
    prefixes = list(dict.fromkeys(["", *(capture.prefix for capture in captures)]))
    suffixes = list(dict.fromkeys(["", *(capture.suffix for capture in captures)]))
    kinds = dict.fromkeys(["text", *(capture.kind for capture in captures)])
    values = [next(s for s in (*SAMPLES["text"], "other") if s not in literals)]
    values += [sample for kind in kinds if kind != "text" for sample in SAMPLES[kind]]
    letters = [*(p + v + s for v, p, s in product(values, prefixes, suffixes)), *literals]
    if any(folds for _, folds in parts):
        letters += [variant for letter in list(letters) for variant in (letter.upper(), f"{letter}.")]
    return list(dict.fromkeys(letters))
