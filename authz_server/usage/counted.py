"""What is counted of one rule."""

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct, field

from authz_server.model import RuleItems
from authz_server.usage.shapes import TEXT, covers, merged

MAX_USES = 1_000
"""Kinds of uses of one rule that are told apart."""
MAX_SHAPES = 32
"""Shapes of one length, method and template; of more, some become one."""
MAX_USERS = 256


class Seen(Struct):
    """How often something was, and when; times in seconds since the epoch."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, time: float, count: int = 1) -> None:
        """Count it again."""
        if not self.count or time < self.first:
            self.first = time
        if time > self.last:
            self.last = time
        self.count += count

    def merge(self, other: "Seen") -> None:
        """Count everything that another one has counted."""
        if other.count:
            self.add(other.first, other.count)
            self.last = max(self.last, other.last)


class Use(NamedTuple):
    """A kind of use: who, by which item of `from`, what, by which item of `to`."""

    caller_item: int | None
    workload: str | None
    issuer: str | None
    """Of the user, by its name in the configuration."""
    operation_item: int | None
    template: int | None
    method: str
    shape: str
    """See `Route`."""


class Counted(Struct):
    """A rule with one content, and its uses."""

    id: str
    content: bytes
    since: float
    """From when on it has been in force without a break."""
    index: int
    """Of the first of those revisions."""
    seen: Seen = field(default_factory=Seen)
    items: dict[RuleItems, Seen] = {}
    unknown_items: Seen = field(default_factory=Seen)
    """Uses whose record does not say by which items."""
    uses: dict[Use, Seen] = {}
    unlisted: Seen = field(default_factory=Seen)
    """Uses that are not in `uses`: their record does not say who or what, or there are too many kinds."""
    users: set[int] = set()
    more_users: bool = False
    merged: dict[tuple[int | None, int | None], list[str]] = {}
    """By item of `to` and template, the shapes that stand for several."""

    def add_items(self, items: RuleItems | None, time: float) -> None:
        """Count a use by these items."""
        if items is None:
            self.unknown_items.add(time)
        elif (seen := self.items.get(items)) is not None:
            seen.add(time)
        else:
            self.items[items] = Seen(1, time, time)

    def add_use(self, use: Use | None, time: float, *, room: bool) -> None:
        """Count a kind of use; where there is no `room` for one more, it is not listed."""
        if use is not None and use not in self.uses and self.merged:
            use = self._covering(use)
        seen = None if use is None else self.uses.get(use)
        if seen is not None:
            seen.add(time)
        elif use is None or not room or len(self.uses) >= MAX_USES:
            self.unlisted.add(time)
        else:
            self.uses[use] = Seen(1, time, time)
            self._merge_shapes(use)

    def add_user(self, issuer: str, subject: str) -> None:
        """Count a user: only how many there are is kept."""
        # Among so few two that have the same are rare, and they are counted, not told apart.
        number = crc32(f"{issuer} {subject}".encode(errors="surrogatepass"))
        if number not in self.users:
            self.more_users = self.more_users or len(self.users) >= MAX_USERS
            if not self.more_users:
                self.users.add(number)

    def forget(self, before: float) -> None:
        """Forget what was not used since then."""
        self.items = {items: seen for items, seen in self.items.items() if seen.last >= before}
        self.uses = {use: seen for use, seen in self.uses.items() if seen.last >= before}

    def _covering(self, use: Use) -> Use:
        """The use with the shape that this one's has become a part of."""
        for shape in self.merged.get(_place(use), ()):
            if covers(shape, use.shape):
                return use._replace(shape=shape)
        return use

    def _merge_shapes(self, added: Use) -> None:
        """Make fewer shapes of those that stand where this one does, if there are too many."""

        beside = [use for use in self.uses if _place(use) == _place(added)]
        if len({use.shape for use in beside}) <= MAX_SHAPES:
            return
        into = merged([use.shape for use in beside], MAX_SHAPES // 2)
        for use in beside:
            if into[use.shape] != use.shape:
                seen = self.uses.pop(use)
                self.uses.setdefault(use._replace(shape=into[use.shape]), Seen()).merge(seen)
        self.merged[_place(added)] = sorted({shape for shape in into.values() if TEXT in shape})


def _place(use: Use) -> tuple[int | None, int | None]:
    return use.operation_item, use.template


def last_of(seen: Iterable[Seen]) -> float | None:
    """When any of these was last; None where none ever was."""
    return max((each.last for each in seen if each.count), default=None)
