"""Finds the candidates of one effect whose `to` may fit an operation: path tree, then method, then caller."""

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from authz_server.policy.caller_index import CallerIndex, Fitting
from authz_server.policy.folding import fold_capture, fold_segment, folded_readings
from authz_server.policy.patterns import Capture, Literal, PathTemplate, parse_path_template
from authz_server.policy.plan import Effect, OperationItem
from authz_server.policy.segment_tree import Ending, Hole, SegmentTree
from authz_server.request.operation import Operation

Candidate = TypeVar("Candidate")
ByMethod = dict[str | None, CallerIndex[Candidate]]
"""None is any method."""


class CaptureHole(NamedTuple):
    """A capture without its name, so that templates that differ only by names share a branch."""

    capture: Capture

    @property
    def fits_all(self) -> bool:
        """Whether the capture takes every segment but an empty one."""
        capture = self.capture
        return capture.kind == "text" and not capture.prefix and not capture.suffix

    def fits(self, segment: str) -> bool:
        """Whether the capture accepts the segment."""
        return self.capture.accepts(segment) is not None


class OperationIndex(Generic[Candidate]):
    """Candidates of one effect by operation. Built once, then only read."""

    def __init__(self, effect: Effect, fitting: Fitting[Candidate]) -> None:
        """`fitting` is shared by all indexes that may be there at the same time."""
        self._fitting = fitting
        self._folds = effect == "deny"
        self._tree: SegmentTree[ByMethod[Candidate]] = SegmentTree(dict)
        self._everywhere: ByMethod[Candidate] = {}
        self._is_empty = True

    def leaves(self, item: OperationItem, template: PathTemplate | None) -> Iterator[CallerIndex[Candidate]]:
        """The caller indexes under which a candidate with this item and template is filed."""
        self._is_empty = False
        by_method = self._everywhere if template is None else self._tree.leaf(*self._steps(template))
        for method in item.methods or (None,):
            yield by_method.setdefault(method, CallerIndex(self._fitting))

    def find(self, operation: Operation) -> list[CallerIndex[Candidate]]:
        """The caller indexes of all templates and methods that the operation fits."""
        if self._is_empty:
            return []
        found = [self._everywhere] if self._everywhere else []
        path = operation.path
        if not self._folds:
            found += self._tree.find(path.segments, path.trailing_slash)
        else:
            for reading in folded_readings(path):
                found += self._tree.find(reading)
        indexes: list[CallerIndex[Candidate]] = []
        for by_method in found:
            if operation.method in by_method:
                indexes.append(by_method[operation.method])
            if None in by_method:
                indexes.append(by_method[None])
        return indexes

    def _steps(self, template: PathTemplate) -> tuple[Sequence[str | Hole], Ending]:
        if template.rest is not None:
            ending: Ending = "rest"
        else:
            ending = "slash" if template.trailing_slash and not self._folds else "exact"
        return [self._step(segment) for segment in template.segments], ending

    def _step(self, segment: Literal | Capture) -> str | Hole:
        if isinstance(segment, Literal):
            return fold_segment(segment.text) if self._folds else segment.text
        capture = fold_capture(segment) if self._folds else segment
        return CaptureHole(msgspec.structs.replace(capture, name=""))


def templates(item: OperationItem) -> list[PathTemplate | None]:
    """The path templates of an item; None is every path. A gRPC method is the path `/service/Method`."""
    if item.grpc is not None:
        methods = item.grpc.methods or ("{method}",)
        return [parse_path_template(f"/{item.grpc.service}/{method}") for method in methods]
    return [parse_path_template(path) for path in item.paths] or [None]
