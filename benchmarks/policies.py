"""The policies: so many rules, each about a path of its own."""

from pathlib import Path

from msgspec import Struct

from benchmarks.identities import SCOPE, TRUST_DOMAIN

HOST = "orders.shop.example"
CALLERS = 20
CALLER = 19
"""The number of the one who asks, whom the last rule of each set is about."""
RULES_OF_A_SERVICE = 2_500
"""What fits into one file; more rules are several services of the host, each with a path prefix."""

_SERVICE = """\
kind: service
name: orders-{part}
hosts: [{host}]
path_prefix: /v{part}

rules:
"""
_RULE = """\
  - id: rule-{number:05}
    effect: allow
    from:
      - {who}
    to:
      - methods: [GET]
        paths: ["{path}"]
"""
_WORKLOADS = 'workloads: ["spiffe://{trust_domain}/ns/team-{caller:02}/**"]'
_USERS = 'users: {{issuer: corp, scopes: ["{scope}"]}}'
_AND = "\n        "
_CONDITION = """\
    when: path.id.startsWith(user.claims.customer + "-") && path.id != "{number:05}"
"""


class Policies(Struct, frozen=True):
    """A set of rules."""

    rules: int
    users: bool = False
    """Each asks for a user with a scope."""
    conditions: int = 0
    """So many different conditions, of which each rule has one; it takes users. 0 for none."""
    callers: int = CALLERS
    """The workloads over which they are spread. 1: all are about the one who asks; 0: they ask for users alone."""


def spiffe_id(caller: int = CALLER) -> str:
    """The workload of this number."""
    return f"spiffe://{TRUST_DOMAIN}/ns/team-{caller:02}/sa/web"


def path(number: int, name: str) -> str:
    """The path of one object of those that the rule of this number is about."""
    return f"/v{number // RULES_OF_A_SERVICE}/resource-{number:05}/{name}"


def write_policies(directory: Path, policies: Policies) -> None:
    """Write the files."""
    directory.mkdir(parents=True, exist_ok=True)
    for part, first in enumerate(range(0, policies.rules, RULES_OF_A_SERVICE)):
        numbers = range(first, min(first + RULES_OF_A_SERVICE, policies.rules))
        text = "".join(_rule(number, policies) for number in numbers)
        (directory / f"orders-{part}.yaml").write_text(_SERVICE.format(part=part, host=HOST) + text)


def _rule(number: int, policies: Policies) -> str:
    who = []
    if policies.callers:
        # Of several callers the last one asks, as the last rule is about him.
        caller = CALLER - (policies.rules - 1 - number) % policies.callers
        who.append(_WORKLOADS.format(trust_domain=TRUST_DOMAIN, caller=caller))
    if policies.users:
        who.append(_USERS.format(scope=SCOPE))
    rule = _RULE.format(number=number, path=path(number, "{id}"), who=_AND.join(who))
    return rule + _CONDITION.format(number=number % policies.conditions) if policies.conditions else rule
