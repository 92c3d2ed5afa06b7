"""Counts what is used of policies, from the lines of the audit."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from authz_server.audit.record import is_whole
from authz_server.bounds import MIB, Bound
from authz_server.model import RuleItems
from authz_server.policy.plan import Plan, Rule
from authz_server.usage.content import contents_of
from authz_server.usage.counted import Counted, Use
from authz_server.usage.routes import Routes
from authz_server.usage.state import MAX_BEFORE, REVISIONS, USES, Gap, State

WAITING = Bound(
    "records of policies that come into force",
    "server",
    entries=1_800,
    bytes=16 * MIB,
    holds="Decisions of policies that workers have, and the control process has not reported yet, to be counted.",
    full="Of what is more is counted how many they are.",
    kept_in=("Counting._waiting",),
)


class _User(Struct, frozen=True):
    issuer: str
    subject: str


class _Record(Struct, frozen=True):
    """A line of the audit, as far as it is counted."""

    time: datetime
    type: str
    revision: str | None = None
    rule: str | None = None
    workload: str | None = None
    user: _User | None = None
    method: str | None = None
    path: str | None = None
    audited: tuple[str, ...] | None = None
    dropped: int | None = None
    calls: int | None = None
    traits: dict[str, Any] | None = None
    policies: str | None = None
    items: RuleItems | None = None


class Counting:
    """Counts into a state. For one thread."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._decoder = msgspec.json.Decoder(_Record)
        self._in_force = _Followed("", {})
        self._candidate = _Followed("", {})
        self._waiting: list[_Record] = []
        self._uses = state.uses

    @property
    def revision(self) -> str | None:
        """That of the policies that came into force last."""
        return max(self.state.revisions, key=self.state.revisions.__getitem__, default=None)

    def take_up(self, plan: Plan, time: float) -> None:
        """These policies have come into force. A rule that is as it was before keeps its history."""
        state = self.state
        if plan.revision == self._in_force.revision:
            return
        if plan.revision != self.revision:
            state.index += 1
            state.revisions.pop(plan.revision, None)
            state.revisions[plan.revision] = state.index
            while len(state.revisions) > REVISIONS.entries:
                del state.revisions[next(iter(state.revisions))]
        contents = contents_of(plan)
        before = {(rule.id, rule.content): rule for rule in state.rules.values()}
        state.rules = {}
        for name, (_, content) in contents.items():
            key = (name, content)
            rule = before.pop(key, None)
            if rule is None:
                rule = state.before.pop(key, None) or Counted(name, content, time, state.index)
                rule.since, rule.index = time, state.index
            state.rules[name] = rule
        state.keep_before(before)
        self._in_force = _Followed(plan.revision, contents)
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._place(record, record.time.timestamp(), last_try=True)

    def take_up_candidate(self, plan: Plan | None) -> None:
        """These are the policies of the candidate; what they decide counts for rules that are the same in force."""
        if plan is None or plan.revision != self._candidate.revision:
            self._candidate = _Followed("", {}) if plan is None else _Followed(plan.revision, contents_of(plan))

    def interrupt(self) -> None:
        """Other policies have come into force, and nobody knows which."""
        self.state.keep_before({(rule.id, rule.content): rule for rule in self.state.rules.values()})
        self.state.rules = {}
        self._in_force = _Followed("", {})

    def forget(self, before: float) -> None:
        """Forget what was not used since then."""
        self.state.forget(before)
        self._uses = self.state.uses

    def add(self, lines: Iterable[bytes]) -> None:
        """Count these lines; what is no record of this version is left out."""
        for line in lines:
            try:
                record = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self._add(record)

    def _add(self, record: _Record) -> None:
        state, time = self.state, record.time.timestamp()
        if record.type == "gap":
            state.add_gap(Gap(time, time, record.dropped, "lost"))
            return
        if record.type != "decision":
            return
        state.decisions += record.calls or 1
        state.last = max(state.last, time)
        if record.policies == "candidate":
            self._count_candidate(record, time)
        elif record.rule is not None or record.audited:
            self._place(record, time, last_try=False)

    def _place(self, record: _Record, time: float, *, last_try: bool) -> None:
        """Count a decision for the rules of its revision, or keep it until that is known."""
        index = self.state.revisions.get(record.revision or "")
        if index is not None and self._in_force.contents:
            self._count(record, time, self._in_force, lambda name: self._counted(name, index))
        elif last_try or len(self._waiting) >= WAITING.entries:
            self.state.unplaced.add(time)
        else:
            self._waiting.append(record)

    def _count_candidate(self, record: _Record, time: float) -> None:
        """Count a decision for the candidate's rule, which may be one that is in force as well."""
        followed, name = self._candidate, record.rule or ""
        if record.revision == followed.revision and name in followed.contents:
            self._count(record, time, followed, lambda name: self._of_candidate(name, time))
        if record.rule is None or not self._is_in_force(name):
            self.state.candidate.add(time)

    def _is_in_force(self, name: str) -> bool:
        """Whether a rule of the candidate is in force as it is there."""
        rule, found = self.state.rules.get(name), self._candidate.contents.get(name)
        return rule is not None and found is not None and rule.content == found[1]

    def _of_candidate(self, name: str, time: float) -> Counted | None:
        """A rule of the candidate; one that is not in force is remembered, for the time when it is."""
        if name not in self._candidate.contents:
            return None
        if self._is_in_force(name):
            return self.state.rules[name]
        content = self._candidate.contents[name][1]
        before = self.state.before
        if (name, content) not in before and len(before) < MAX_BEFORE:
            before[name, content] = Counted(name, content, time, self.state.index)
        return before.get((name, content))

    def _count(
        self, record: _Record, time: float, followed: "_Followed", counted_of: Callable[[str], Counted | None]
    ) -> None:
        for name in record.audited or ():
            rule = counted_of(name)
            if rule is not None and name != record.rule:
                rule.seen.add(time)
                rule.unknown_items.add(time)
                rule.unlisted.add(time)
        rule = None if record.rule is None else counted_of(record.rule)
        if rule is None:
            return
        rule.seen.add(time)
        if record.user is not None:
            rule.add_user(record.user.issuer, record.user.subject)
        source = followed.contents[rule.id][0]
        items = _items(record, source)
        rule.add_items(items, time)
        if source.effect == "allow":
            kinds = len(rule.uses)
            use = _use(record, source, items, followed.routes)
            rule.add_use(use, time, room=self._uses < USES.entries)
            self._uses += len(rule.uses) - kinds

    def _counted(self, name: str, index: int) -> Counted | None:
        """The rule with this id, if it was as it is now in the revision that decided."""
        rule = self.state.rules.get(name)
        return None if rule is None or index < rule.index else rule


class _Followed:
    """Policies whose decisions are counted."""

    def __init__(self, revision: str, contents: Mapping[str, tuple[Rule, bytes]]) -> None:
        self.revision = revision
        self.contents = contents
        self.routes = Routes()


def _use(record: _Record, rule: Rule, items: RuleItems | None, routes: Routes) -> Use | None:
    """The kind of use that a record tells of; None where it does not tell all of it."""
    if items is None or record.method is None or record.path is None or (record.traits and record.traits.get("cut")):
        return None
    issuer = None if record.user is None else record.user.issuer
    # An issuer is a name of the configuration, and a method that a rule fits is short.
    if record.workload is not None and not is_whole(record.workload):
        return None
    route = routes.of(rule, items[1], record.path)
    if route is None:
        return None
    return Use(items[0], record.workload, issuer, items[1], route.template, record.method, route.shape)


def _items(record: _Record, rule: Rule) -> RuleItems | None:
    """By which items a rule fitted; where the record is older, those of a rule that has no others."""
    if record.items is not None:
        return record.items
    callers, operations = (None if each is None else len(each) for each in (rule.callers, rule.operations))
    if (callers or 1) > 1 or (operations or 1) > 1:
        return None
    return None if callers is None else 0, None if operations is None else 0
