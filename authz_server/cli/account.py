"""Why a decision is as it is, in words and for machines: the phases, the rules, and what would make it allow."""

from collections.abc import Sequence

from msgspec import Struct

from authz_server.cli.phases import ADVICE, Fields, Phase, phases_of
from authz_server.errors import Reason
from authz_server.policy.explain import Explained, NearRule, ReadingOutcome, RuleOutcome

NEAREST = 3
"""So many of the rules that lack least are told with everything that they lack."""
_BY_RULES = (Reason.NO_RULE_ALLOWS, Reason.UNAUTHENTICATED, Reason.STEP_UP_REQUIRED, Reason.BODY_INCOMPLETE)
_OF_RULE = {
    "upgrade": "the rule names it (`upgrade`, `connect`)",
    "paths": "ask for such a path, or the rule names this one (`paths`)",
    "grpc": "call such a method, or the rule names this one (`grpc`)",
    "methods": "use such a method, or the rule names this one (`methods`)",
    "hosts": "ask such a host, or the rule names this one (`hosts`)",
    "ports": "come in at such a port, or the rule names this one (`ports`)",
    "workloads": "call as such a workload, or the rule names this one (`workloads`)",
    "users": "send a user's token",
    "issuer": "send a token of that issuer",
    "subjects": "be such a user, or the rule names this one (`subjects`)",
    "scopes": "have the issuer grant the scope, or the rule does not ask for it (`scopes`)",
    "roles": "give the user such a role, or the rule names theirs (`roles`)",
    "groups": "put the user into such a group, or the rule names theirs (`groups`)",
    "claims": "send a token with such a claim, or the rule takes this value (`claims`)",
    "actors": "let such a party act, or the rule names this one (`actors`)",
    "networks": "call from such a network, or the rule names this one (`networks`)",
    "anonymous": "call without an identity, or the rule takes callers with one",
    "valid": "ask at another time, or change `schedule` or `valid`",
    "when": "send what the condition wants, or change it (`when`)",
    "answer": "send what the answer is made of, or change it (`answer`)",
    "requires": "have the user authenticate more strongly (`requires`)",
}
"""For each demand of a rule: what the caller can change, and what the rule."""


class Account(Struct, frozen=True):
    """Why a decision is as it is."""

    phases: list[Phase]
    rules: list[RuleOutcome]
    readings: list[ReadingOutcome]
    nearest: list[NearRule]
    changes: list[str]
    """What would make it allow."""


def account_of(record: Fields, found: Explained) -> Account:
    """Put together what a record says, and what came of the rules."""
    reason = Reason(record["reason"])
    changes = [] if reason is Reason.ALLOWED else [_change(reason, record, found)]
    if reason in _BY_RULES:
        changes += [f"{near.rule}: {steps}" for near in found.nearest if (steps := _steps(near))]
    nearest = found.nearest if reason is not Reason.ALLOWED else []
    return Account(phases_of(record), found.rules, found.readings, nearest, changes)


def _change(reason: Reason, record: Fields, found: Explained) -> str:
    if reason not in (Reason.DENIED_BY_RULE, Reason.DENY_RULE_ERROR):
        return ADVICE[reason]
    allowing = [each.rule for each in found.rules if each.effect == "allow" and each.outcome == "fits"]
    then = f"then {allowing[0]} allows" if allowing else "and no allow rule fits: one has to as well"
    others = [
        each.rule
        for each in found.rules
        if each.effect == "deny" and each.outcome == "fits" and each.rule != record["rule"]
    ]
    more = f"; {', '.join(others[:3])} would deny it too" if others else ""
    return f"{record['rule']}: {ADVICE[reason]}{more}; {then}"


def _steps(near: NearRule) -> str:
    return "; ".join(dict.fromkeys(_OF_RULE[lack.demand] for lack in near.lacks if lack.known))


def in_words(account: Account) -> list[str]:
    """The account in lines."""
    lines = _titled("phases", [(each.name, f"{'!' if each.failed else ' '} {each.found}") for each in account.phases])
    lines += readings_in_words(account.readings)
    lines += _titled("rules", [(f"{each.effect:<5} {each.rule}", each.outcome) for each in account.rules])
    if account.nearest:
        lines += ["", "  nearest allow rules"]
        for near in account.nearest:
            lines.append(f"    {near.rule}  ({near.location})")
            lines += [f"      {lack.found}" for lack in near.lacks]
            lines += [] if near.condition is None else [f"      when: {_short(near.condition)}"]
    if account.changes:
        lines += ["", "  what would make it allow", *(f"    {change}" for change in account.changes)]
    return lines


def _titled(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return ["", f"  {title}", *(f"    {name:<{width}}  {text}" for name, text in rows)] if rows else []


def _short(source: str) -> str:
    line = " ".join(source.split())
    return line if len(line) <= 160 else f"{line[:159]}…"


def readings_in_words(outcomes: Sequence[ReadingOutcome]) -> list[str]:
    """What came of each reading of a path, in lines."""
    width = max((len(each.how) for each in outcomes), default=0)
    return _titled(
        "readings of the path",
        [
            (each.path, f"{each.how:<{width}}  {each.reason}{f': {each.rule}' if each.rule else ''}")
            for each in outcomes
        ],
    )
