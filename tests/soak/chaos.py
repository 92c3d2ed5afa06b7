"""What is done to the server, at random, the same for the same seed."""

import signal
import time
from collections.abc import Callable, Sequence
from random import Random

from msgspec import Struct

from tests.soak.site import Site
from tests.soak.timeline import Span, Timeline
from tests.soak.watcher import Watcher

STOP_S = 15.0
"""The server itself says that it ends within ten seconds."""
WEIGHTS = {
    "good_policies": 12,
    "broken_policies": 4,
    "kill_worker": 4,
    "stop_worker": 3,
    "stop_control": 2,
    "kill_control": 2,
    "restart_control": 2,
    "rotate_keys": 3,
    "rotate_certificates": 3,
    "full_disk": 2,
    "slow_disk": 2,
    "stalled_issuer": 2,
    "clock_step": 3,
}
LETHAL = frozenset({"kill_worker", "stop_worker", "kill_control", "restart_control"})
"""What ends processes; between, they live for long enough to show what they lose."""
HINDERS_START = frozenset({"full_disk", "kill_worker", "stop_worker"})
CANNOT_START = 1
"""Exit code."""
PAUSES_S = (0.3, 3.0)


class Ongoing(Struct):
    """Something that goes on until it is ended."""

    span: Span
    due: float
    end: Callable[[], None]


class Chaos:
    """Does one thing after the other; some go on while others begin."""

    def __init__(self, site: Site, timeline: Timeline, watcher: Watcher, seed: int, kinds: Sequence[str]) -> None:
        self._site, self._timeline, self._watcher = site, timeline, watcher
        self._chance = Random(f"chaos {seed}")  # noqa: S311 - the same for the same seed
        self._kinds = kinds
        self._ongoing: list[Ongoing] = []
        self.problems: list[str] = []

    def step(self, *, lethal: bool) -> None:
        """Do something, unless it goes on already."""
        kinds = [kind for kind in self._kinds if lethal or kind not in LETHAL]
        kind = self._chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0] if kinds else None
        if kind is not None and all(ongoing.span.kind != kind for ongoing in self._ongoing):
            getattr(self, f"_{kind}")()

    def revive(self) -> None:
        """Start a server that has ended by itself, as whoever supervises it would."""
        code = self._site.server.poll()
        if code is None:
            return
        if code != CANNOT_START or not self._hindered():
            self.problems.append(f"the control process has ended by itself with exit code {code}")
        span = self._begin("restart_control")
        self._site.start()
        self._watcher.release(span)

    def _hindered(self) -> bool:
        """Whether a server may be unable to start: no room for its rings, a worker that is killed while it starts, or
        a stopped one of before that holds the address."""
        return bool(HINDERS_START & {span.kind for span in self._timeline.open()})

    def pause(self) -> float:
        """How long to wait for the next step, seconds."""
        return self._chance.uniform(*PAUSES_S)

    def end_due(self, *, everything: bool = False) -> None:
        """End what has gone on for long enough."""
        for ongoing in list(self._ongoing):
            if everything or time.monotonic() >= ongoing.due:
                self._ongoing.remove(ongoing)
                ongoing.end()
                self._watcher.release(ongoing.span)

    def _begin(self, kind: str) -> Span:
        span = self._timeline.begin(kind)
        self._watcher.hold(span)
        return span

    def _once(self, kind: str, act: Callable[[], object]) -> None:
        span = self._begin(kind)
        act()
        self._watcher.release(span)

    def _until(self, kind: str, shortest: float, longest: float, end: Callable[[], object]) -> None:
        span, due = self._begin(kind), time.monotonic() + self._chance.uniform(shortest, longest)
        self._ongoing.append(Ongoing(span, due, lambda: void(end())))

    def _good_policies(self) -> None:
        self._once("good_policies", self._site.revisions.write_good)
        # While a process starts, signals end it.
        if self._chance.random() < 0.3 and self._watcher.well_since is not None:
            self._site.signal(signal.SIGHUP, self._site.server.pid)

    def _broken_policies(self) -> None:
        self._until("broken_policies", 1, 6, self._site.revisions.write_good)
        self._site.revisions.write_broken()

    def _a_worker(self) -> int | None:
        workers = self._site.workers()
        return self._chance.choice(workers) if workers else None

    def _kill_worker(self) -> None:
        if (worker := self._a_worker()) is not None:
            self._once("kill_worker", lambda: self._site.signal(signal.SIGKILL, worker))

    def _stop_worker(self) -> None:
        if (worker := self._a_worker()) is not None:
            # Now and then longer than the control process waits for a sign of life.
            longest = 14.0 if self._chance.random() < 0.1 else 3.0
            self._until("stop_worker", 0.1, longest, lambda: self._site.signal(signal.SIGCONT, worker))
            self._site.signal(signal.SIGSTOP, worker)

    def _stop_control(self) -> None:
        control = self._site.server.pid
        self._until("stop_control", 0.2, 3, lambda: self._site.signal(signal.SIGCONT, control))
        self._site.signal(signal.SIGSTOP, control)

    def _kill_control(self) -> None:
        span = self._begin("kill_control")
        self._site.workers()
        self._site.server.kill()
        self._site.server.wait()
        time.sleep(self._chance.uniform(0, 2))
        self._site.start()
        self._watcher.release(span)

    def _restart_control(self) -> None:
        span = self._begin("restart_control")
        # One that is stopped hears nothing, and one that starts is ended by the signal alone.
        self._site.signal(signal.SIGCONT, self._site.server.pid)
        self._site.workers()
        begun, was_well = time.monotonic(), self._watcher.well_since is not None
        self._site.server.terminate()
        code = self._site.server.wait()
        if (code != 0 and was_well) or time.monotonic() - begun > STOP_S:
            self.problems.append(f"SIGTERM: exit code {code} after {time.monotonic() - begun:.1f} s")
        self._site.start()
        self._watcher.release(span)

    def _rotate_keys(self) -> None:
        self._once("rotate_keys", self._site.issuers.rotate)

    def _rotate_certificates(self) -> None:
        self._once("rotate_certificates", self._chance.choice([self._site.renew_callers, self._renew_all]))

    def _renew_all(self) -> None:
        self._site.stack.identities.renew()
        self._site.renew_callers()

    def _full_disk(self) -> None:
        self._until("full_disk", 2, 12, self._site.empty_disk)
        self._site.fill_disk()

    def _slow_disk(self) -> None:
        self._until("slow_disk", 2, 10, lambda: self._site.set_disk(0))
        self._site.set_disk(self._chance.uniform(0.1, 2))

    def _stalled_issuer(self) -> None:
        self._until("stalled_issuer", 2, 15, self._site.issuers.stalled.clear)
        self._site.issuers.stalled.set()

    def _clock_step(self) -> None:
        hours = self._chance.choice([0, 0, 1, 11, 24, 50, 72])
        self._once("clock_step", lambda: self._site.set_clock(3600 * hours + self._chance.uniform(0, 60)))


def void(_value: object) -> None:
    """What ends something may give anything."""
