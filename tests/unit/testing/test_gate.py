"""Only policies whose tests pass get through the gate, within bounds."""

from pathlib import Path

from authz_server.identity.settings import IdentitySettings
from authz_server.testing.gate import MAX_FAILURES, Gate
from tests.unit.testing.policies import MAX_BODY, NOW, loaded

SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: anybody-reads
    effect: allow
    from: anyone
    to: [{methods: [GET]}]
"""
MATRIX = """\
kind: tests
matrix:
  callers: [anonymous]
  requests: {read: GET /, write: POST /}
  allow: {anonymous: [read]}
"""


def gate(limit_s: float = 10.0, used: float = 0.0, max_cases: int = 100) -> Gate:
    """A gate at a fixed time; each look at the clock finds that so many more seconds were used."""
    looks = iter(range(1_000))
    return Gate(
        IdentitySettings(),
        MAX_BODY,
        limit_s,
        max_cases=max_cases,
        now=lambda: NOW,
        used=lambda: next(looks) * used,
    )


def problems(directory: Path, gate: Gate, tests: str | None = MATRIX, service: str = SERVICE) -> list[str]:
    """What a gate says about a service and its tests."""
    files = {"orders.yaml": service} | ({} if tests is None else {"orders_test.yaml": tests})
    return loaded(directory, files).problems(gate)


def test_policies_whose_tests_pass_get_through(tmp_path: Path) -> None:
    """There is nothing to say about them."""
    assert problems(tmp_path, gate()) == []


def test_each_test_that_fails_is_a_problem_at_its_place(tmp_path: Path) -> None:
    """With what was expected, and what was decided."""
    assert problems(tmp_path, gate(), service=SERVICE.replace("GET", "POST")) == [
        "5:23 test_failed the test `anonymous: read` fails: expected allow, was deny (no_rule_allows)",
        "4:27 test_failed the test `anonymous: write` fails: expected deny, was allow by orders/anybody-reads",
    ]


def test_the_first_failures_are_enough(tmp_path: Path) -> None:
    """The tests after them are not run."""
    requests = ", ".join(f"r{number}: GET /{number}" for number in range(3 * MAX_FAILURES))
    tests = f"kind: tests\nmatrix: {{callers: [anonymous], requests: {{{requests}}}}}\n"
    assert len(problems(tmp_path, gate(), tests)) == MAX_FAILURES


def test_policies_without_tests_do_not_get_through(tmp_path: Path) -> None:
    """An edit that takes the tests away would else be the way around them."""
    message = "the policies have no test, and `reload.require_tests` asks for them"
    assert problems(tmp_path, gate(), None) == [f"1:1 no_tests {message}"]


def test_tests_that_take_too_long_are_refused(tmp_path: Path) -> None:
    """By the time that they use, not by that of others."""
    message = "after 1 of 2 tests their time was up: 1 s of CPU"
    assert problems(tmp_path, gate(limit_s=1.0, used=0.6)) == [f"4:27 tests_too_slow {message}"]
    assert problems(tmp_path, gate(limit_s=1.0, used=0.5)) == []


def test_too_many_tests_are_refused_before_they_are_run(tmp_path: Path) -> None:
    """Combinations count one by one."""
    assert problems(tmp_path, gate(max_cases=2)) == []
    [said] = problems(tmp_path, gate(max_cases=1))
    assert said == "4:27 too_many_tests there are over 1 tests, with all combinations"
