"""Looks at the server's readiness again and again: what it reports, and when it has recovered."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.envoy.stack import admin_get
from tests.soak.judge import OUTAGES
from tests.soak.site import WORKERS, Site
from tests.soak.timeline import Span, Timeline

LOOK_S = 0.1
SETTLED_S = 3.0
"""From the server's own recovery to Envoy's knowledge of it: looks at health are a second apart."""
RECOVERY_S = 45.0
"""The longest that the server may take; the machine may have other work."""
HINDRANCES = OUTAGES | {"broken_policies", "stalled_issuer", "full_disk", "stop_control"}
"""While any of these goes on, the server may be unable to recover."""


class Watcher:
    """What has been seen so far."""

    def __init__(self, site: Site, timeline: Timeline, report: Callable[[str], None]) -> None:
        self._site, self._timeline, self._report = site, timeline, report
        self.well_since: float | None = None
        """Since when the server is ready with all its workers; None while it is not."""
        self._hindered = 0.0
        self._late: list[Span] = []
        self._released: dict[int, float] = {}
        self._state = ""
        self._held: list[Span] = []

    def hold(self, span: Span) -> None:
        """It goes on, whatever the server reports."""
        self._held.append(span)

    def release(self, span: Span) -> None:
        """It is over; an outage, when it is seen that the server has recovered."""
        self._held.remove(span)
        if span.kind not in OUTAGES:
            span.end = time.monotonic()
        else:
            self._released[id(span)] = time.monotonic()

    def look(self) -> None:
        """Look once."""
        now = time.monotonic()
        well = self._look_at_readiness()
        self.well_since = (self.well_since or now) if well else None
        held = list(self._held)
        if any(span.kind in HINDRANCES for span in held):
            self._hindered = now
        for span in self._timeline.open():
            over = self._released.get(id(span))
            if over is None:
                continue
            if self.well_since is not None and now > max(self.well_since, over) + SETTLED_S:
                span.end = now
                del self._released[id(span)]
            elif now > max(over, self._hindered) + RECOVERY_S and span not in self._late:
                self._late.append(span)
                self._report(f"not recovered {RECOVERY_S:g} s after {span.kind}: {self._state}")

    def _look_at_readiness(self) -> bool:
        try:
            status, text = admin_get(self._site.directory, "/readyz")
        except OSError as error:
            self._state = str(error)
            return False
        self._state = text
        state = json.loads(text)
        revision = self._site.revisions.good.get(state["policies"]["revision"])
        if revision is not None:
            self._timeline.report(revision.number, time.monotonic())
        elif state["policies"]["revision"] is not None:
            self._report(f"policies are reported active that are not good: {text}")
        return bool(status == 200 and state["workers"]["serving"] == WORKERS)


@contextmanager
def watching(site: Site, timeline: Timeline, report: Callable[[str], None]) -> Iterator[Watcher]:
    """Look while the block runs."""
    watcher, stop = Watcher(site, timeline, report), threading.Event()

    def work() -> None:
        while not stop.wait(LOOK_S):
            watcher.look()

    thread = threading.Thread(target=work, name="watcher")
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        thread.join()
