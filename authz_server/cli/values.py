"""Values of options, checked as those of files are."""

import re
from typing import Any

import typer
from pydantic import TypeAdapter, ValidationError

from authz_server.documents.invalid import InvalidValue


def valid(kind: Any, text: str, option: str) -> str:  # noqa: ANN401 - an annotated type
    """The text as this kind of value has it; a wrong one is wrong usage of the option."""
    try:
        return str(TypeAdapter(kind).validate_python(text))
    except ValidationError as error:
        first = error.errors()[0]
        # Without pydantic's "Value error, " in front.
        cause = first.get("ctx", {}).get("error", first["msg"])
        message = f"{cause.message}; {cause.hint}" if isinstance(cause, InvalidValue) and cause.hint else str(cause)
        raise typer.BadParameter(message, param_hint=option) from None


def alone(text: str, option: str, noun: str) -> str:
    """The text, of an option that is given once for each value; several at once are wrong usage."""
    parts = re.split(r"[,\s]+", text)
    if len(parts) > 1:
        instead = " ".join(f"{option} {part}" for part in parts if part) or f"{option} VALUE"
        raise typer.BadParameter(f"`{text}` would be one {noun}; write `{instead}`", param_hint=option)
    return text
