"""When to fetch keys, bundles or policies, and how long to believe them. Knows no clock: it is told the time.

All times are seconds of a monotonic clock, so that a clock that is set makes nothing older or younger.
"""

from msgspec import Struct

COOLDOWN_S = 30.0
"""Unknown keys cause a fetch so long after the one before at the earliest."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
SHORTEST_REFRESH_S, USUAL_REFRESH_S, LONGEST_REFRESH_S = 10.0, 300.0, 3600.0
"""Of a bundle, whatever it says about it itself, and where it says nothing."""


class FetchSchedule(Struct):
    """The state of what one issuer, trust domain or source has."""

    refresh_s: float
    """From a successful fetch to the next."""
    max_age_s: float
    """From a successful fetch to the end of trust in what it brought; infinite where that does not end."""
    due: float = 0.0
    """When to fetch next."""
    fetched: float | None = None
    """When what is believed was fetched; None: there is nothing."""
    started: float | None = None
    """When the last fetch began."""
    retry_s: float = FIRST_RETRY_S

    def begin(self, now: float) -> None:
        """A fetch begins."""
        self.started = now

    def succeed(self, now: float, jitter: float) -> None:
        """The fetch brought keys; `jitter` from 0 to 1 says how much earlier than planned the next one may be."""
        self.fetched = now
        # Replicas that started together shall not ask together for ever.
        self.due = now + self.refresh_s * (1 - 0.1 * jitter)
        self.retry_s = FIRST_RETRY_S

    def hint(self, refresh_s: float | None) -> None:
        """The publisher says how often it would like to be asked; half of the time of trust is the longest."""
        wanted = USUAL_REFRESH_S if refresh_s is None else refresh_s
        self.refresh_s = min(max(wanted, SHORTEST_REFRESH_S), LONGEST_REFRESH_S, self.max_age_s / 2)

    def fail(self, now: float) -> None:
        """The fetch brought nothing: again soon, and then less and less often."""
        self.due = now + self.retry_s
        self.retry_s = min(2 * self.retry_s, LONGEST_RETRY_S)

    def ask(self, now: float) -> None:
        """Somebody met a key that is not known: fetch earlier, within the cooldown."""
        earliest = now if self.started is None else max(now, self.started + COOLDOWN_S)
        self.due = min(self.due, earliest)

    def expire(self, now: float) -> bool:
        """Whether the keys have just become too old to be believed."""
        if self.fetched is None or now < self.fetched + self.max_age_s:
            return False
        self.fetched = None
        return True

    def next_event(self) -> float:
        """When something is to be done: a fetch, or the end of trust."""
        return self.due if self.fetched is None else min(self.due, self.fetched + self.max_age_s)
