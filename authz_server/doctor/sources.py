"""Where a configuration comes from: a file, or the admin address of a running Envoy."""

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx2

from authz_server.control.settings.places import is_loopback_host
from authz_server.doctor.view import MAX_BYTES, Unreadable, View, read

TIMEOUT_S = 10.0


def from_file(path: Path) -> View:
    """A bootstrap file or a saved dump. Blocks. Raises Unreadable."""
    try:
        with path.open(encoding="utf-8") as stream:
            return read(stream.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8 text") from None


def from_envoy(address: str) -> View:
    """The dump of the Envoy with this admin address, `host:port` or a URL. Blocks. Raises Unreadable."""
    url = address if "//" in address else f"http://{address}"
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise Unreadable(
            f"{address} is not on this machine: run `authz doctor` beside that Envoy, or give it a saved dump"
        )
    if "//" not in address and _has_no_port(parts):
        raise Unreadable(f"{address}: a port is missing; write `host:port`, such as 127.0.0.1:10001")
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/config_dump", timeout=TIMEOUT_S, trust_env=False)
        answer.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unreadable(f"{address}: Envoy's configuration cannot be had: {error or type(error).__name__}") from None
    return read(answer.text, "config_dump", lines=False)


def _has_no_port(parts: SplitResult) -> bool:
    try:
        return parts.port is None
    except ValueError:
        # There is something in its place, which is told where it is used.
        return False
