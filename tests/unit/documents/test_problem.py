"""How a problem is shown."""

import pytest

from authz_server.documents.problem import Position, Problem
from authz_server.documents.suggest import listing

PLACE = Position("orders.yaml", 7, 3, 4)


@pytest.mark.parametrize("source", ["", "  efct: allow"])
def test_a_long_hint_is_shown_in_several_lines(source: str) -> None:
    """All that is known is told, and none of its words is cut."""
    hint = f"known fields are {listing(f'a-long-name-{number}' for number in range(20))}"
    shown = str(Problem(PLACE, "unknown_field", "unknown field `efct`", hint, source)).splitlines()
    margin = "      | " if source else "    "
    above = ["    7 |   efct: allow", "      |   ^^^^"] if source else []
    assert shown[: 1 + len(above)] == ["orders.yaml:7:3: unknown field `efct`", *above]
    told = shown[1 + len(above) :]
    assert " ".join(line.removeprefix(margin) for line in told) == hint
    assert max(map(len, shown)) < 120


def test_a_short_hint_stands_beside_what_it_is_about() -> None:
    """Or below, where the line cannot be shown; of none nothing is left."""
    problem = Problem(PLACE, "unknown_field", "unknown field", "did you mean `effect`?", "  efct: allow")
    assert str(problem).splitlines()[2] == "      |   ^^^^ did you mean `effect`?"
    assert str(Problem(PLACE, "code", "wrong", "a hint")) == "orders.yaml:7:3: wrong\n    a hint"
    assert str(Problem(PLACE, "code", "wrong")) == "orders.yaml:7:3: wrong"
