"""Decisions do not depend on the order of rules, and the index finds exactly what asking every rule would find."""

from itertools import product
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.errors import Reason
from authz_server.model import Path, SpiffeId, User, Workload
from authz_server.policy.callers import Caller, caller_match
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.folding import folded_readings
from authz_server.policy.index import PolicyIndex
from authz_server.policy.operations import operation_match
from authz_server.policy.patterns import parse_path_template
from authz_server.policy.plan import AnswerItem, CallerItem, Effect, OperationItem, Plan, Rule, Service, UserItem
from authz_server.request.operation import Operation, canonical_operation
from tests.builders import request

PATHS = ["/a", "/a/", "/a/b", "/a/{x}", "/a/{x:int}", "/{x}/b", "/a/**", "/**", "/{x}.txt", "/A", "/a/{rest...}"]
TARGETS = ["/", "/a", "/a/", "/A", "/a/b", "/a/7", "/a/7/", "/c/b", "/a/b/c", "/x.txt", "/x.TXT.", "/a%20", "/a/..."]
WORKLOADS = ["spiffe://td/ns/a/sa/x", "spiffe://td/ns/a/sa/y", "spiffe://td/ns/b/sa/x", "spiffe://td/ns/a"]
PATTERNS = [*WORKLOADS, "spiffe://td/ns/*/sa/x", "spiffe://td/ns/a/**", "spiffe://td/**", "spiffe://other/**"]

