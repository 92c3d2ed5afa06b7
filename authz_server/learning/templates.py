"""Templates for the paths on record: what varies becomes a capture, as narrow as what was seen of it."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from authz_server.learning.names import capture_name, names_something
from authz_server.learning.segments import Shape, shape_of
from authz_server.model import Path
from authz_server.policy.patterns import PathTemplate

MAX_SHOWN = 5
_SEPARATORS = "-_.~"
_TEXTS = frozenset({Shape.HASH, Shape.DATE, Shape.CODE})


class Parameter(Struct, frozen=True):
    """A place in paths that was found to vary."""

    template: str
    """Up to the capture."""
    values: int
    """How many different ones were seen."""
    examples: tuple[str, ...]
    words: bool
    """Nothing but their number shows that they vary."""


class Templates(Struct, frozen=True):
    """What was found for some paths."""

    of: Mapping[Path, str]
    """Each path's template."""
    parameters: tuple[Parameter, ...]


def find_templates(paths: Mapping[Path, frozenset[str]], told: Sequence[PathTemplate], words: int) -> Templates:
    """Templates for paths (with their methods); those that fit one of `told` have that one.

    So many different words at one place are taken for values of a parameter; 0 is never.
    """
    found: dict[Path, str] = {}
    for path in paths:
        fitting = next((template for template in told if template.match(path) is not None), None)
        if fitting is not None:
            found[path] = fitting.text
    walk = _Walk(paths, words)
    walk.go([path for path in paths if path not in found])
    return Templates(found | walk.found, tuple(walk.parameters))


class _Place(Struct):
    """Paths that are alike so far."""

    paths: list[Path]
    written: tuple[str, ...]
    """Their segments so far, as the template has them."""
    literals: tuple[str, ...]
    captures: tuple[str, ...]


class _Walk:
    """Goes through paths segment by segment, all that are alike so far together."""

    def __init__(self, methods: Mapping[Path, frozenset[str]], words: int) -> None:
        self._methods = methods
        self._words = words
        self.found: dict[Path, str] = {}
        self.parameters: list[Parameter] = []

    def go(self, paths: list[Path]) -> None:
        """Find a template for each path."""
        open_places = [_Place(paths, (), (), ())]
        while open_places:
            open_places += self._step(open_places.pop())

    def _step(self, place: _Place) -> Iterable[_Place]:
        depth = len(place.written)
        values: dict[str, list[Path]] = {}
        for path in place.paths:
            if len(path.segments) > depth:
                values.setdefault(path.segments[depth], []).append(path)
            else:
                self.found[path] = "/" + "/".join(place.written) + ("/" if path.trailing_slash and depth else "")
        groups = self._groups(values, place)
        grouped = {value for _, group in groups for value in group}
        for what, group in groups:
            yield self._captured(place, what, group, values)
        for value, paths in values.items():
            if value not in grouped:
                yield _Place(paths, (*place.written, value), (*place.literals, value), place.captures)

    def _groups(self, values: Mapping[str, list[Path]], place: _Place) -> list[tuple[Shape, list[str]]]:
        """Values that are of one parameter; those in no group stay as they are."""
        shapes: dict[Shape, list[str]] = {shape: [] for shape in Shape}
        for value in values:
            shapes[shape_of(value)].append(value)
        if self._words_vary(shapes[Shape.WORD], values, place):
            return [(Shape.WORD, list(values))]
        varying = [shape for shape in Shape if shape.evidence and len(shapes[shape]) >= shape.evidence]
        if not _TEXTS.isdisjoint(varying):
            texts = [value for shape in Shape if shape in _TEXTS for value in shapes[shape]]
            if not any(affixes(texts)):
                # The capture would take numbers as well.
                texts += shapes[Shape.NUMBER] + shapes[Shape.UUID]
                return [(_text_shape(varying), texts)]
            return [
                (_text_shape(varying), texts),
                *((shape, shapes[shape]) for shape in varying if shape not in _TEXTS),
            ]
        return [(shape, shapes[shape]) for shape in varying]

    def _words_vary(self, words: Sequence[str], values: Mapping[str, list[Path]], place: _Place) -> bool:
        """Whether there are many words below a name, no ids follow them, and what follows and is done there is alike.

        Words that ids follow are collections, such as `orders` and `users` of `/api/orders/17` and `/api/users/18`.
        """
        depth = len(place.written)
        if not self._words or len(words) < self._words or not _is_below_name(place):
            return False
        ways = {
            (str(path.trailing_slash), method, *(_outline(segment) for segment in path.segments[depth + 1 :]))
            for word in words
            for path in values[word]
            for method in self._methods[path]
        }
        ids_follow = any(len(way) > 2 and way[2].startswith("{") for way in ways)
        return not ids_follow and 2 * len(ways) <= len(words)

    def _captured(self, place: _Place, shape: Shape, group: list[str], values: Mapping[str, list[Path]]) -> _Place:
        kind = {Shape.NUMBER: ":int", Shape.UUID: ":uuid"}.get(shape, "")
        prefix, suffix = ("", "") if kind else affixes(group)
        what = {Shape.WORD: "name", Shape.DATE: "date"}.get(shape, "id")
        name = capture_name(place.literals, what, place.captures)
        written = (*place.written, f"{prefix}{{{name}{kind}}}{suffix}")
        examples = tuple(sorted(group)[:MAX_SHOWN])
        self.parameters.append(Parameter("/" + "/".join(written), len(group), examples, shape is Shape.WORD))
        paths = [path for value in group for path in values[value]]
        return _Place(paths, written, place.literals, (*place.captures, name))


def _is_below_name(place: _Place) -> bool:
    """Whether the segment before is a word that says what stands below it."""
    if not place.written or place.written[-1:] != place.literals[-1:]:
        return False
    last = place.written[-1]
    return shape_of(last) is Shape.WORD and names_something(last)


def affixes(values: Sequence[str]) -> tuple[str, str]:
    """What all values begin and end with: `ord-` of `ord-17` and `ord-18`, `.pdf` of files.

    Up to a separator, and without digits: that all dates are of one year is no rule.
    """
    if len(values) < 2:
        return "", ""
    prefix = _common(values)
    prefix = _without_digits(prefix[: max(map(prefix.rfind, _SEPARATORS)) + 1])
    reverse = _common([value[:0:-1] for value in values])[::-1]
    dot = reverse.find(".")
    suffix = _without_digits(reverse[dot:]) if dot >= 0 else ""
    longest = min(map(len, values))
    return (prefix, suffix) if len(prefix) + len(suffix) < longest else ("", "")


def _without_digits(affix: str) -> str:
    return "" if any(each.isdigit() for each in affix) else affix


def _common(values: Sequence[str]) -> str:
    """What all values begin with."""
    one, other = min(values), max(values)
    length = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[:length]


def _text_shape(varying: Sequence[Shape]) -> Shape:
    """Dates alone are dates."""
    texts = [shape for shape in varying if shape in _TEXTS]
    return Shape.DATE if texts == [Shape.DATE] else Shape.CODE


def _outline(segment: str) -> str:
    shape = shape_of(segment)
    return segment if shape is Shape.WORD else f"{{{shape.name}}}"
