"""Values of options, checked as those of files are."""

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
