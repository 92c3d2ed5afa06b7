"""What is measured, as data."""

import msgspec
from msgspec import Struct

from benchmarks.policies import path


class Policies(Struct, frozen=True):
    """A set of rules; each set has a server of its own."""

    rules: int
    conditions: bool = False
    earlier: bool = False
    """Decided by the revision that is compared with."""


class Workload(Struct, frozen=True):
    """One request, asked again and again."""

    name: str
    policies: Policies | None
    """None is the constant answer."""
    path: str
    in_flight: int
    baseline: str = ""
    """The workload that this one is a multiple of; empty for none."""
    allowed: bool = True


CALLS = {32: 20_000, 1: 5_000}
"""Calls of one round, by how many are in flight."""
QUICK_CALLS = {32: 4_000, 1: 1_000}
ROUNDS = 7
QUICK_ROUNDS = 3

RULES_100 = Policies(100)
RULES_1000 = Policies(1_000)
RULES_10000 = Policies(10_000)
CONDITIONS_100 = Policies(100, conditions=True)

CONSTANT = "constant answer"
CONSTANT_ALONE = "constant answer, one in flight"
OURS = "100 rules"
OURS_1000 = "1,000 rules"
OURS_10000 = "10,000 rules"

CALLER = 99
"""The number of the rule that is asked for, modulo the number of callers: the last rule of each set has one caller."""


def _last(rules: int) -> str:
    return path(rules - 1, "c7-4711")


WORKLOADS = (
    Workload(CONSTANT, None, _last(100), 32),
    Workload(OURS, RULES_100, _last(100), 32, CONSTANT),
    Workload(OURS_10000, RULES_10000, _last(10_000), 32, OURS),
    Workload(OURS_1000, RULES_1000, _last(1_000), 32, CONSTANT),
    Workload("100 rules, each with a condition", CONDITIONS_100, _last(100), 32, CONSTANT),
    Workload("100 rules, denied", RULES_100, _last(1), 32, CONSTANT, allowed=False),
    Workload(CONSTANT_ALONE, None, _last(100), 1),
    Workload("100 rules, one in flight", RULES_100, _last(100), 1, CONSTANT_ALONE),
)


def compared(revision: str) -> tuple[Workload, ...]:
    """What is measured when another revision is compared with: each of these requests there, and then here."""
    pairs = []
    for workload in WORKLOADS:
        if workload.baseline == CONSTANT and workload.policies is not None:
            there = msgspec.structs.replace(
                workload,
                name=f"{workload.name}, at {revision}",
                policies=msgspec.structs.replace(workload.policies, earlier=True),
                baseline="",
            )
            pairs += [there, msgspec.structs.replace(workload, baseline=there.name)]
    return tuple(pairs)
