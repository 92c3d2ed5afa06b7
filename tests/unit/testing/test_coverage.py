"""Coverage: what no test decides by is named with its place."""

from pathlib import Path

from tests.unit.testing.policies import loaded

SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: reads
    effect: allow
    from:
      - workloads: ["spiffe://shop.example/web"]
      - users: {issuer: corp}
    to:
      - {methods: [GET]}
      - {methods: [HEAD]}
  - id: writes
    effect: allow
    from: anyone
    to: [{methods: [POST], paths: ["/{tenant}/**"]}]
    when:
      - path.tenant == request.headers["x-tenant"]
      - request.query["dry"] == ["no"]
  - id: strong
    effect: allow
    from: [{users: {issuer: corp}}]
    to: [{paths: [/strong], methods: [PUT]}]
    requires: {acr: [mfa]}
    valid: {until: "2026-04-01T00:00:00Z"}
    schedule: {days: [mon], zone: UTC}
  - id: never
    effect: deny
    to: [{paths: [/never, "/never/**"]}]
    when: has_user
  - id: rehearsed
    effect: deny
    mode: audit
    to: [{paths: [/rehearsed]}]
"""
TESTS = """\
kind: tests
now: "2026-03-02T10:00:00Z"
workloads: {web: "spiffe://shop.example/web"}
users:
  ann: {issuer: corp, subject: ann}
  mfa: {issuer: corp, subject: ann, claims: {acr: mfa}}
