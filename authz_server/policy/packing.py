"""A plan in small parts, for the way to a worker: to decode a large one at once would make requests wait."""

from collections.abc import Callable
from hashlib import sha256

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

    digest: bytes
    """SHA-256 of all that follows: services with the same digest are the same."""
    service: memoryview
    rules: tuple[memoryview, ...]


class PackedPlan(Struct, frozen=True):
    """A plan as it is sent."""

    revision: str
    services: tuple[PackedService, ...]
    number: int | None = None


def pack(plan: Plan) -> PackedPlan:
    """Take a plan apart, and leave out what rules say to people alone: it changes nothing that is decided."""
    return PackedPlan(plan.revision, tuple(_packed(service) for service in plan.services), plan.number)


def unpack(packed: PackedService, step: Callable[[], None] = nothing) -> Service:
    """Put a service together again, a part at a time; `step` is called after each. Raises msgspec.MsgspecError."""
    rules: list[Rule] = []
    for part in packed.rules:
        rules += _rules.decode(part)
        step()
    return msgspec.structs.replace(_service.decode(packed.service), rules=tuple(rules))


def _packed(service: Service) -> PackedService:
    rules = tuple([msgspec.structs.replace(rule, location="", description="") for rule in service.rules])
    parts = [_encode(rules[start : start + RULES_OF_A_PART]) for start in range(0, len(rules), RULES_OF_A_PART)]
    head = _encode(msgspec.structs.replace(service, rules=()))
    # Each is one MessagePack object, so it is clear where it ends.
    digest = sha256(head)
    for part in parts:
        digest.update(part)
    return PackedService(digest.digest(), head, tuple(parts))


def _encode(part: Service | tuple[Rule, ...]) -> memoryview:
    return memoryview(_encoder.encode(part))
