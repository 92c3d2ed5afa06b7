"""The socket that connections come to."""

import socket
import stat
from contextlib import suppress
from pathlib import Path

from authz_server.worker.address import Address, UnixAddress

BACKLOG = 512
_LOOK_S = 1.0


def listen(address: Address) -> socket.socket:
    """A listening socket that blocks nobody. Raises OSError."""
    if isinstance(address, UnixAddress):
        _remove_stale(Path(address.path))
        listener = socket.socket(socket.AF_UNIX)
        place: str | tuple[str, int] = address.path
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family)
        # A port is not in use because connections to a server that has ended linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place = (address.host, address.port)
    try:
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def remove(address: Address) -> None:
    """Take away the file of a Unix socket."""
    if isinstance(address, UnixAddress):
        with suppress(OSError):
            Path(address.path).unlink()


def _remove_stale(path: Path) -> None:
    """Take away a socket that nobody listens on any more."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_LOOK_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
