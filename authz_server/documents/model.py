"""The base of all models of documents."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A mapping of known fields. Values are taken as they are: the text "1" is no number, and 1 is no text.

    `noun` is what messages call it. A field's first example (`Field(examples=[…])`) is shown where it is missing or
    wrong. Validators raise InvalidValue. Where a field takes several shapes, let one of them be a mapping at most.
    """

    noun: ClassVar[str] = "the file"

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
