"""Whatever is kept has a bound, and the page for operators shows it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.bounds import Bound, Room
from tools.generate_bounds_docs import PAGE, SOURCE, all_bounds, page

CONTAINERS = {"deque", "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "OrderedDict", "defaultdict", "Counter"}
EMPTY = {"dict", "WeakValueDictionary", "list", "set", "bytearray"}
LIVES_NO_LONGER_THAN_A_CALL = (
    "analysis",
    "cli",
    "dev",
    "doctor",
    "documents",
    "learning",
    "policy/compiler",
    "pruning",
    "replay",
    "testing",
    "pb",
    "identity/cache.py",
)
"""What these keep lives as long as a command, or as the reading of a file; a cache is counted where it is made."""
FIXED = {
    "audit/collector.py": {"Collector._dropped": "the rings"},
    "audit/rings.py": {
        "Rings._own": "one for each worker",
        "Rings._left": "the files that were there at the start",
        "Rings.unreadable": "the files that were there at the start",
    },
    "control/fall_back.py": {"Window._looks": "two looks a second, an hour at most"},
    "control/findings.py": {"Findings.untold": "made each time, one for each change"},
    "control/publisher.py": {
        "Publisher._workers": "one for each worker",
        "Publisher._leaving": "one for each worker that ends, until it has, or is killed after a minute",
    },
    "control/reconfiguration.py": {
        "Reconfiguration._refused": "the problems of one file, whose size is bounded",
        "Reconfiguration._needs_restart": "the sections of the configuration",
    },
    "control/supervisor.py": {
        "Supervisor._running": "one for each worker",
        "Supervisor._addresses": "one for each worker",
        "Supervisor._tasks": "one for each worker",
    },
    "control/trust.py": {
        "Trust._fetched": "the issuers of the configuration",
        "Trust._key_files": "the issuers of the configuration",
        "Trust._bundles": "the trust domains of the configuration",
        "Trust._fetched_bundles": "the trust domains of the configuration",
    },
    "control/usage.py": {"UsageCounter._activated": "its maximal length, policies within half a minute"},
    "envoy/request.py": {"NO_EXTENSIONS": "always empty", "NO_METADATA": "always empty"},
    "policy/caller_index.py": {
        "CallerIndex._keyed": "the rules of the policies",
        "CallerIndex._anyone": "the rules of the policies",
    },
    "policy/conditions/evaluation.py": {
        "Evaluation._activations": "one request",
        "Evaluation._captures": "one request",
        "Evaluation._data": "one request",
        "Evaluation._sized": "one request",
        "Evaluation.known": "one request",
    },
    "policy/conditions/program.py": {
        "ConditionRuntime._needs": "the conditions of the policies",
        "ConditionRuntime._programs": "the conditions of the policies",
    },
    "policy/conditions/reads.py": {
        "ExpressionCheck.reads": "one expression",
        "ExpressionCheck._splits": "one expression",
    },
    "policy/files.py": {"_Walk.entries": "one look at the files", "_Walk.problems": "one look at the files"},
    "policy/formatting.py": {"_style": "the kinds of documents", "_order": "the fields of the files of one command"},
    "policy/hosts.py": {"_Prefixes._further": "the services", "HostIndex._claims": "the services"},
    "policy/index.py": {"NO_CAPTURES": "always empty"},
    "policy/operation_index.py": {"OperationIndex._everywhere": "the rules of the policies"},
    "policy/segment_tree.py": {
        "_Node.literals": "the rules of the policies",
        "_Node.holes": "the rules of the policies",
    },
    "request/headers.py": {"_NOTHING_REPEATED": "always empty"},
    "request/traits.py": {"ORDINARY": "always empty"},
    "telemetry/candidate_counts.py": {"CandidateCounters._cells": "the outcomes of a comparison"},
    "usage/routes.py": {"Routes._rules": "the rules of the policies"},
    "usage/counting.py": {
        "Counting.rules": "the rules of the policies",
    },
    "worker/lean/call.py": {"LeanCall.message": "one request, counted with `calls that wait`"},
    "worker/lean/connection.py": {"Connection._rest": "less than a frame, counted with `connections`"},
    "worker/lean/outgoing.py": {
        "Outgoing.frames": "what one read makes, counted with `frames to send`",
        "Outgoing._added": "the calls of a connection",
        "Outgoing._waiting": "the calls of a connection, counted as `answers not taken`",
    },
    "worker/lean/loop.py": {"Loop._spoken_to": "the connections"},
    "worker/services.py": {"Services._known": "the services of the policies"},
    "worker/waiting.py": {"Waiting._shed": "256 calls of each reason, of which nothing but the stream is looked at"},
    "worker/unknown_keys.py": {"UnknownKeys._told": "the issuers of the configuration"},
}
"""What cannot grow, and why."""


def containers(path: Path) -> Iterator[str]:
    """Where a module keeps what can grow: attributes of its classes, its own variables, cached functions, queues."""
    module = ast.parse(path.read_text())
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            for method in ast.walk(node):
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from (f"{node.name}.{place}" for place in _in_method(method))
        elif isinstance(node, ast.FunctionDef):
            if any("cache" in ast.unparse(decorator) for decorator in node.decorator_list):
                yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _can_grow(node.value):
            yield from (ast.unparse(target) for target in _targets(node))


def _in_method(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for node in ast.walk(method):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _can_grow(node.value):
            for target in _targets(node):
                if isinstance(target, ast.Attribute):
                    yield target.attr
                elif _is_queue(node.value):
                    yield method.name


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _can_grow(value: ast.expr) -> bool:
    """An empty collection, a queue, or what is made with a cache in it."""
    if isinstance(value, ast.Constant):
        return value.value == b""
    if isinstance(value, ast.List | ast.Set) or (isinstance(value, ast.Dict) and not value.keys):
        return not getattr(value, "elts", [])
    if isinstance(value, ast.Call) and _called(value) in EMPTY:
        return not value.args
    return _is_queue(value) or any(isinstance(n, ast.Call) and _called(n) == "BoundedCache" for n in ast.walk(value))


def _is_queue(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _called(value) in CONTAINERS


def _called(call: ast.Call) -> str:
    function = call.func.value if isinstance(call.func, ast.Subscript) else call.func
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


BOUNDS = list(all_bounds())
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if not _name(path).startswith(LIVES_NO_LONGER_THAN_A_CALL)]


def test_the_page_shows_every_bound() -> None:
    """Run `make schema` where it does not."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_a_page_without_its_marks_is_refused() -> None:
    """Nothing is written over a page that somebody has rearranged."""
    with pytest.raises(ValueError, match="marks"):
        page("# Operations\n")


