"""What documents become."""

from pathlib import Path

import pytest

from authz_server.policy.compiler.compiler import MAX_PROBLEMS
from authz_server.policy.loader import load_policies
from authz_server.policy.plan import (
    CallerItem,
    Expression,
    GrpcItem,
    HeaderItem,
    OperationItem,
    Rule,
    Service,
    UserItem,
)
from tests.builders import plan_of, write_policies

HEAD = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
    """


def service_of(directory: Path, rules: str, **files: str) -> Service:
    """The service with these rules, among other files."""
    plan = plan_of(directory, orders=HEAD + rules, **files)
    (service,) = [service for service in plan.services if service.name == "orders"]
    return service


def rule_of(directory: Path, rule: str, **files: str) -> Rule:
    """The one rule."""
    (compiled,) = service_of(directory, rule, **files).rules
    return compiled


def sources(expressions: tuple[tuple[str, str | Expression], ...]) -> list[tuple[str, str]]:
    """Constants and sources of expressions."""
    return [(name, value if isinstance(value, str) else f"={value.source}") for name, value in expressions]


def changes(headers: tuple[HeaderItem, ...]) -> list[tuple[str, str, str]]:
    """Name, action, and constant or source of expression."""
    values = sources(tuple([(header.name, header.value) for header in headers]))
    return [(name, header.action, value) for header, (name, value) in zip(headers, values, strict=True)]


def test_a_rule_keeps_all_that_it_says(tmp_path: Path) -> None:
    """Callers, operations, condition, answer, description and the place of its id."""
    rule = rule_of(
        tmp_path,
        """
      - id: everything
        description: All fields.
        effect: allow
        from:
          - workloads: ["spiffe://shop.example/ns/front/**"]
            networks: [10.1.0.0/16, 10.9.9.9]
            users:
              issuer: corp
              subjects: [ann]
              scopes: ["orders:read", "orders:list"]
              roles: [clerk]
              groups: [staff]
              claims: {level: 3, department: [sales, support], b.c: true}
          - anonymous: true
          - users: any
        to:
          - {methods: [GET], paths: ["/orders/{id}"], hosts: [orders.shop.example], ports: [8443]}
          - {grpc: {service: orders.v1.Orders, methods: [Get]}}
          - {upgrade: WebSocket}
          - {connect: true}
        when: path.id != "x"
        answer:
          set_headers: {X-User: user.subject, x-team: "'gold'"}
          remove_headers: [X-Debug, x-debug]
          set_query: {tenant: '"a" + "b"'}
          remove_query: [debug]
          response_headers: {x-id: path.id}
          metadata: {tenant: '"it''s"'}
    """,
    )
    assert (rule.id, rule.effect, rule.description) == ("orders/everything", "allow", "All fields.")
    assert rule.callers == (
        CallerItem(
            workloads=("spiffe://shop.example/ns/front/**",),
            networks=("10.1.0.0/16", "10.9.9.9/32"),
            users=UserItem(
                issuer="corp",
                subjects=("ann",),
                scopes=("orders:read", "orders:list"),
                roles=("clerk",),
                groups=("staff",),
                claims=(("b.c", (True,)), ("department", ("sales", "support")), ("level", (3,))),
            ),
        ),
        CallerItem(anonymous=True),
        CallerItem(users=UserItem()),
    )
    assert rule.operations == (
        OperationItem(methods=("GET",), paths=("/orders/{id}",), hosts=("orders.shop.example",), ports=(8443,)),
        OperationItem(grpc=GrpcItem("orders.v1.Orders", ("Get",))),
        OperationItem(upgrade="websocket"),
        OperationItem(connect=True),
    )
    assert rule.condition is not None
    assert (rule.condition.source, rule.condition.reads) == ('path.id != "x"', ("path.id",))
    assert changes(rule.answer.set_headers) == [("x-team", "set", "gold"), ("x-user", "set", "=user.subject")]
    assert rule.answer.remove_headers == ("x-debug",)
    assert sources(rule.answer.set_query) == [("tenant", '="a" + "b"')]
    assert rule.answer.remove_query == ("debug",)
    assert changes(rule.answer.response_headers) == [("x-id", "set", "=path.id")]
    assert sources(rule.answer.metadata) == [("tenant", "it's")]
    assert rule.location == f"{tmp_path}/orders.yaml:7:9"


def test_a_denial_has_an_answer_of_its_own(tmp_path: Path) -> None:
    """Status, body, headers and hint; constants have lost the quotes of the language."""
    answer = rule_of(
        tmp_path,
        """
      - id: refuse
        effect: deny
        answer:
          status: 429
          body: "'Later.'"
          headers: {Retry-After: "'60'"}
          hint: '"not " + request.method'
    """,
    ).answer
    assert (answer.status, answer.body, answer.headers) == (429, "Later.", (HeaderItem("retry-after", "60"),))
    assert isinstance(answer.hint, Expression)


def test_a_header_can_depend_on_what_is_there(tmp_path: Path) -> None:
    """Beside it, only without it, only in place of it; the service protects what its rules set in any case."""
    service = service_of(
        tmp_path,
        """
      - id: read
        effect: allow
        from: anyone
        answer:
          set_headers:
            x-user: "'nobody'"
            X-Via: {append: "'authz'"}
            x-team: {if_absent: request.host}
            x-debug: {if_present: "'no'"}
          response_headers: {set-cookie: {append: "'a=b'"}}
    """,
    )
    answer = service.rules[0].answer
    assert changes(answer.set_headers) == [
        ("x-debug", "if_present", "no"),
        ("x-team", "if_absent", "=request.host"),
        ("x-user", "set", "nobody"),
        ("x-via", "append", "authz"),
    ]
    assert changes(answer.response_headers) == [("set-cookie", "append", "a=b")]
    assert service.set_headers == ("x-user",)


@pytest.mark.parametrize("caller", ["", "from: anyone"])
def test_a_rule_about_everybody_names_no_caller(caller: str, tmp_path: Path) -> None:
    """`from: anyone` says aloud what a deny rule without it means."""
    rule = rule_of(
        tmp_path,
        f"""
      - id: no-trace
        effect: deny
        {caller}
    """,
    )
    assert rule.callers is None
    assert rule.operations is None


def test_several_conditions_must_all_hold(tmp_path: Path) -> None:
    """They are one expression, also where one ends in a comment."""
    rule = rule_of(
        tmp_path,
        """
      - id: refuse
        effect: deny
        when: ["has_user // a comment", "request.method == 'GET' || has_workload"]
    """,
    )
    assert rule.condition is not None
    assert rule.condition.source == "(has_user // a comment\n) && (request.method == 'GET' || has_workload\n)"
    assert rule.condition.reads == ("has_user", "has_workload", "request.method")


def test_identical_conditions_are_compiled_once(tmp_path: Path) -> None:
    """Rules share the expression."""
    service = service_of(
        tmp_path,
        """
      - {id: a, effect: deny, when: has_user}
      - {id: b, effect: deny, when: [has_user]}
    """,
    )
    first, second = service.rules
    assert first.condition is second.condition


def test_a_condition_may_read_a_capture_that_one_of_the_paths_has(tmp_path: Path) -> None:
    """Where the other path fits, the capture is missing when the rule is evaluated."""
    rule = rule_of(
        tmp_path,
        """
      - id: refuse
        effect: deny
        to: [{paths: ["/orders/{id}", /carts]}, {paths: ["/bills/{bill...}"]}]
        when: path.id == path.bill
    """,
    )
    assert rule.condition is not None
    assert rule.condition.reads == ("path.bill", "path.id")


def test_rules_are_sorted_by_their_full_id_with_the_guardrails_of_their_folders(tmp_path: Path) -> None:
    """Guardrails hold for their folder and those below, and for no other."""
    guardrails = "kind: guardrails\nrules: [{{id: {}, effect: deny}}]\n"
    service = (
        "kind: service\nname: {}\nhosts: [{}.shop.example]\nrules: [{{id: z, effect: deny}}, {{id: a, effect: deny}}]\n"
    )
    plan = plan_of(
        tmp_path,
        g=guardrails.format("top"),
        shop__g=guardrails.format("shop"),
        shop__eu__g=guardrails.format("eu"),
        shop__eu__more=guardrails.format("more"),
        other__g=guardrails.format("other"),
        web=service.format("web", "web"),
        shop__eu__orders=service.format("orders", "orders"),
    )
    assert {service.name: [rule.id for rule in service.rules] for service in plan.services} == {
        "shop/eu/orders": [
            "guardrails/top",
            "shop/eu/guardrails/eu",
            "shop/eu/guardrails/more",
            "shop/eu/orders/a",
            "shop/eu/orders/z",
            "shop/guardrails/shop",
        ],
        "web": ["guardrails/top", "web/a", "web/z"],
    }


def test_roles_stand_for_their_items_and_those_of_the_roles_in_them(tmp_path: Path) -> None:
    """One of the items must fit, and whatever else the item of the rule says."""
    roles = """
    kind: roles
    roles:
      staff:
        - users: {issuer: corp, groups: [staff]}
          networks: [10.0.0.0/8]
      support:
        - roles: [staff]
          users: {issuer: corp, scopes: [support]}
        - users: {issuer: partners}
    """
    rule = rule_of(
        tmp_path,
        """
      - id: a
        effect: allow
        from: [{roles: [support, staff], networks: [10.1.0.0/16]}]
    """,
        roles=roles,
    )
    staff = CallerItem(users=UserItem(issuer="corp", groups=("staff",)), networks=("10.0.0.0/8",))
    support = CallerItem(users=UserItem(issuer="corp", scopes=("support",)), any_of=(staff,))
    partners = CallerItem(users=UserItem(issuer="partners"))
    assert rule.callers == (CallerItem(networks=("10.1.0.0/16",), any_of=(support, partners, staff)),)


def test_a_role_is_known_in_its_folder_and_below(tmp_path: Path) -> None:
    """Folders beside each other may have roles of one name."""
    roles = "kind: roles\nroles: {{support: [{{users: {{issuer: {}}}}}]}}\n"
    rules = "rules: [{{id: a, effect: allow, from: [{{roles: [support]}}]}}]"
    service = f"kind: service\nname: web\nhosts: [{{}}.example]\n{rules}\n"
    plan = plan_of(
        tmp_path,
        shop__roles=roles.format("shop"),
        bank__roles=roles.format("bank"),
        shop__eu__web=service.format("shop"),
        bank__web=service.format("bank"),
    )
    issuers = {}
    for one in plan.services:
        assert one.rules[0].callers is not None
        users = one.rules[0].callers[0].any_of[0].users
        assert users is not None
        issuers[one.name] = users.issuer
    assert issuers == {"bank/web": "bank", "shop/eu/web": "shop"}


def test_a_role_cannot_grow_beyond_measure(tmp_path: Path) -> None:
    """Roles in roles multiply; what a rule would hold of them is bounded."""
    items = "[" + ", ".join("{roles: [r%d], users: any}" for _ in range(10)) + "]"
    roles = "".join(f"  r{n}: {items.replace('%d', str(n - 1))}\n" for n in range(1, 5))
    write_policies(tmp_path, {"roles.yaml": f"kind: roles\nroles:\n  r0: [{{users: any}}]\n{roles}"})
    problems = load_policies(tmp_path).problems
    assert [problem.message for problem in problems] == ["the role `r3` has more than 1,000 items, with its roles"]


def test_roles_cannot_be_nested_without_end(tmp_path: Path) -> None:
    """A chain of a thousand roles is refused, and is no exception."""
    chain = "".join(f"  r{n}: [{{roles: [r{n + 1}]}}]\n" for n in range(1_000))
    write_policies(tmp_path, {"roles.yaml": f"kind: roles\nroles:\n{chain}  r1000: [{{users: any}}]\n"})
    assert "roles contain each other more than 16 levels deep" in {
        problem.message for problem in load_policies(tmp_path).problems
    }


def test_inputs_are_what_the_rules_read(tmp_path: Path) -> None:
    """Of conditions, answers, callers, their roles, and guardrails; captures are part of the path and not named."""
    service = service_of(
        tmp_path,
        """
      - id: a
        effect: allow
        from:
          - users: {issuer: corp, scopes: [a], claims: {department: sales}}
          - roles: [support]
        to: [{paths: ["/orders/{id}"]}]
        when: user.claims.customer == path.id && request.headers["x-team"] != ""
        answer: {set_headers: {x-user: user.subject}}
    """,
        roles="kind: roles\nroles: {support: [{users: {issuer: corp, groups: [support], roles: [clerk]}}]}\n",
        guardrails='kind: guardrails\nrules: [{id: g, effect: deny, when: "request.query.size() > 9"}]\n',
    )
    assert service.inputs == (
        "request.headers[x-team]",
        "request.query[*]",
        "user.claims.customer",
        "user.claims.department",
        "user.groups",
        "user.roles",
        "user.scopes",
        "user.subject",
    )
    assert service.set_headers == ("x-user",)


def test_a_service_has_its_hosts_and_prefix(tmp_path: Path) -> None:
    """Hosts are sorted, and `/` is the prefix of a service that names none."""
    text = "kind: service\nname: {0}\nhosts: [b.example, '*.example', 'a.example:8443']\n{1}rules: []\n"
    plan = plan_of(tmp_path, a=text.format("a", ""), b=text.format("b", "path_prefix: /api\n"))
    assert [(one.name, one.hosts, one.path_prefix, one.rules) for one in plan.services] == [
        ("a", ("*.example", "a.example:8443", "b.example"), "/", ()),
        ("b", ("*.example", "a.example:8443", "b.example"), "/api", ()),
    ]


def test_the_problems_of_a_load_are_bounded(tmp_path: Path) -> None:
    """A thousand are more than anybody reads; looking for more would only take time."""
    rules = "".join(f"  - {{id: r{n}, effect: allow, from: [{{roles: [unknown{n}]}}]}}\n" for n in range(2_000))
    write_policies(tmp_path, {"orders.yaml": f"kind: service\nname: a\nhosts: [a.example]\nrules:\n{rules}"})
    assert len(load_policies(tmp_path).problems) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            f"""{{id: a, effect: deny, answer: {{headers: {{x-a: "'{"a" * 5_000}'"}}}}}}""",
            "the expression is longer than 4096 bytes",
        ),
        (
            f"""{{id: a, effect: deny, when: ["'{"a" * 3_000}' == ''", "'{"b" * 3_000}' == ''"]}}""",
            "the expression is longer than 4096 bytes",
        ),
    ],
)
def test_expressions_are_bounded_alone_and_together(rule: str, message: str, tmp_path: Path) -> None:
    """What a rule's conditions make together may be no larger than one may be."""
    write_policies(tmp_path, {"a.yaml": f"kind: service\nname: a\nhosts: [a.example]\nrules:\n  - {rule}\n"})
    assert [problem.message for problem in load_policies(tmp_path).problems] == [message]
