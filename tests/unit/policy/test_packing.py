"""A plan on its way to a worker."""

from pathlib import Path

import msgspec
import pytest

from authz_server.policy.packing import RULES_OF_A_PART, PackedPlan, pack, unpack
from authz_server.policy.plan import Service
from tests.builders import plan_of

SERVICE = """
    kind: service
    name: {name}
    hosts: [{name}.shop.example]
    rules:
{rules}
"""
RULE = "      - {{id: r{number:04}, effect: allow, from: anyone, to: [{{paths: [/{number}]}}], when: has_user}}\n"


def bare(service: Service) -> Service:
    """Without what workers do not need."""
    rules = [msgspec.structs.replace(rule, location="", description="") for rule in service.rules]
    return msgspec.structs.replace(service, rules=tuple(rules))


@pytest.mark.parametrize("rules", [1, RULES_OF_A_PART, RULES_OF_A_PART + 1, 3 * RULES_OF_A_PART])
def test_a_plan_arrives_as_it_was_sent(rules: int, tmp_path: Path) -> None:
    """Rules in their order, however many parts they are sent in, without what only people read."""
    text = "".join(RULE.format(number=number) for number in range(rules))
    plan = plan_of(
        tmp_path, orders=SERVICE.format(name="orders", rules=text), carts=SERVICE.format(name="carts", rules=text)
    )
    plan = msgspec.structs.replace(plan, number=7)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(pack(plan)), type=PackedPlan)
    assert (sent.revision, sent.number) == (plan.revision, 7)
    assert all(service.rules[0].location for service in plan.services)
    assert tuple(map(unpack, sent.services)) == tuple(map(bare, plan.services))
    assert max(len(msgspec.msgpack.decode(part)) for service in sent.services for part in service.rules) <= 64


def test_a_digest_is_that_of_everything_about_a_service(tmp_path: Path) -> None:
    """Whatever is changed gives another, and the same gives the same."""
    text = "".join(RULE.format(number=number) for number in range(RULES_OF_A_PART + 1))
    plan = plan_of(tmp_path, orders=SERVICE.format(name="orders", rules=text))
    [service] = plan.services
    changes = {
        "name": "other",
        "hosts": ("other.shop.example",),
        "path_prefix": "/a",
        "rules": service.rules[:-1],
        "audit": True,
        "set_headers": ("x-user",),
    }
    last = msgspec.structs.replace(service.rules[-1], effect="deny")
    others = [{name: value} for name, value in changes.items()] + [{"rules": (*service.rules[:-1], last)}]
    services = [service, *(msgspec.structs.replace(service, **change) for change in others)]
    digests = [one.digest for one in pack(msgspec.structs.replace(plan, services=tuple(services))).services]
    assert len(set(digests)) == len(services)
    moved = [msgspec.structs.replace(rule, location="elsewhere:1:1", description="x") for rule in service.rules]
    same = msgspec.structs.replace(service, rules=tuple(moved))
    again = pack(msgspec.structs.replace(plan, revision="other", services=(same,)))
    assert again.services[0].digest == digests[0], "what changes no decision"
