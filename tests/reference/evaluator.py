"""The policy language as its reference describes it, and nothing else of the product.

No index, no cache, no compilation: each rule is asked everything, on the documents as they are written. Slow and plain,
so that it can be read beside docs/policy-reference.md; the engine is held against it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from tests.reference.asked import Asked, Condition, Documents, Expected, Incomplete, Item, Unknown
from tests.reference.callers import ip_of, spiffe_fits, user_fits
from tests.reference.paths import Ambiguous, Path, fits_exactly, fits_folded, read_path
from tests.reference.readings import as_sent, every_reading
from tests.reference.services import Rule, folders_of, host_fits, rules_of, service_of

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def evaluate(documents: Documents, asked: Asked, conditions: Mapping[str, Condition]) -> Expected:
    """Decide; `conditions` says what the texts of `when` mean. Rules are named by their ids, the first of several."""
    try:
        path = _path(documents, asked)
    except Ambiguous:
        return Expected("ambiguous_path")
    if asked.bad_token:
        return Expected("token_invalid")
    service = service_of(documents, asked, path)
    if service is None:
        return Expected("no_service")
    paths = [path]
    if _is_lenient(documents, service) and asked.target:
        try:
            paths = every_reading(asked.target)
        except Ambiguous:
            return Expected("ambiguous_path")
        if asked.service is None and any(service_of(documents, asked, path) != service for path in paths):
            return Expected("ambiguous_path")
    rules = sorted(rules_of(documents, service), key=lambda rule: rule.id)
    readings = [_World(documents, asked, path, conditions) for path in paths]
    decided = min([_decide(reading, rules) for reading in readings], key=_precedence)
    return decided if decided.reason != "allowed" else _in_common(readings, rules)


def _in_common(readings: list["_World"], rules: list[Rule]) -> Expected:
    """Every reading is allowed: the first rule with an answer that every reading gets from some rule."""
    given = [
        {str(rule.text.get("answer")): rule.id for rule in reversed(rules) if reading.permits(rule)}
        for reading in readings
    ]
    common = set(given[0]).intersection(*given)
    if not common:
        return Expected("no_rule_allows")
    return Expected("allowed", min(answers[answer] for answers in given for answer in common))


def _path(documents: Documents, asked: Asked) -> Path:
    """The path, or as it was sent where it is that of a lenient service. Raises Ambiguous."""
    try:
        return read_path(asked.target, connect=asked.method == "CONNECT")
    except Ambiguous:
        path = as_sent(asked.target)
        service = service_of(documents, asked, path)
        if service is None or not _is_lenient(documents, service):
            raise
        return path


def _is_lenient(documents: Documents, service: str) -> bool:
    return documents[service].get("paths") == "lenient"


def _precedence(expected: Expected) -> tuple[int, str, str]:
    """Which of the decisions about several readings is told."""
    order = [
        "denied_by_rule deny_rule_error",
        "no_rule_allows body_incomplete",
        "unauthenticated step_up_required",
        "allowed",
    ]
    place = next(number for number, reasons in enumerate(order) if expected.reason in reasons.split())
    return place, expected.rule or "", str(expected.reason != "denied_by_rule")


def _decide(world: "_World", rules: list[Rule]) -> Expected:
    """What the rules of a service say of one reading."""
    for rule in rules:
        if rule.text["effect"] == "deny" and (denial := world.denial(rule)) is not None:
            return denial
    step_up = None
    for rule in rules:
        if rule.text["effect"] == "allow" and world.allows(rule):
            if not world.lacks_strength(rule.text.get("requires", {})):
                return Expected("allowed", rule.id)
            step_up = step_up or Expected("step_up_required", rule.id)
    if step_up is not None and world.asked.user is not None:
        return step_up
    if world.without_body:
        return Expected("body_incomplete", world.without_body[0])
    if world.asked.user is None and (step_up is not None or any(map(world.lacks_only_a_user, rules))):
        return Expected("unauthenticated")
    return Expected("no_rule_allows")


class _World:
    """One request, to be held against rules."""

    def __init__(self, documents: Documents, asked: Asked, path: Path, conditions: Mapping[str, Condition]) -> None:
        self.asked, self._documents, self._path, self._conditions = asked, documents, path, conditions
        self._upgrade = asked.headers.get("upgrade", "").lower()
        self._address = ip_of(asked.address) if asked.address else None
        self.without_body: list[str] = []
        """The allow rules that needed a body of which not all came."""

    def denial(self, rule: Rule) -> Expected | None:
        """What a deny rule says, if it says anything."""
        if not self._exists(rule.text) or not self._from(rule):
            return None
        for captures in self._operations(rule, deny=True):
            try:
                if self._holds(rule, captures):
                    return Expected("denied_by_rule", rule.id)
            except Incomplete:
                return Expected("body_incomplete", rule.id)
            except Unknown:
                return Expected("deny_rule_error", rule.id)
        return None

    def allows(self, rule: Rule) -> bool:
        """Whether an allow rule allows, but for what it requires."""
        if not self._exists(rule.text) or not self._from(rule):
            return False
        for captures in self._operations(rule, deny=False):
            try:
                if self._holds(rule, captures):
                    return True
            except Unknown as fault:
                self.without_body += [rule.id] if isinstance(fault, Incomplete) else []
        return False

    def permits(self, rule: Rule) -> bool:
        """Whether an allow rule allows."""
        required = rule.text.get("requires", {})
        return rule.text["effect"] == "allow" and self.allows(rule) and not self.lacks_strength(required)

    def lacks_only_a_user(self, rule: Rule) -> bool:
        """Whether an allow rule would fit this caller with some user; conditions are not asked."""
        items = rule.text.get("from", "anyone")
        if rule.text["effect"] == "deny" or items == "anyone" or not self._exists(rule.text):
            return False
        fits = any(
            self._wants_user(rule.folders, item) and self._item(rule.folders, item, deny=False, ignore_users=True)
            for item in items
        )
        return fits and any(True for _ in self._operations(rule, deny=False))

    def lacks_strength(self, requires: Item) -> bool:
        """Whether the user's authentication is weaker than this."""
        if not requires:
            return False
        user = self.asked.user
        if user is None or requires.get("bound_token"):
            return True
        acr, amr = user.get("acr"), user.get("amr", [])
        return ("acr" in requires and acr not in requires["acr"]) or not set(requires.get("amr", [])) <= set(amr)

    def _holds(self, rule: Rule, captures: Mapping[str, str]) -> bool:
        when = rule.text.get("when")
        return when is None or self._conditions[when](self.asked, captures)

    def _exists(self, rule: Item) -> bool:
        moment = datetime.fromtimestamp(self.asked.now, UTC)
        valid = rule.get("valid", {})
        if "from" in valid and moment < datetime.fromisoformat(valid["from"]):
            return False
        if "until" in valid and moment >= datetime.fromisoformat(valid["until"]):
            return False
        return "schedule" not in rule or _is_scheduled(rule["schedule"], moment)

    def _from(self, rule: Rule) -> bool:
        deny = rule.text["effect"] == "deny"
        items = rule.text.get("from", "anyone")
        return items == "anyone" or any(self._item(rule.folders, item, deny=deny) for item in items)

    def _item(self, folders: tuple[str, ...], item: Item, *, deny: bool, ignore_users: bool = False) -> bool:
        """Whether an item fits the caller: all its keys."""
        workload, user = self.asked.workload, self.asked.user
        fits = []
        if "workloads" in item:
            fits.append(workload is not None and any(spiffe_fits(pattern, workload) for pattern in item["workloads"]))
        if "users" in item and not ignore_users:
            fits.append(user is not None and (item["users"] == "any" or user_fits(item["users"], user)))
        if "networks" in item:
            networks = [ip_network(text) for text in item["networks"]]
            fits.append(any(self._address in net for net in networks) if self._address is not None else deny)
        if "anonymous" in item:
            fits.append(workload is None and user is None)
        if "roles" in item:
            fits.append(
                any(
                    self._item(above, each, deny=deny, ignore_users=ignore_users)
                    for role in item["roles"]
                    for above, each in self._role(folders, role)
                )
            )
        return all(fits)

    def _wants_user(self, folders: tuple[str, ...], item: Item) -> bool:
        roles = [each for role in item.get("roles", []) for each in self._role(folders, role)]
        return "users" in item or any(self._wants_user(above, each) for above, each in roles)

    def _role(self, folders: tuple[str, ...], name: str) -> list[tuple[tuple[str, ...], Item]]:
        """The items of a role that is known in a folder, each with the folder that it stands in."""
        return [
            (above, item)
            for file, document in self._documents.items()
            if document["kind"] == "roles" and folders[: len(above := folders_of(file))] == above
            for item in document["roles"].get(name, [])
        ]

    def _operations(self, rule: Rule, *, deny: bool) -> Iterator[Mapping[str, str]]:
        """The captures of each way in which the operation fits the rule."""
        for item in rule.text.get("to", [{}]):
            if self._operation(item, deny=deny):
                yield from self._captures(item, deny=deny)

    def _operation(self, item: Item, *, deny: bool) -> bool:
        asked = self.asked
        connect = asked.method == "CONNECT"
        if item.get("connect") and not connect:
            return False
        if "upgrade" in item and self._upgrade != item["upgrade"]:
            return False
        if not deny and ((connect and not item.get("connect")) or (self._upgrade and "upgrade" not in item)):
            return False
        ports = item.get("ports")
        return (
            ("methods" not in item or asked.method in item["methods"])
            and ("hosts" not in item or any(host_fits(pattern, asked.host) for pattern in item["hosts"]))
            and (ports is None or (deny if asked.port is None else asked.port in ports))
            and ("grpc" not in item or self._grpc(item["grpc"], deny=deny))
        )

    def _grpc(self, grpc: Item, *, deny: bool) -> bool:
        methods = grpc.get("methods", ["{method}"])
        templates = [f"/{grpc['service']}/{method}" for method in methods]
        if deny:
            return any(fits_folded(template, self._path) for template in templates)
        spoken = self.asked.headers.get("content-type", "").lower().startswith("application/grpc")
        plain = spoken and re.fullmatch(r"/[^/?%;\\]+/[^/?%;\\]+", self.asked.target)
        return bool(plain) and any(fits_exactly(template, self._path) is not None for template in templates)

    def _captures(self, item: Item, *, deny: bool) -> Iterator[Mapping[str, str]]:
        if "paths" not in item:
            yield {}
        for template in item.get("paths", []):
            if deny:
                yield from fits_folded(template, self._path)
            elif (captures := fits_exactly(template, self._path)) is not None:
                yield captures


def _is_scheduled(schedule: Item, moment: datetime) -> bool:
    """Schedules of the zone UTC alone: hours that cross midnight belong to the day on which they begin."""
    begin, end = schedule.get("hours", "00:00-24:00").split("-")
    time = f"{moment:%H:%M}"
    day = moment
    if begin < end:
        within = begin <= time < end
    else:
        within = time >= begin or time < end
        day -= timedelta(days=time < end)
    return within and DAYS[day.weekday()] in schedule.get("days", DAYS)
