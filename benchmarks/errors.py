"""What keeps a benchmark from being one."""


class CannotMeasure(Exception):  # reads as what it is in `raise` and `except`
    """The message says why, and what to do."""
