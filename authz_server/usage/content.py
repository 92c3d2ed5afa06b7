"""What makes a rule the same rule to whoever counts its uses."""

from hashlib import sha256

import msgspec

from authz_server.policy.plan import Plan, Rule, Service

SIZE = 16
"""Bytes."""


def contents_of(plan: Plan) -> dict[str, tuple[Rule, bytes]]:
    """All rules by full id, each with a hash of what decides when it fits.

    What a rule answers, is described by or named does not matter: its history stays with such an edit.
    """
    found: dict[str, tuple[Rule, bytes]] = {}
    for service in plan.services:
        for rule in service.rules:
            if rule.id not in found:
                found[rule.id] = rule, _content(rule, service)
    return found


def _content(rule: Rule, service: Service) -> bytes:
    condition = None if rule.condition is None else rule.condition.source
    fits = (rule.effect, rule.callers, rule.operations, condition, rule.times, rule.requires, rule.audit)
    # A guardrail is the same for every service of its folder.
    place = None if rule.guardrail else (service.hosts, service.path_prefix)
    return sha256(msgspec.msgpack.encode((fits, place))).digest()[:SIZE]