def test_bounds_have_names_of_their_own() -> None:
    """And room for something."""
    bounds = [bound for _, bound in BOUNDS]
    assert len({(bound.of, bound.name) for bound in bounds}) == len(bounds) > 30
    assert all(bound.entries > 0 and bound.bytes > 0 for bound in bounds)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_whatever_can_grow_has_a_bound(path: Path) -> None:
    """Each container that outlives a call is in `kept_in` of a bound of its module, or it is known why it cannot grow.

    And neither says more than there is.
    """
    bounded = {place for home, bound in BOUNDS if home == path for place in bound.kept_in}
    fixed = FIXED.get(_name(path), {})
    assert bounded.isdisjoint(fixed)
    assert set(containers(path)) >= bounded | fixed.keys()
    assert set(containers(path)) - bounded - fixed.keys() == set()


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def __init__(self) -> None:\n        self._a: dict[str, int] = {}\n",
        "class A:\n    def __init__(self) -> None:\n        self._a = deque[int]()\n",
        "class A:\n    def __init__(self) -> None:\n        self._a = Pair(BoundedCache(1, 2))\n",
        "class A:\n    async def _a(self) -> None:\n        queue = asyncio.Queue(5)\n",
        "class A:\n    def b(self) -> None:\n        self._a = set()\n",
    ],
)
def test_containers_are_found(tmp_path: Path, text: str) -> None:
    """However they are written."""
    (tmp_path / "a.py").write_text(text)
    assert list(containers(tmp_path / "a.py")) == ["A._a"]


def test_cached_functions_and_variables_of_modules_are_found(tmp_path: Path) -> None:
    """They live as long as the process."""
    (tmp_path / "a.py").write_text(
        "_a = []\n@functools.lru_cache(maxsize=5)\ndef b(c): return c\ndef d():\n    e = []\n"
    )
    assert list(containers(tmp_path / "a.py")) == ["_a", "b"]


@pytest.mark.parametrize(("entries", "size_each", "kept"), [(3, 1, [1, 2, 3, 1, 2]), (10, 40, [1, 2, 1, 2, 1])])
def test_a_room_is_full_by_entries_and_by_bytes(entries: int, size_each: int, kept: list[int]) -> None:
    """Then everything before goes, and the new entry is the first."""
    room = Room(Bound("a", "worker", entries, 100, "", ""))
    held: list[int] = []
    seen = []
    for number in range(5):
        if room.is_full_for(size_each):
            held.clear()
        held.append(number)
        seen.append(len(held))
    assert seen == kept
