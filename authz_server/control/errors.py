"""Why the server does not start."""


class CannotStart(Exception):  # noqa: N818  # reads as what it is in `raise` and `except`
    """Something that the server needs cannot be had; the message says what, for people."""
