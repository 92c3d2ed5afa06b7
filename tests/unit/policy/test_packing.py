"""A plan on its way to a worker."""

from pathlib import Path

import msgspec
import pytest

from authz_server.policy.packing import RULES_OF_A_PART, PackedPlan, pack, unpack
from tests.builders import plan_of

SERVICE = """
    kind: service
    name: {name}
    hosts: [{name}.shop.example]
    rules:
{rules}
"""
RULE = "      - {{id: r{number:04}, effect: allow, from: anyone, to: [{{paths: [/{number}]}}], when: has_user}}\n"


@pytest.mark.parametrize("rules", [1, RULES_OF_A_PART, RULES_OF_A_PART + 1, 3 * RULES_OF_A_PART])
def test_a_plan_arrives_as_it_was_sent(rules: int, tmp_path: Path) -> None:
    """Rules in their order, however many parts they are sent in."""
    text = "".join(RULE.format(number=number) for number in range(rules))
    plan = plan_of(
        tmp_path, orders=SERVICE.format(name="orders", rules=text), carts=SERVICE.format(name="carts", rules=text)
    )
    plan = msgspec.structs.replace(plan, number=7)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(pack(plan)), type=PackedPlan)
    assert unpack(sent) == plan
    assert max(len(msgspec.msgpack.decode(part)) for service in sent.services for part in service.rules) <= 64