tests:
"""


def uncovered(directory: Path, *cases: str, now: str = "2026-03-02T10:00:00Z") -> list[str]:
    """What these requests leave uncovered, whatever comes of them."""
    lines = [
        f"  - {{name: '{number}', request: {{host: orders.shop.example, {case}}}, expect: {{decision: allow}}}}"
        for number, case in enumerate(cases)
    ]
    tests = TESTS.replace("2026-03-02T10:00:00Z", now) + "\n".join(lines)
    return loaded(directory, {"orders.yaml": SERVICE, "orders_test.yaml": tests}).uncovered()


ALL = (
    "5: orders/reads: no test decides by this rule",
    "8: orders/reads: no test decides by item 1 of `from`",
    "9: orders/reads: no test decides by item 2 of `from`",
    "11: orders/reads: no test decides by item 1 of `to`",
    "12: orders/reads: no test decides by item 2 of `to`",
    "13: orders/writes: no test decides by this rule",
    "16: orders/writes: no test decides by item 1 of `to`",
    "18: orders/writes: no test finds this condition false where all else fits",
    "19: orders/writes: no test finds this condition false where all else fits",
    "20: orders/strong: no test decides by this rule",
    "22: orders/strong: no test decides by item 1 of `from`",
    "23: orders/strong: no test decides by item 1 of `to`",
    "24: orders/strong: no test lacks what this rule requires",
    "25: orders/strong: no test asks outside of `valid` where all else fits",
    "26: orders/strong: no test asks outside of `schedule` where all else fits",
    "27: orders/never: no test decides by this rule",
    "29: orders/never: no test decides by item 1 of `to`",
    "30: orders/never: no test finds this condition false where all else fits",
    "31: orders/rehearsed: no test decides by this rule",
    "34: orders/rehearsed: no test decides by item 1 of `to`",
)


def covered(directory: Path, *cases: str, now: str = "2026-03-02T10:00:00Z") -> list[str]:
    """What these requests cover, by line."""
    left = uncovered(directory, *cases, now=now)
    assert set(left) <= set(ALL)
    return [each for each in ALL if each not in left]


def test_all_parts_of_rules_are_named_where_nothing_is_asked_of_them(tmp_path: Path) -> None:
    """A request that no rule fits covers nothing."""
    assert covered(tmp_path, "method: OPTIONS, path: /") == []


def test_a_rule_is_covered_by_the_items_that_fit(tmp_path: Path) -> None:
    """And not by those beside them."""
    assert covered(tmp_path, "from: web, method: HEAD, path: /") == [ALL[0], ALL[1], ALL[4]]
    assert covered(tmp_path, "as: ann, method: GET, path: /") == [ALL[0], ALL[2], ALL[3]]


def test_a_condition_is_covered_where_it_alone_is_false(tmp_path: Path) -> None:
    """With another one false too, nobody would notice if it were not there."""
    fits = 'method: POST, path: "/a/b?dry=no", headers: {x-tenant: a}'
    assert covered(tmp_path, fits) == [ALL[5], ALL[6]]
    assert covered(tmp_path, fits.replace("tenant: a", "tenant: b")) == [ALL[7]]
    assert covered(tmp_path, fits.replace("dry=no", "dry=yes")) == [ALL[8]]
    assert covered(tmp_path, fits.replace("dry=no", "wet=no")) == [ALL[8]]
    assert covered(tmp_path, fits.replace("tenant: a", "tenant: b").replace("dry=no", "dry=yes")) == []


def test_what_a_rule_requires_is_covered_by_who_lacks_it(tmp_path: Path) -> None:
    """Who has it covers the rule."""
    assert covered(tmp_path, "as: ann, method: PUT, path: /strong") == [ALL[12]]
    assert covered(tmp_path, "as: mfa, method: PUT, path: /strong") == [ALL[9], ALL[10], ALL[11]]


def test_the_times_of_a_rule_are_covered_outside_of_them(tmp_path: Path) -> None:
    """Each by itself."""
    asked = "as: mfa, method: PUT, path: /strong"
    assert covered(tmp_path, asked, now="2026-04-06T10:00:00Z") == [ALL[13]]
    assert covered(tmp_path, asked, now="2026-03-03T10:00:00Z") == [ALL[14]]


def test_an_allow_rule_is_not_asked_where_a_deny_rule_decides(tmp_path: Path) -> None:
    """Its conditions make no difference there; those of the deny rule do."""
    assert covered(tmp_path, "as: ann, method: OPTIONS, path: /never") == [ALL[15], ALL[16]]
    assert covered(tmp_path, "method: OPTIONS, path: /never") == [ALL[17]]
    unfit = 'method: POST, path: "/never/b?dry=no", headers: {x-tenant: other}'
    assert covered(tmp_path, unfit) == [ALL[7], ALL[17]]
    assert covered(tmp_path, f"as: ann, {unfit}") == [ALL[15], ALL[16]]


def test_a_rule_in_audit_is_covered_where_it_would_decide(tmp_path: Path) -> None:
    """It is there to be tried out."""
    assert covered(tmp_path, "method: OPTIONS, path: /rehearsed") == [ALL[18], ALL[19]]


def test_a_guardrail_counts_once_however_many_services_it_guards(tmp_path: Path) -> None:
    """It is covered in any of them."""
    guardrails = "kind: guardrails\nrules: [{id: no-trace, effect: deny, to: [{methods: [TRACE]}]}]\n"
    service = "kind: service\nname: %s\nhosts: [%s.example]\nrules: []\n"
    files = {"guardrails.yaml": guardrails, **{f"{name}.yaml": service % (name, name) for name in "ab"}}
    assert loaded(tmp_path, files).uncovered() == [
        "2: guardrails/no-trace: no test decides by this rule",
        "2: guardrails/no-trace: no test decides by item 1 of `to`",
    ]
    files["a_test.yaml"] = "kind: tests\nmatrix: {host: a.example, callers: [anonymous], requests: {trace: TRACE /}}\n"
    assert loaded(tmp_path, files).uncovered() == []


def test_a_request_that_was_refused_before_any_rule_was_asked_covers_nothing(tmp_path: Path) -> None:
    """Such as one with a bad credential, of a service in audit whose guardrails ask who the user is."""
    files = {
        "guardrails.yaml": """
            kind: guardrails
            rules: [{id: no-bob, effect: deny, from: [{users: {issuer: corp, subjects: [bob]}}]}]
        """,
        "orders.yaml": """
            kind: service
            name: orders
            hosts: [orders.shop.example]
            mode: audit
            rules: [{id: by-night, effect: deny, when: now.getHours() < 6}]
        """,
        "orders_test.yaml": """
            kind: tests
            now: "2026-03-02T10:00:00Z"
            tests:
              - name: forged
                request: {method: GET, host: orders.shop.example, path: /, headers: {authorization: Bearer forged}}
                expect: {decision: deny, reason: token_invalid}
        """,
    }
    assert (
        "6: orders/by-night: no test finds this condition false where all else fits"
        in loaded(tmp_path, files).uncovered()
    )


def test_each_reading_of_a_lenient_path_counts(tmp_path: Path) -> None:
    """A deny rule that one reading meets is covered."""
    service = """
        kind: service
        name: files
        hosts: [files.example]
        paths: lenient
        rules: [{id: not-secret, effect: deny, to: [{paths: ["/secret/**"]}]}]
    """
    tests = "kind: tests\nmatrix: {callers: [anonymous], requests: {escaped: GET /secret%2Fkey}}\n"
    assert loaded(tmp_path, {"files.yaml": service, "files_test.yaml": tests}).uncovered() == []
