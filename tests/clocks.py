"""Clocks of single modules, for tests."""

import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


def set_clock(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, **functions: Callable[..., object]) -> None:
    """Let these modules alone see other functions of `time`: servers in other threads live by the real ones.

    An event loop that is told the time of a test sleeps until that would come.
    """
    for module in modules:
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), **functions}))
