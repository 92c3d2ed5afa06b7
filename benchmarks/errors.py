"""What keeps a benchmark from being one."""


class CannotMeasure(Exception):  # reads as what it is in `raise` and `except`
    """The message says why, and what to do."""


class StoodStill(Exception):  # likewise
    """The machine did, so long that calls which had waited were denied: nothing was measured, which is no fault."""
