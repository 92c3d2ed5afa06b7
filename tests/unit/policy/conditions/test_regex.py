"""Which regular expressions conditions may have."""

import pytest

from authz_server.policy.conditions import regex
from tests.expressions import holds, refusal


@pytest.mark.parametrize(
    "pattern",
    [
        "^/orders/[0-9]+$",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "(?i)admin|root",
        "(?:a|b){2,3}(?P<name>c)",
        "a{256}",
        "(a{8}){32}",
        "[]{}()]{3}",
        "[[:alpha:]]{20}",
        r"\{1000\}\(",
        "x{,5}",
        "a" * 256,
    ],
)
def test_usual_patterns_are_accepted(pattern: str) -> None:
    """The bound leaves room for what people write."""
    assert regex.fault(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("a" * 257, "the regular expression is longer than 256 characters"),
        ("a{257}", "the counted repetitions of the regular expression come to more than 256"),
        ("a{1,257}", "the counted repetitions of the regular expression come to more than 256"),
        ("a{257,}", "the counted repetitions of the regular expression come to more than 256"),
        ("(a{10}b){24}", "the counted repetitions of the regular expression come to more than 256"),
        ("((a{7}){7}){7}", "the counted repetitions of the regular expression come to more than 256"),
        ("((a{7}){7}", None),
        ("(?:(?i)[abc]{30}){9}", "the counted repetitions of the regular expression come to more than 256"),
        ("(((a{7}){7}){7}", "the counted repetitions of the regular expression come to more than 256"),
        (r"\pL", "Unicode classes such as `\\pL` take a millisecond at every request"),
        (r"[a\p{Greek}]", "Unicode classes such as `\\pL` take a millisecond at every request"),
        (r"\PN+", "Unicode classes such as `\\pL` take a millisecond at every request"),
        (r"\Qa{9}\E", "`\\Q` is not supported in regular expressions"),
        (r"\\pL", None),
    ],
)
def test_costly_patterns_are_refused(pattern: str, fault: str | None) -> None:
    """POL-03: the engine compiles a pattern at every use, and counted repetitions are written out."""
    assert regex.fault(pattern) == fault


def test_a_refused_pattern_is_underlined() -> None:
    """The error is where the pattern stands."""
    error = refusal("request.host.matches('a{999}')")
    assert (error.column, error.length) == (22, 8)
    assert error.message == "the counted repetitions of the regular expression come to more than 256"


def test_a_pattern_fits_a_part_of_the_text() -> None:
    """RE2's partial match, as in CEL: anchors are the author's."""
    assert holds("'xadminx'.matches('admin') && !'xadminx'.matches('^admin$')") is True