users = st.builds(UserItem, issuer=st.sampled_from([None, "corp", "other"])) | st.one_of(
    st.builds(UserItem, subjects=st.sampled_from([("ann",), ("ann", "bob")])),
    st.builds(UserItem, scopes=st.sampled_from([("r",), ("w",), ("r", "w")])),
    st.builds(UserItem, roles=st.sampled_from([("support",), ("admin", "support")])),
    st.builds(UserItem, groups=st.sampled_from([("g1",), ("g1", "g2")]), issuer=st.sampled_from([None, "corp"])),
)
# One thing at a time fits often enough to be decided by; several at once come from roles.
simple_callers = st.one_of(
    st.builds(CallerItem, workloads=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2).map(tuple)),
    st.builds(CallerItem, users=users),
    st.builds(CallerItem, networks=st.sampled_from([("10.0.0.0/8",), ("2001:db8::/32",)])),
    st.just(CallerItem(anonymous=True)),
)
callers = simple_callers | st.builds(
    lambda item, roles: msgspec.structs.replace(item, any_of=tuple(roles)),
    simple_callers,
    st.lists(simple_callers, min_size=1, max_size=2),
)
operations = st.builds(
    OperationItem,
    methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=1).map(tuple),
    paths=st.lists(st.sampled_from(PATHS), max_size=3, unique=True).map(tuple),
    ports=st.sampled_from([(), (), (), (80,), (443,)]),
    upgrade=st.sampled_from([None, None, None, "websocket"]),
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service with a few rules about a few callers and paths."""
    rules = [
        Rule(
            id=f"s/r{number}",
            effect=draw(st.sampled_from(["allow", "allow", "deny"])),
            callers=draw(st.none() | st.lists(callers, min_size=1, max_size=2).map(tuple)),
            operations=draw(st.none() | st.lists(operations, min_size=1, max_size=2).map(tuple)),
            condition=None,
            answer=AnswerItem(),
            location="",
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    return Service("s", ("*",), "/", tuple(rules), (), ())


workloads = st.none() | st.sampled_from(WORKLOADS).map(
    lambda text: Workload(SpiffeId(text, "td", tuple(text.split("/")[3:])), None)
)
EVERYTHING = User("corp", "ann", frozenset(["r", "w"]), frozenset(["support", "admin"]), frozenset(["g1", "g2"]))
people = st.sampled_from([None, EVERYTHING]) | st.builds(
    User,
    issuer=st.sampled_from(["corp", "other"]),
    subject=st.sampled_from(["ann", "bob", "cy"]),
    scopes=st.frozensets(st.sampled_from(["r", "w"])),
    roles=st.frozensets(st.sampled_from(["support", "admin"])),
    groups=st.frozensets(st.sampled_from(["g1", "g2"])),
)
addresses = st.sampled_from(["", "10.1.1.1", "192.0.2.1", "2001:db8::1"])


def all_operations(address: str) -> list[Operation]:
    """Every method with every target, with and without an upgrade, from one address."""
    return [
        canonical_operation(request(method, target, client_address=address, destination_port=port, headers=headers))
        for target in TARGETS
        for method, port, headers in [
            ("GET", 443, {}),
            ("POST", 80, {}),
            ("PUT", None, {}),
            ("GET", 80, {"upgrade": "websocket"}),
        ]
    ]


def verdict(index: PolicyIndex, operation: Operation, workload: Workload | None, user: User | None) -> Verdict:
    """What the engine decides."""
    service = index.service(operation, None)
    assert service is not None
    evaluation = Evaluation(operation, workload, user, 0.0)
    return decide(service, operation, Caller(workload, user, operation.client_ip), evaluation, user is not None)


def fits(rule: Rule, operation: Operation, caller: Caller) -> bool:
    """Whether a rule fits, found out by asking everything of it."""
    who = rule.callers is None or any(caller_match(item, rule.effect).fits(caller) for item in rule.callers)
    items = rule.operations or (OperationItem(),)
    return who and any(
        operation_match(item, rule.effect).fits(operation)
        and (not item.methods or operation.method in item.methods)
        and (not item.paths or any(path_fits(text, operation.path, rule.effect) for text in item.paths))
        for item in items
    )


def path_fits(text: str, path: Path, effect: Effect) -> bool:
    """Whether a template fits a path, or for a deny rule some reading of it."""
    if effect == "allow":
        return parse_path_template(text).match(path) is not None
    template = parse_path_template(text.lower())
    readings = folded_readings(path)
    return any(template.match(Path(reading, slash)) is not None for reading, slash in product(readings, (False, True)))


@settings(max_examples=300)
@given(services(), addresses, workloads, people)
def test_the_index_decides_as_asking_every_rule_would(
    service: Service, address: str, workload: Workload | None, user: User | None
) -> None:
    """Deny overrides allow, the default is to deny, and no rule is missed or found by mistake."""
    index = PolicyIndex(Plan("r", (service,)), ConditionRuntime(), ())
    for operation in all_operations(address):
        fitting = [rule for rule in service.rules if fits(rule, operation, Caller(workload, user, operation.client_ip))]
        got = verdict(index, operation, workload, user)
        if any(rule.effect == "deny" for rule in fitting):
            assert got.reason is Reason.DENIED_BY_RULE
        elif fitting:
            assert got.reason is Reason.ALLOWED
        else:
            assert got.reason in (Reason.NO_RULE_ALLOWS, Reason.UNAUTHENTICATED)
        assert got.rule is None or got.rule in {rule.id for rule in fitting}


@settings(max_examples=50)
@given(services(), addresses, workloads, people, st.randoms())
def test_order_and_repetition_of_rules_change_nothing(
    service: Service, address: str, workload: Workload | None, user: User | None, random: Random
) -> None:
    """Shuffled rules, and the same rules again under other ids, give the same reason."""
    again = [msgspec.structs.replace(rule, id=f"{rule.id}-again") for rule in service.rules]
    shuffled = [*service.rules, *again]
    random.shuffle(shuffled)
    index = PolicyIndex(Plan("r", (service,)), ConditionRuntime(), ())
    changed = PolicyIndex(Plan("r", (msgspec.structs.replace(service, rules=tuple(shuffled)),)), ConditionRuntime(), ())
    for operation in all_operations(address):
        before, after = verdict(index, operation, workload, user), verdict(changed, operation, workload, user)
        assert before.reason is after.reason
