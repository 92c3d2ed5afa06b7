"""What the soak does inside the server: steps of the clock, a slow disk and small rings, and for its own tests, faults.

Python runs this module at its start where its folder is in PYTHONPATH; it does nothing without AUTHZ_SOAK_HOOKS.
"""

import mmap
import os
import random
import sys
import time
from importlib import import_module
from pathlib import Path
from struct import Struct
from types import SimpleNamespace
from typing import Any

HOOKS_VARIABLE, FAULT_VARIABLE = "AUTHZ_SOAK_HOOKS", "AUTHZ_SOAK_FAULT"
HOOKS = Struct("=dd")
"""Seconds that the clock is ahead, and that a write to the audit file takes longer."""
RING_BYTES = 64 * 1024
"""About a hundred records: a disk that is full for seconds fills them."""


def _is_worker() -> bool:
    return "authz_server.worker" in sys.orig_argv


def _step_the_clock(hooks: mmap.mmap) -> None:
    """Of decisions. The clock of the deadlines is that of grpcio, which stays as it is."""
    service = import_module("authz_server.envoy.service")
    real = time.time
    moved = {"time": lambda: real() + HOOKS.unpack(hooks[: HOOKS.size])[0]}
    service.time = SimpleNamespace(**vars(time) | moved)  # type: ignore[attr-defined]


def _shrink_the_rings() -> None:
    server = import_module("authz_server.control.server")
    assert server.RING_BYTES > RING_BYTES
    server.RING_BYTES = RING_BYTES  # type: ignore[attr-defined]


def _slow_the_disk(hooks: mmap.mmap) -> None:
    writer = import_module("authz_server.audit.writer").AuditWriter
    write = writer.write

    def slowly(self: Any, lines: Any) -> None:
        time.sleep(HOOKS.unpack(hooks[: HOOKS.size])[1])
        write(self, lines)

    writer.write = slowly


def _wrong_allow() -> None:
    """Some of what no rule allows is allowed."""
    errors = import_module("authz_server.errors").Reason
    replace = import_module("msgspec.structs").replace
    service = import_module("authz_server.envoy.service").CheckService
    decide = service._decide

    def wrongly(*arguments: Any) -> Any:
        decision = decide(*arguments)
        if decision.reason is errors.NO_RULE_ALLOWS and random.random() < 0.1:  # noqa: S311
            return replace(decision, reason=errors.ALLOWED, rule="a/rule", detail=None)
        return decision

    service._decide = wrongly


def _other_answer() -> None:
    """Some of what is denied, also on record, is allowed in the answer."""
    errors = import_module("authz_server.errors").Reason
    replace = import_module("msgspec.structs").replace
    writer = import_module("authz_server.envoy.response").ResponseWriter
    write = writer.write

    def wrongly(self: Any, decision: Any) -> Any:
        if decision.reason is errors.NO_RULE_ALLOWS and random.random() < 0.1:  # noqa: S311
            decision = replace(decision, reason=errors.ALLOWED, rule="a/rule", detail=None)
        return write(self, decision)

    writer.write = wrongly


def _skipped_record() -> None:
    """Some decisions are not recorded."""
    recorder = import_module("authz_server.audit.recorder").Recorder
    record = recorder.__call__

    def forgetfully(self: Any, decision: Any, latency_us: int) -> None:
        if random.random() > 0.05:  # noqa: S311
            record(self, decision, latency_us)

    recorder.__call__ = forgetfully


def _old_revision() -> None:
    """One worker says that it has switched to the second snapshot and all later ones, and has not."""
    snapshots = import_module("authz_server.worker.snapshots").Snapshots
    init, activate = snapshots.__init__, snapshots.activate

    def keep_slot(self: Any, settings: Any, *others: Any) -> None:
        init(self, settings, *others)
        self.slot = settings.slot

    def late(self: Any, generation: int) -> Any:
        new = activate(self, generation)
        if self.slot == 1:
            self.first = getattr(self, "first", new)
            return self.first
        return new

    snapshots.__init__, snapshots.activate = keep_slot, late


def _leaked_descriptor() -> None:
    """A worker opens a file with every other decision, and never closes it."""
    recorder = import_module("authz_server.audit.recorder").Recorder
    record = recorder.__call__

    def leaky(self: Any, decision: Any, latency_us: int) -> None:
        if random.random() < 0.5:  # noqa: S311
            os.open(os.devnull, os.O_RDONLY)
        record(self, decision, latency_us)

    recorder.__call__ = leaky


def _leaked_memory() -> None:
    """A worker keeps a megabyte of every decision."""
    recorder = import_module("authz_server.audit.recorder").Recorder
    record = recorder.__call__
    kept: list[bytes] = []

    def greedy(self: Any, decision: Any, latency_us: int) -> None:
        kept.append(b"x" * 1_000_000)
        record(self, decision, latency_us)

    recorder.__call__ = greedy


FAULTS = {
    "wrong_allow": _wrong_allow,
    "other_answer": _other_answer,
    "skipped_record": _skipped_record,
    "old_revision": _old_revision,
    "leaked_descriptor": _leaked_descriptor,
    "leaked_memory": _leaked_memory,
}
"""All of them in workers."""


def _install(path: Path) -> None:
    with path.open("rb") as file:
        hooks = mmap.mmap(file.fileno(), HOOKS.size, access=mmap.ACCESS_READ)
    if _is_worker():
        _step_the_clock(hooks)
        if fault := os.environ.get(FAULT_VARIABLE):
            FAULTS[fault]()
    elif "serve" in sys.orig_argv:
        _slow_the_disk(hooks)
        _shrink_the_rings()


if HOOKS_VARIABLE in os.environ:
    _install(Path(os.environ[HOOKS_VARIABLE]))
