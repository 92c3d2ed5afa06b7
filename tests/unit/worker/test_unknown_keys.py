"""What a worker does about keys that it does not have."""

from authz_server.worker.unknown_keys import UnknownKeys


def test_each_is_counted_and_the_control_process_told_now_and_then() -> None:
    """Once a second and issuer at most."""
    counted: list[str] = []
    told: list[tuple[float, str]] = []
    now = 0.0
    unknown = UnknownKeys(counted.append, lambda issuer: told.append((now, issuer)), lambda: now)
    for tenth in range(25):
        now = tenth / 10
        unknown("corp")
        unknown("partner")
    assert (counted.count("corp"), counted.count("partner")) == (25, 25)
    assert told == [(second, issuer) for second in (0.0, 1.0, 2.0) for issuer in ("corp", "partner")]
