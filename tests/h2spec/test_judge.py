"""What `make h2spec` makes of a report."""

import pytest

from tests.h2spec.__main__ import EXCEPTIONS, judge

GOOD = ("http2/6.5", "Sends a SETTINGS frame")


def report(failed: list[tuple[str, str]]) -> str:
    """A report in which these tests have failed, and one has passed."""
    cases = "".join(
        f'<testcase package="{section}" classname="{name}"><error>x</error></testcase>' for section, name in failed
    )
    return (
        f'<testsuites><testsuite><testcase package="{GOOD[0]}" classname="{GOOD[1]}"/>{cases}</testsuite></testsuites>'
    )


@pytest.mark.parametrize(
    ("failed", "code"),
    [(list(EXCEPTIONS), 0), ([*EXCEPTIONS, ("http2/6.7", "Sends a PING frame")], 1), (list(EXCEPTIONS)[1:], 1)],
    ids=["what does not apply", "another one", "one less"],
)
def test_only_what_does_not_apply_may_fail(
    failed: list[tuple[str, str]], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it must: a list that is out of date is a fault as well."""
    assert judge(report(failed)) == code
    assert ("FAIL" in capsys.readouterr().out) is bool(code)


def test_a_report_without_tests_proves_nothing() -> None:
    """The program may have ended before it tried any."""
    assert judge("<testsuites/>") == 1
