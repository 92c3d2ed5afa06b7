"""Why the server does not start."""


class CannotStart(Exception):
    """Something that the server needs cannot be had; the message says what, for people."""
