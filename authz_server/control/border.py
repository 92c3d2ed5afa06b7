"""Where failures of ours end, so that what decides goes on deciding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def border(event: str, tell: Callable[[str], None], **about: str) -> Iterator[None]:
    """Let a failure within end here: it is logged as this event, and `tell` gets it in words, for `/readyz`."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the border: whatever fails within, the server goes on
        structlog.get_logger().error(event, **about, exc_info=True)
        tell(f"a failure inside ({type(error).__name__})")
