"""What became of edits to the policies, for the demo's terminal: read from the server's log as it grows."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from authz_server.documents.source import printable

INDENT = "    "


class PolicyNews:
    """Follows the log of `authz serve`, which is one JSON object a line, from its beginning."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0

    def lines(self) -> Iterator[str]:
        """What there is to say since the last call."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._read)
                text = stream.read()
        except FileNotFoundError:
            return
        # A line that is still being written is read the next time.
        complete = text[: text.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            yield from _told(line)


def _told(line: bytes) -> Iterator[str]:
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    tell = _TELL.get(str(event.get("event")))
    if tell is not None:
        for told in tell(event).splitlines():
            yield printable(told)


def _reloaded(event: dict[str, Any]) -> str:
    counted = f"{event.get('services')} services, {event.get('rules')} rules, revision {event.get('revision')}"
    return f"{_time(event)}  edit taken: {counted}"


def _refused(event: dict[str, Any]) -> str:
    kept = f"revision {event.get('revision_kept')} goes on deciding"
    return f"{_time(event)}  edit refused, problems: {event.get('problems')}; {kept}"


def _problem(event: dict[str, Any]) -> str:
    lines = [str(event.get("problem")), *str(event.get("source") or "").splitlines()]
    return "\n".join([f"{INDENT}{lines[0]}", *(f"{INDENT * 2}{line}" for line in lines[1:])])


def _mended(event: dict[str, Any]) -> str:
    return f"{_time(event)}  mended: as before the edit, revision {event.get('revision')}"


def _not_activated(event: dict[str, Any]) -> str:
    return f"{_time(event)}  edit not active: {event.get('problem')}"


def _time(event: dict[str, Any]) -> str:
    """The time of day here."""
    try:
        return datetime.fromisoformat(str(event.get("time"))).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


_TELL: dict[str, Callable[[dict[str, Any]], str]] = {
    "policies_reloaded": _reloaded,
    "policies_refused": _refused,
    "policy_problem": _problem,
    "policies_mended": _mended,
    "snapshot_refused": _not_activated,
}
