"""Plain YAML scalars: read where all readers of YAML agree, refused where they do not."""

import pytest

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.scalars import Value, plain_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("orders", "orders"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("9223372036854775807", 9223372036854775807),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.2.3", "1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1:9001", "127.0.0.1:9001"),
        ("0.0.0.0:9091", "0.0.0.0:9091"),
        ("15m", "15m"),
        ("-", "-"),
        (".", "."),
        ("...", "..."),
        ("yesterday", "yesterday"),
        ("ON-CALL", "ON-CALL"),
        ("2026", 2026),
        ("2026-03", "2026-03"),
        ("1st", "1st"),
        ("١٢", "١٢"),
    ],
)
def test_a_scalar_that_all_readers_agree_about_is_read(text: str, value: Value) -> None:
    """Texts, booleans, plain decimal numbers and null mean what they look like."""
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "No",
        "NO",
        "yes",
        "Yes",
        "on",
        "ON",
        "off",
        "Off",
        "y",
        "Y",
        "n",
        "N",
        "010",
        "0o17",
        "0x1F",
        "0b11",
        "1_000",
        "+1",
        "-0",
        "00",
        "08",
        "1.10",
        "1.",
        ".5",
        "-.5",
        "1e3",
        "1.5e+3",
        "1E400",
        ".inf",
        "-.INF",
        ".nan",
        "12:30",
        "190:20:30",
        "1:30.5",
        "2026-03-02",
        "2026-3-2",
        "2026-03-02T10:00:00Z",
        "9223372036854775808",
        "100000000000000000.5",
        "=",
    ],
)
def test_a_scalar_that_readers_disagree_about_is_refused(text: str) -> None:
    """What YAML 1.1 reads as another value than YAML 1.2, and a number that would not be written so, needs quotes."""
    with pytest.raises(InvalidValue) as caught:
        plain_value(text)
    assert "quotes" in caught.value.hint


def test_a_date_with_a_time_is_refused() -> None:
    """YAML 1.1 has timestamps with a space in them."""
    with pytest.raises(InvalidValue, match="is a date to some readers"):
        plain_value("2026-03-02 10:00:00")


@pytest.mark.parametrize(
    "text", ["1" * 5_000, "1_" * 5_000, "1:" * 5_000 + "1", "0." + "1" * 5_000, "1." + "_" * 5_000]
)
def test_a_long_number_is_refused_without_much_work(text: str) -> None:
    """Numbers of thousands of digits are no numbers, and cost no more than to look at them once."""
    with pytest.raises(InvalidValue, match="number"):
        plain_value(text)
