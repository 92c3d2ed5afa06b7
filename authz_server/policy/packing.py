"""A plan in small parts, for the way to a worker: to decode a large one at once would make requests wait."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from authz_server.policy.collection import nothing
from authz_server.policy.plan import Plan, Rule, Service

RULES_OF_A_PART = 64
"""Decoding them takes less than a millisecond."""

_encoder = msgspec.msgpack.Encoder()
_service: msgspec.msgpack.Decoder[Service] = msgspec.msgpack.Decoder(Service)
_rules: msgspec.msgpack.Decoder[tuple[Rule, ...]] = msgspec.msgpack.Decoder(tuple[Rule, ...])


class PackedService(Struct, frozen=True):
    """A service without its rules, and its rules in parts: MessagePack each, and views of the message they came in."""

    service: memoryview
    rules: tuple[memoryview, ...]


class PackedPlan(Struct, frozen=True):
    """A plan as it is sent."""

    revision: str
    services: tuple[PackedService, ...]
    number: int | None = None


def pack(plan: Plan) -> PackedPlan:
    """Take a plan apart."""
    return PackedPlan(plan.revision, tuple(_packed(service) for service in plan.services), plan.number)


def unpack(packed: PackedPlan, step: Callable[[], None] = nothing) -> Plan:
    """Put it together again, a part at a time; `step` is called after each. Raises msgspec.MsgspecError."""
    return Plan(packed.revision, tuple([_unpacked(service, step) for service in packed.services]), packed.number)


def _packed(service: Service) -> PackedService:
    rules = service.rules
    parts = [rules[start : start + RULES_OF_A_PART] for start in range(0, len(rules), RULES_OF_A_PART)]
    return PackedService(_encode(msgspec.structs.replace(service, rules=())), tuple(map(_encode, parts)))


def _encode(part: Service | tuple[Rule, ...]) -> memoryview:
    return memoryview(_encoder.encode(part))


def _unpacked(packed: PackedService, step: Callable[[], None]) -> Service:
    rules: list[Rule] = []
    for part in packed.rules:
        rules += _rules.decode(part)
        step()
    return msgspec.structs.replace(_service.decode(packed.service), rules=tuple(rules))
