"""Durations and sizes with their units."""

import pytest

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0.0), ("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("7d", 604800.0)],
)
def test_a_duration_is_read_and_written(text: str, seconds: float) -> None:
    """What is printed reads as the same duration."""
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "30", "1.5s", "-1s", "30 s", "30S", "1h30m", "s", "٣s", 30, None])
def test_a_duration_without_a_whole_number_and_a_unit_is_refused(text: object) -> None:
    """Also numbers: nobody can tell seconds from milliseconds."""
    with pytest.raises(InvalidValue, match="unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("512KB", 512_000), ("100MB", 100_000_000), ("16MiB", 16_777_216), ("1 GB", 10**9)]
)
def test_a_size_is_read_and_written(text: str, size: int) -> None:
    """What is printed reads as the same size."""
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "100", "1.5MB", "-1MB", "100mb", 100, None])
def test_a_size_without_a_whole_number_and_a_unit_is_refused(text: object) -> None:
    """Also numbers: bytes are rarely what was meant."""
    with pytest.raises(InvalidValue, match="unit"):
        parse_size(text)
