"""The requests that are on record, counted, and what nothing is learned from."""

from collections.abc import Iterable
from itertools import islice

from msgspec import Struct

from authz_server.learning.asked import Asked, LeftOut, asked_by
from authz_server.policy.compiler import KnownNames
from authz_server.replay.recorded import Recorded, Undecidable, read_record

MAX_EXAMPLES = 3
MAX_TRIED = 20_000
"""Of what is left out for one reason, so many different requests are tried on what was learned."""


class Seen(Struct):
    """How often something was seen, and when; times as in records."""

    example: Recorded
    """The first of them."""
    count: int = 0
    first: str = ""
    last: str = ""

    def add(self, count: int, first: str, last: str) -> None:
        """Count some more."""
        self.count += count
        self.first = min(self.first or first, first)
        self.last = max(self.last, last)


class Left(Struct):
    """Records of which nothing is learned, for one reason."""

    count: int = 0
    requests: dict[tuple[object, ...], Seen] = {}
    """Those that are different, as far as there is room; lines that could not be read are none."""

    @property
    def examples(self) -> list[Recorded]:
        """The first few."""
        return [seen.example for seen in islice(self.requests.values(), MAX_EXAMPLES)]

    def add(self, record: Recorded | None, count: int = 1) -> None:
        """Count some more."""
        self.count += count
        if record is None:
            return
        key = record.sameness()
        seen = self.requests.get(key)
        if seen is None and len(self.requests) < MAX_TRIED:
            seen = self.requests[key] = Seen(record)
        if seen is not None:
            seen.add(count, record.time, record.time)


class Observations:
    """What records say was asked."""

    def __init__(self, service: str | None, known: KnownNames | None, *, allow_anonymous: bool) -> None:
        """Of one service, or of all; with `known`, only callers that the configuration has."""
        self._service = service
        self._known = known
        self._allow_anonymous = allow_anonymous
        self.records = 0
        self.unread = 0
        """Lines among them that are no record: of which service they are, nobody knows."""
        self.others = 0
        """Records of other services."""
        self.other_names: set[str] = set()
        """What those are called."""
        self.requests: dict[Asked, Seen] = {}
        self.left: dict[str, Left] = {}
        """Why -> records of which nothing is learned."""

    def take(self, lines: Iterable[bytes]) -> None:
        """Look at some lines of the audit; empty ones are none."""
        for line in lines:
            if line.strip():
                self._take(line)

    def leave_out(self, why: str, record: Recorded | None, count: int = 1) -> None:
        """Learn nothing of records, and say so."""
        self.left.setdefault(why, Left()).add(record, count)

    def _take(self, line: bytes) -> None:
        try:
            record = read_record(line)
        except Undecidable as error:
            self.records += 1
            self.unread += 1
            self.leave_out(error.why, None)
            return
        if self._service is not None and record.service != self._service:
            self.others += 1
            self.other_names |= {record.service} if record.service is not None else set()
            return
        self.records += 1
        try:
            asked = asked_by(record, self._known, allow_anonymous=self._allow_anonymous)
        except (LeftOut, Undecidable) as error:
            self.leave_out(error.why, record)
            return
        seen = self.requests.get(asked)
        if seen is None:
            seen = self.requests[asked] = Seen(record)
        seen.add(1, record.time, record.time)
