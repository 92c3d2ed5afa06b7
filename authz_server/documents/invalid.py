"""A value that says something it must not: what is wrong, which part of it, and what to write instead."""


class InvalidValue(ValueError):
    """Raised by validators of models, and turned into a problem with its place.

    `at` is the path to the wrong part below the value that is validated. Where that is a text, `offset` and `length`
    (characters; None is the rest) say which part of it is meant.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "invalid_value",
        at: tuple[str | int, ...] = (),
        offset: int = 0,
        length: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.at = at
        self.offset = offset
        self.length = length
