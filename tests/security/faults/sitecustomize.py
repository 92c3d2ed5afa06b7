"""Faults inside a worker, on demand: a request with `x-fault: PHASE ERROR` meets that error in that phase.

Python runs this module at its start where its folder is in PYTHONPATH; it does nothing in any other process.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

ERRORS: dict[str, BaseException] = {
    "KeyError": KeyError("secret"),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("secret"),
    "OSError": OSError(28, "No space left on device"),
    "SystemExit": SystemExit("secret"),
}
PHASES = {
    "read_request": "authz_server.envoy.service",
    "canonical_operation": "authz_server.policy.judging",
    "Evaluation": "authz_server.pipeline",
    "read_inputs": "authz_server.policy.candidate",
    "decide": "authz_server.policy.judging",
    "decision_id": "authz_server.pipeline",
    "denial_body": "authz_server.envoy.response",
    "_response": "authz_server.envoy.response",
    "_moment": "authz_server.audit.record",
}
GUARD = "no guard"
"""What stands for the phase where a failure is to get past the one who turns failures into denials."""


class _Faults:
    """The fault of the request that is being answered; one thread answers all."""

    def __init__(self) -> None:
        self.phase, self.error = "", ""

    def read(self, request: Any) -> None:
        """Look for the fault that a request asks for."""
        wanted = dict(request.headers).get("x-fault", b"").decode()
        self.phase, _, self.error = wanted.rpartition(" ")

    def meet(self, phase: str) -> None:
        """Raise the error, in its phase."""
        if phase == self.phase:
            raise ERRORS[self.error]


def _wrapped(function: Callable[..., Any], faults: _Faults, phase: str) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if phase == "read_request":
            request = function(*arguments, **named)
            faults.read(request)
            faults.meet(phase)
            return request
        faults.meet(phase)
        return function(*arguments, **named)

    return wrapped


def _install() -> None:
    faults = _Faults()
    for phase, name in PHASES.items():
        module = import_module(name)
        setattr(module, phase, _wrapped(getattr(module, phase), faults, phase))
    # Every answer is made, none is kept.
    response = import_module("authz_server.envoy.response")
    response.SHAPES = response.SHAPES._replace(entries=0)  # type: ignore[attr-defined]
    service = import_module("authz_server.envoy.service").CheckService
    failed, decide = service._failed, service._decide

    def unguarded(*arguments: Any) -> Any:
        if faults.phase == GUARD:
            raise ERRORS[faults.error]
        return failed(*arguments)

    def faulty(*arguments: Any) -> Any:
        decision = decide(*arguments)
        faults.meet(GUARD)
        return decision

    service._failed, service._decide = unguarded, faulty


if "authz_server.worker" in sys.orig_argv:
    _install()
