"""What else a decision may depend on: times, headers, claims and the rest of what conditions read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from authz_server.analysis.attributes import Asked, Attribute, another
from authz_server.analysis.callers import Named
from authz_server.analysis.judge import Circumstances, Who
from authz_server.policy.plan import RequiresItem, TimesItem, UserItem
from authz_server.policy.times import Times

_MISSING = object()
_INCOMPLETE = object()
_HOURS = 24
_WEEK = timedelta(days=7)
SOMEWHERE = "203.0.113.7/32"
BOUND = ("user", ("bound",))
"""Not an attribute of conditions: `requires` alone asks for it."""

_OF_USERS = {"subject": "subjects", "scopes": "scopes", "roles": "roles", "groups": "groups", "actor": "actors"}
_OF_MAPS = frozenset({"request.headers", "request.header_values", "request.query", "user.claims", "metadata", "body"})
_FROM_ELSEWHERE = frozenset(
    {"user", "workload", "client", "path", "has_user", "has_workload", "has_body", "now", "workload.within"}
    | {"client.within"}
)
_OF_ACTIONS = frozenset({"method", "host", "path", "is_grpc"})


def explored(asked: Asked) -> bool:
    """Whether the values that are tried are one of each kind that an expression tells apart."""
    return asked.exact and all(_is_explored(attribute) for attribute in asked.values)


def _is_explored(attribute: Attribute) -> bool:
    variable, keys = attribute
    if variable == "request":
        return keys[0] in _OF_ACTIONS
    if variable == "user":
        return keys[0] in ("issuer", *_OF_USERS)
    if variable == "workload":
        return keys[0] == "id"
    if variable == "metadata" and len(keys) < 2:
        return False
    return variable in _OF_MAPS or variable in _FROM_ELSEWHERE - {"now"}


def name_callers(asked: Asked, named: Named) -> None:
    """Take note of the callers that a condition tells apart."""
    for read in asked.reads:
        if read.startswith("workload.within["):
            named.workloads.append(read[len("workload.within[") : -1])
        elif read.startswith("client.within["):
            named.networks.append(read[len("client.within[") : -1])
        elif read.partition(".")[0] in ("user", "has_user"):
            named.users.append(UserItem())
        elif read.partition(".")[0] == "client":
            named.networks.append(SOMEWHERE)
    for (variable, keys), values in asked.values.items():
        texts = [one for value in values for one in (value if isinstance(value, list) else [value]) if _is_text(one)]
        if variable == "user" and keys[0] == "issuer":
            named.users += [UserItem(issuer=text) for text in texts]
        elif variable == "user" and keys[0] in _OF_USERS:
            named.users += [replace(UserItem(), **{_OF_USERS[keys[0]]: (text,)}) for text in texts]
        elif variable == "workload" and keys[0] == "id":
            named.workloads += [text for text in texts if text.startswith("spiffe://") and "*" not in text]
        elif variable == "client":
            named.networks += [text for text in texts if _is_address(text)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_address(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef.:" for character in text)


class Dimensions(Struct):
    """The attributes that matter for some rules, each with the values to try."""

    values: dict[Attribute, list[Any]]
    moments: list[float]

    def __len__(self) -> int:
        number = len(self.moments)
        for values in self.values.values():
            number *= len(values)
        return number

    def combinations(self, who: Who, most: int) -> Iterator[tuple[Who, Circumstances]]:
        """Every combination, the usual first; at most this many."""
        for now, *chosen in islice(product(self.moments, *self.values.values()), most):
            yield _made(who, now, dict(zip(self.values, chosen, strict=True)))


def dimensions(
    asked: Iterable[Asked], requires: Iterable[RequiresItem], times: Iterable[TimesItem], now: float
) -> Dimensions:
    """What to try for rules that ask this. `now` is in seconds since the epoch."""
    values: dict[Attribute, list[Any]] = {}
    reads_now = False
    for one in asked:
        reads_now = reads_now or "now" in one.reads
        if "has_body" in one.reads or any(read.startswith("body") for read in one.reads):
            values.setdefault(("body", ()), [_MISSING, {}, _INCOMPLETE])
        for attribute, known in one.values.items():
            if attribute[0] in _OF_MAPS:
                _add(values, attribute, [*known, *([True] if attribute[0] in ("body",) else [])])
    for required in requires:
        _require(values, required, now)
    for attribute, tried in values.items():
        if attribute not in (BOUND, ("body", ())):
            # Second, because examples are the first that are found: something, but nothing in particular.
            tried.insert(1, another(tried))
    moments = _moments(list(times), now)
    if reads_now:
        moments += [now + 3600 * hour for hour in range(_HOURS)]
        moments += [one for each in values.get(("now", ()), []) if isinstance(one := each, float)]
    return Dimensions(values, list(dict.fromkeys(moments)))


def _add(values: dict[Attribute, list[Any]], attribute: Attribute, known: Iterable[Any]) -> None:
    tried = values.setdefault(attribute, [_MISSING])
    tried += [value for value in known if not any(type(value) is type(one) and value == one for one in tried)]


def _require(values: dict[Attribute, list[Any]], required: RequiresItem, now: float) -> None:
    if required.acr:
        _add(values, ("user.claims", ("acr",)), required.acr)
    if required.amr:
        _add(values, ("user.claims", ("amr",)), [list(required.amr)])
    if required.max_auth_age_s is not None:
        _add(values, ("user.claims", ("auth_time",)), [now, now - required.max_auth_age_s])
    if required.bound_token:
        values[BOUND] = [False, True]


def _moments(times: Sequence[TimesItem], now: float) -> list[float]:
    """One moment of each kind that the times tell apart, now first."""
    anchors = [now]
    for item in times:
        anchors += [moment for edge in (item.begins, item.ends) if edge is not None for moment in (edge, edge - 1)]
    candidates = list(anchors)
    for item in times:
        if item.schedule is not None:
            candidates += [edge for anchor in anchors for edge in _edges(item, anchor)]
    included = [Times(item) for item in times]
    kinds: dict[tuple[bool, ...], float] = {}
    for moment in candidates:
        kinds.setdefault(tuple(one.include(moment) for one in included), moment)
    return list(kinds.values())


def _edges(item: TimesItem, anchor: float) -> Iterator[float]:
    """The moments at which a schedule changes in the weeks around a moment."""
    schedule = item.schedule
    if schedule is None:
        return
    midnight = datetime.fromtimestamp(anchor, ZoneInfo(schedule.zone)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    for days in range(-7, 9):
        day = midnight + timedelta(days=days)
        for minute in (schedule.begin, schedule.end):
            yield (day + timedelta(minutes=minute)).timestamp()


def _made(who: Who, now: float, chosen: Mapping[Attribute, Any]) -> tuple[Who, Circumstances]:
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    metadata: dict[str, dict[str, Any]] = {}
    body: Any = None
    body_came = True
    claims = None if who.user is None else dict(who.user.claims)
    bound = False
    for attribute, value in chosen.items():
        variable, keys = attribute
        if attribute == ("body", ()):
            body, body_came = (None, value is _MISSING) if value in (_MISSING, _INCOMPLETE) else (dict(value), True)
        elif attribute == BOUND:
            bound = bool(value)
        elif value is _MISSING:
            continue
        elif variable in ("request.headers", "request.header_values"):
            headers[keys[0]] = _text(value)
        elif variable == "request.query":
            query[keys[0]] = _text(value)
        elif variable == "user.claims" and claims is not None:
            _put(claims, keys, value)
        elif variable == "metadata" and len(keys) > 1:
            _put(metadata.setdefault(keys[0], {}), keys[1:], value)
        elif variable == "body" and isinstance(body, dict):
            _put(body, keys, value)
    if who.user is not None:
        who = replace(who, user=replace(who.user, claims=claims or {}, bound=bound))
    return who, Circumstances(now, headers, query, body, body_came, metadata)


def _text(value: object) -> str:
    return _text(value[0]) if isinstance(value, list) and value else str(value)


def _put(target: dict[str, Any], keys: Sequence[str], value: object) -> None:
    for key in keys[:-1]:
        inner = target.get(key)
        target[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        target = inner
    target[keys[-1]] = value
