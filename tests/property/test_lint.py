"""What the linter finds of rules that do nothing, held against what would be decided without them."""

from copy import deepcopy

import pytest

from authz_server.analysis.difference import compare
from authz_server.analysis.overlaps import Overlaps
from authz_server.policy.plan import Plan, Rule, Service
from tests.property.test_difference import plan_of
from tests.reference.pairs import Pair
from tests.reference.worlds import NOW, Document


def _idle(plan: Plan) -> list[Rule]:
    overlaps = Overlaps(plan)
    return [rule for service in plan.services for rule in service.rules if _is_idle(overlaps, service, rule)]


def _is_idle(overlaps: Overlaps, service: Service, rule: Rule) -> bool:
    if rule.effect != "allow":
        return False
    return bool(overlaps.shadowing(service, rule) or overlaps.covering(service, rule))


@pytest.mark.parametrize("seeds", [range(first, first + 20) for first in range(0, 60, 20)], ids=str)
def test_without_a_rule_that_others_cover_the_same_is_allowed(seeds: range) -> None:
    """One rule is left out at a time: what was allowed or denied still is."""
    found = 0
    for seed in seeds:
        documents: dict[str, Document] = Pair(seed).old
        plan = plan_of(documents)
        for rule in _idle(plan):
            without = deepcopy(documents)
            rules = without["s.yaml"]["rules"]
            without["s.yaml"]["rules"] = [each for each in rules if f"s/{each['id']}" != rule.id]
            flips = compare(plan, plan_of(without), NOW, timeout_s=600).flips
            assert [flip for flip in flips if flip.old.allowed != flip.new.allowed] == [], (seed, rule.id)
            found += 1
    assert found > 0
