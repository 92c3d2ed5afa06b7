"""How strongly users must have authenticated."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.model import User
from authz_server.policy.plan import RequiresItem
from authz_server.policy.requirements import Requirements
from tests.builders import plan_of

NOW = 1_772_442_000.0


def lacks(item: RequiresItem, claims: dict[str, Any], *, bound: bool = False) -> bool:
    """Whether a user with these claims lacks something."""
    return Requirements(item).lacking(User("corp", "ann", claims=claims, bound=bound), NOW) is not None


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"acr": "mfa"}, False),
        ({"acr": "hwk"}, False),
        ({"acr": "MFA"}, True),
        ({"acr": "pwd"}, True),
        ({"acr": ["mfa"]}, True),
        ({"acr": None}, True),
        ({}, True),
    ],
)
def test_acr_is_one_of_those_that_are_named(claims: dict[str, Any], expected: bool) -> None:
    """Compared exactly."""
    assert lacks(RequiresItem(acr=("mfa", "hwk")), claims) is expected


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"amr": ["pwd", "otp"]}, False),
        ({"amr": ["otp", "pwd", "geo"]}, False),
        ({"amr": ["otp"]}, True),
        ({"amr": "otp"}, True),
        ({"amr": [["otp"], {"pwd": 1}, "pwd"]}, True),
        ({}, True),
    ],
)
def test_amr_has_all_that_are_named(claims: dict[str, Any], expected: bool) -> None:
    """RFC 8176: a list of methods; what is no text counts for nothing."""
    assert lacks(RequiresItem(amr=("pwd", "otp")), claims) is expected


@pytest.mark.parametrize(
    ("auth_time", "expected"),
    [
        (NOW, False),
        (NOW - 900, False),
        (int(NOW) - 900, False),
        (NOW - 901, True),
        (NOW + 60, False),
        (NOW + 61, True),
        (str(NOW), True),
        (True, True),
        (None, True),
        (10**400, True),
    ],
)
def test_the_authentication_is_recent(auth_time: object, expected: bool) -> None:
    """`auth_time` is a number of seconds; one that lies ahead is no proof of anything."""
    assert lacks(RequiresItem(max_auth_age_s=900.0), {"auth_time": auth_time}) is expected
    assert lacks(RequiresItem(max_auth_age_s=900.0), {})


def test_a_bound_token_is_one_whose_binding_was_proved() -> None:
    """By what the verification found, not by what the token says."""
    assert lacks(RequiresItem(bound_token=True), {"cnf": {"x5t#S256": "x"}})
    assert not lacks(RequiresItem(bound_token=True), {}, bound=True)


def test_what_is_required_is_recorded_and_challenged(tmp_path: Path) -> None:
    """The claims that decide stand in the record; the challenge has what a client can ask its issuer for."""
    policy = """\
        kind: service
        name: s
        hosts: ["*"]
        rules:
          - id: a
            effect: allow
            from: [{users: any}]
            requires: {acr: [mfa], amr: [otp], max_auth_age: 2h}
    """
    (service,) = plan_of(tmp_path, s=policy).services
    assert service.inputs == ("user.claims.acr", "user.claims.amr", "user.claims.auth_time")
    item = service.rules[0].requires
    assert item is not None
    assert item == RequiresItem(acr=("mfa",), amr=("otp",), max_auth_age_s=7200.0)
    (header,) = Requirements(item).challenge.headers
    assert header.value == 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="7200"'
