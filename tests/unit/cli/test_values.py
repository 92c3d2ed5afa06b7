"""Values of options are checked as those of files are, and refused in the same words."""

from typing import Annotated

import pytest
import typer
from pydantic import AfterValidator

from authz_server.cli.values import valid
from authz_server.documents.invalid import InvalidValue


def _plain(_: str) -> str:
    raise ValueError("this is never good")


def _ours(_: str) -> str:
    raise InvalidValue("this is no name", hint="for example `orders`")


def _without_hint(_: str) -> str:
    raise InvalidValue("this is no name")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (_plain, "this is never good"),
        (_ours, "this is no name; for example `orders`"),
        (_without_hint, "this is no name"),
    ],
)
def test_what_is_wrong_is_told_alone(check: object, message: str) -> None:
    """Without what the library puts before it."""
    with pytest.raises(typer.BadParameter) as refused:
        valid(Annotated[str, AfterValidator(check)], "x", "--name")  # type: ignore[arg-type]
    assert refused.value.message == message
    assert refused.value.param_hint == "--name"
