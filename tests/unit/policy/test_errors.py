"""What people read when a policy is wrong, word for word."""

from pathlib import Path

import pytest

from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies

ERRORS = Path(__file__).parent / "errors"
CASES = sorted(path.name for path in ERRORS.iterdir())
KNOWN = KnownNames(
    issuers=frozenset({"corp", "partners"}),
    trust_domains=frozenset({"shop.example"}),
    metadata=frozenset({"envoy.filters.http.jwt_authn", "known"}),
)


@pytest.mark.parametrize("case", CASES)
def test_all_errors_of_a_directory_are_told_at_once_with_place_and_remedy(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problems of the files of a case are those of its expected.txt, and there is no plan."""
    monkeypatch.chdir(ERRORS)
    loaded = load_policies(Path(case), KNOWN)
    assert loaded.plan is None
    assert "\n".join(map(str, loaded.problems)) + "\n" == (ERRORS / case / "expected.txt").read_text()
