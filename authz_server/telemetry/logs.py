"""The log of the server itself: one line an event, for people on a terminal, else as JSON.

Whatever a value holds stays inside its line: line feeds, escape sequences and bidirectional marks are escaped, so that
no request can forge a line or act on a terminal.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from authz_server.telemetry import names

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]
_FIRST = (names.TIME, names.LEVEL, names.EVENT)


def configure_logs(
    level: Level = "info", form: Format = "auto", *, worker: int | None = None, stream: TextIO | None = None
) -> None:
    """Set up logging for this process, once, at its start.

    Of other libraries only warnings and worse are shown. `worker` is the slot to name in each line; the stream is
    standard error by default; `auto` is text on a terminal, else JSON.
    """
    output = sys.stderr if stream is None else stream
    as_text = form == "text" or (form == "auto" and output.isatty())
    constant = {} if worker is None else {names.WORKER: worker}

    def add_constant(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**constant, **event}

    common: list[Processor] = [
        add_constant,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key=names.TIME),
        structlog.processors.format_exc_info,
    ]
    render: Processor = _text if as_text else _json
    structlog.configure(
        processors=[*common, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelName(level.upper())), handlers=[handler], force=True)
    logging.captureWarnings(True)


def _json(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    # ASCII alone: whatever else a text holds is escaped, and comes back when the line is parsed.
    return json.dumps(_ordered(event), default=repr, skipkeys=True)


def _text(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    fields = _ordered(event)
    time, level, what = (_printable(str(fields.pop(key, ""))) for key in _FIRST)
    blocks = [str(fields.pop(key, "")) for key in (names.SOURCE, names.EXCEPTION)]
    pairs = "".join(f" {_printable(str(key))}={_value(value)}" for key, value in fields.items())
    # Indented, so that none of these can pass for a line of the log.
    lines = "".join(f"\n    {_printable(line)}" for block in blocks for line in block.splitlines())
    return f"{time} {level:<8} {what}{pairs}{lines}"


def _ordered(event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: event[key] for key in _FIRST if key in event} | {k: v for k, v in event.items() if k not in _FIRST}


def _value(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = _printable(value if isinstance(value, str) else repr(value))
    return text if text and not set(text) & set(' "=') else '"' + text.replace('"', '\\"') + '"'


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
