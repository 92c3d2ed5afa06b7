"""Moments as texts, wherever people read or write them."""

from datetime import UTC, datetime


def instant(seconds: float) -> str:
    """A time, in seconds since the epoch, as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
