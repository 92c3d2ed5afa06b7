"""Attacks on policies that are learned from records: whoever sends requests writes no rule."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.learning.files import files_of
from authz_server.learning.observations import Observations
from authz_server.learning.service import LearnedService, Wishes, learn_services
from tests.recorded import record_of, user


def learned(**changes: Any) -> list[LearnedService]:
    """What is learned from a request that comes again and again."""
    observations = Observations(None, None, allow_anonymous=False)
    observations.take([record_of(**changes)] * 20)
    return learn_services(observations, Wishes())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"user": user("ann"), "actor": "spiffe://shop.example/**"}, id="every actor of a trust domain"),
        pytest.param({"user": user("ann"), "actor": "spiffe://shop.example/*/sa"}, id="many actors"),
        pytest.param({"host": "*"}, id="every host"),
        pytest.param({"host": "*.shop.example"}, id="many hosts"),
        pytest.param({"path": "/orders/**"}, id="every path"),
        pytest.param({"path": "/orders/%7Bid%7D"}, id="many paths"),
        pytest.param({"user": user("ann\n- effect: allow")}, id="lines of YAML"),
    ],
)
def test_learn_01_no_request_is_a_pattern(changes: dict[str, Any]) -> None:
    """A rule that is learned means who and what was seen, and no more."""
    assert learned() != []
    assert learned(**changes) == []


@pytest.mark.parametrize("text", ["*", "a: b", "${a}", "# a", "true", "'", '"]}'])
def test_learn_01_a_subject_is_a_text_and_nothing_else(text: str) -> None:
    """Whatever it would mean to YAML."""
    [service] = learned(user=user(text))
    [rule] = service.policy()["rules"]
    assert rule["from"][0]["users"]["subjects"] == [text]
    [content, _] = files_of([service], Path("learned")).values()
    assert len([line for line in content.decode().splitlines() if "effect:" in line]) == 1


@pytest.mark.parametrize("service", ["../../orders", "/tmp/orders", "shop/../orders", "shop//orders", ".", ""])
def test_learn_02_no_service_leads_out_of_the_directory(service: str) -> None:
    """Its name becomes the path of a file."""
    assert learned(service=service) == []
