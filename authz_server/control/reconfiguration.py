"""A configuration that has changed: what the workers alone use is taken up, by one worker after the other."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from authz_server.control.errors import CannotStart
from authz_server.control.settings import Settings, load_settings
from authz_server.control.settings.candidate import CandidateSettings
from authz_server.control.settings_check import unusable_tls
from authz_server.control.supervisor import Supervisor
from authz_server.worker.messages import WorkerSettings

LIVE = ("answers", "bodies", "candidate", "clients", "identity_headers", "log")
"""Sections that no other part of the server looks at, or that it follows."""


def taken_up(current: Settings, changed: Settings) -> tuple[Settings, list[str]]:
    """The settings as they can be without a restart, and the sections of what needs one."""
    update: dict[str, object] = {name: getattr(changed, name) for name in LIVE}
    update["audit"] = current.audit.model_copy(update={"secrets": changed.audit.secrets})
    if current.tls is not None and changed.tls is not None:
        update["tls"] = changed.tls
    possible = current.model_copy(update=update)
    needs = [name for name in type(current).model_fields if getattr(possible, name) != getattr(changed, name)]
    return possible, needs


def _unusable(settings: Settings) -> list[str]:
    return [] if settings.tls is None else [str(one) for one in unusable_tls(settings.tls)]


def _for_workers(settings: Settings) -> Settings:
    """Without what workers are told in another way."""
    return settings.model_copy(update={"candidate": None})


def _nobody(_settings: CandidateSettings | None) -> None:
    """Nobody is told."""


class Reconfiguration:
    """Reads the configuration again when asked to."""

    def __init__(
        self,
        file: Path | None,
        settings: Settings,
        supervisor: Supervisor,
        workers_of: Callable[[Settings], list[WorkerSettings]],
        grace_s: float,
        on_candidate: Callable[[CandidateSettings | None], None] = _nobody,
    ) -> None:
        """`workers_of` makes the settings of the workers; `grace_s` is what each has to finish its calls.

        `on_candidate` is told of a changed section `candidate`, which takes no new worker.
        """
        self._file = file
        self._settings = settings
        self._supervisor = supervisor
        self._workers_of = workers_of
        self._grace_s = grace_s
        self._on_candidate = on_candidate
        self._wanted = asyncio.Event()
        self._refused: list[str] = []
        self._first = ""
        """The first of them, in short."""
        self._needs_restart: list[str] = []

    def request(self) -> None:
        """Read it soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Read it whenever asked to, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.step()

    @property
    def refused(self) -> int:
        """The problems of the configuration as it was when it was read last."""
        return len(self._refused)

    def problems(self) -> list[str]:
        """Why the server does not run by the configuration as it is."""
        told = []
        if count := len(self._refused):
            plural = "" if count == 1 else "s"
            told.append(f"{count} problem{plural} in the configuration ({self._first}); the one before is in use")
        if self._needs_restart:
            told.append(f"the configuration has changed in what takes a restart: {', '.join(self._needs_restart)}")
        return told

    async def step(self) -> None:
        """Read it now, and take up what can be; what is wrong changes nothing."""
        loaded = await asyncio.to_thread(load_settings, self._file, os.environ)
        if loaded.settings is None:
            first = loaded.problems[0]
            self._refuse([str(problem) for problem in loaded.problems], f"{first.place}: {first.code}")
            return
        settings, needs = taken_up(self._settings, loaded.settings)
        if unusable := await asyncio.to_thread(_unusable, settings):
            self._refuse(unusable, unusable[0])
            return
        if settings != self._settings:
            if _for_workers(settings) != _for_workers(self._settings):
                try:
                    workers = await asyncio.to_thread(self._workers_of, settings)
                    await self._supervisor.replace(workers, self._grace_s)
                except (CannotStart, OSError) as error:
                    self._refuse([str(error)], str(error))
                    return
            if settings.candidate != self._settings.candidate:
                self._on_candidate(settings.candidate)
            self._settings = settings
            structlog.get_logger().info("configuration_taken_up")
        elif self._refused:
            structlog.get_logger().info("configuration_mended")
        self._refused, self._needs_restart = [], needs
        if needs:
            structlog.get_logger().warning("configuration_needs_restart", settings=needs)

    def _refuse(self, problems: list[str], first: str) -> None:
        self._refused, self._first = problems, first
        for problem in problems:
            structlog.get_logger().error("configuration_refused", problem=problem)
