"""Why an expression is refused when policies are loaded, in words for those who wrote it."""


class ConditionError(Exception):
    """An expression that is refused. `line` and `column` count from 1 within the expression, in characters."""

    def __init__(self, message: str, line: int = 1, column: int = 1, length: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.length = length
        """How many characters to underline, at least 1."""
        self.hint = hint


def rejection(source: str, offset: int, length: int, message: str, hint: str = "") -> ConditionError:
    """The error about `length` characters from `offset` (from 0) of the expression."""
    offset = max(0, min(offset, len(source)))
    before = source[:offset]
    line_start = before.rfind("\n") + 1
    line_end = source.find("\n", offset)
    rest = (len(source) if line_end < 0 else line_end) - offset
    return ConditionError(message, before.count("\n") + 1, offset - line_start + 1, max(1, min(length, rest)), hint)
