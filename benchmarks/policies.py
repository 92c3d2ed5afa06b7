"""The policies: so many rules, each about a path of its own, spread over callers."""

from pathlib import Path

from benchmarks.identities import SCOPE, TRUST_DOMAIN

HOST = "orders.shop.example"
CALLERS = 20
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
      - workloads: ["spiffe://{trust_domain}/ns/team-{caller:02}/**"]
        users: {{issuer: corp, scopes: ["{scope}"]}}
    to:
      - methods: [GET]
        paths: ["{path}"]
"""
_CONDITION = """\
    when: path.id.startsWith(user.claims.customer + "-") && path.id != "{number:05}"
"""


def spiffe_id(number: int) -> str:
    """The workload that may do what the rule of this number allows."""
    return f"spiffe://{TRUST_DOMAIN}/ns/team-{number % CALLERS:02}/sa/web"


def path(number: int, name: str) -> str:
    """The path of one object of those that the rule of this number is about."""
    return f"/v{number // RULES_OF_A_SERVICE}/resource-{number:05}/{name}"


def write_policies(directory: Path, rules: int, *, conditions: bool) -> None:
    """So many rules; `conditions` gives each of them one of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for part, first in enumerate(range(0, rules, RULES_OF_A_SERVICE)):
        numbers = range(first, min(first + RULES_OF_A_SERVICE, rules))
        text = "".join(_rule(number, conditions) for number in numbers)
        (directory / f"orders-{part}.yaml").write_text(_SERVICE.format(part=part, host=HOST) + text)


def _rule(number: int, condition: bool) -> str:
    rule = _RULE.format(
        number=number,
        caller=number % CALLERS,
        path=path(number, "{id}"),
        scope=SCOPE,
        trust_domain=TRUST_DOMAIN,
    )
    return rule + _CONDITION.format(number=number) if condition else rule
