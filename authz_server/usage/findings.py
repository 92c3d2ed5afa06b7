"""What nobody has used of policies, and what was used of wide grants, as far as that can be told."""

from authz_server.policy.plan import Plan, Rule
from authz_server.usage.content import contents_of
from authz_server.usage.counted import Counted
from authz_server.usage.found import DAY_S, Findings, Unused, Young
from authz_server.usage.parts import called, parts, unknown
from authz_server.usage.state import State


def findings_of(state: State, plan: Plan, now: float, days: float) -> Findings:
    """What these policies have that was not used in so many days before `now`."""
    # Parts of rules that were used are looked at there.
    cutoff = now - days * DAY_S
    contents = contents_of(plan)
    found = Findings(state.began, now, cutoff, state.decisions, len(contents), [], [], [], [], [])
    for name, (rule, content) in contents.items():
        counted = state.rules.get(name)
        if counted is None or counted.content != content:
            found.young.append(Young(name, rule.location, None))
            continue
        if counted.since > cutoff:
            found.young.append(Young(name, rule.location, counted.since))
            continue
        if counted.seen.last < cutoff:
            found.unused.append(_unused_rule(rule, counted))
            continue
        if rule.effect == "deny" or rule.audit:
            continue
        found.unknown.extend(unknown(rule, counted, cutoff))
        wide_before = len(found.wide)
        for part in parts(rule, counted, cutoff):
            if isinstance(part, Unused):
                found.unused.append(part)
            else:
                found.wide.append(part)
        if len(found.wide) > wide_before:
            found.called.extend(called(rule, counted, cutoff))
    return found


def _unused_rule(rule: Rule, counted: Counted) -> Unused:
    ever = counted.seen.count > 0
    # It may have been used when it was in force before.
    since = max(counted.seen.last, counted.since) if ever else counted.since
    timed = rule.times is not None
    return Unused(
        rule.id,
        rule.location,
        rule.effect,
        (),
        "the rule",
        since,
        ever and since == counted.seen.last,
        timed,
        rule.audit,
    )
