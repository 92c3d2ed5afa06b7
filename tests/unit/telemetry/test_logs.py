"""Log lines are whole, ordered, and cannot be forged."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from authz_server.telemetry.logs import Format, configure_logs

HOSTILE = 'a\r\n2026-03-02 error forged\x1b[31m\x85\u2028\u202e"='


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    """Logging belongs to the process; give it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_a_json_line_has_time_level_and_event_first() -> None:
    """Then come the worker and what the event brings."""
    stream = io.StringIO()
    configure_logs(stream=stream, worker=3)
    structlog.get_logger().info("worker_ended", exit_code=-9)
    record = json.loads(stream.getvalue())
    assert list(record) == ["time", "level", "event", "worker", "exit_code"]
    assert record | {"level": "info", "event": "worker_ended", "worker": 3, "exit_code": -9} == record
    assert record["time"].endswith("Z")


def test_a_text_line_reads_from_left_to_right() -> None:
    """Time, level, event, then key=value, quoted where a value holds a space."""
    stream = io.StringIO()
    configure_logs(form="text", stream=stream)
    structlog.get_logger().error("worker_cannot_start", worker=1, problem='port "9" is in use', where="")
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'error    worker_cannot_start worker=1 problem="port \\"9\\" is in use" where=""\n'


@pytest.mark.parametrize(
    ("form", "expected"),
    [("text", 'addresses="127.0.0.1:1, 127.0.0.1:2"'), ("json", '"addresses": ["127.0.0.1:1", "127.0.0.1:2"]')],
)
def test_a_list_is_a_text_for_people_and_a_list_for_machines(form: Format, expected: str) -> None:
    """Its items follow each other, without the marks of a programming language."""
    stream = io.StringIO()
    configure_logs(form=form, stream=stream)
    structlog.get_logger().info("serving", addresses=["127.0.0.1:1", "127.0.0.1:2"])
    assert expected in stream.getvalue()


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_people_read_text_and_machines_json(stream: io.StringIO) -> None:
    """Without a wish the stream decides: text on a terminal, JSON elsewhere."""
    configure_logs(stream=stream)
    structlog.get_logger().info("started")
    assert stream.getvalue().startswith("{") != stream.isatty()


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_01_no_value_forges_a_line(form: Format) -> None:
    """Event, keys, values, other libraries' messages: each stays in its line, printable."""
    stream = io.StringIO()
    configure_logs(form=form, stream=stream)
    log = structlog.get_logger()
    log.error(HOSTILE)
    log.error("event", problem=HOSTILE)
    log.error("event", **{HOSTILE: 1})
    log.error("event", problem=[HOSTILE, HOSTILE.encode()])
    logging.getLogger("some.library").error("about %s", HOSTILE)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


def test_log_01_json_gives_the_same_text_back() -> None:
    """Escaping loses nothing."""
    stream = io.StringIO()
    configure_logs(form="json", stream=stream)
    structlog.get_logger().error("event", problem=HOSTILE)
    assert json.loads(stream.getvalue())["problem"] == HOSTILE


def test_log_01_no_traceback_forges_a_line() -> None:
    """In text a traceback is indented, so an error's message cannot begin a line of the log."""
    stream = io.StringIO()
    configure_logs(form="text", stream=stream)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().error("event", exc_info=True)
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("event")
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_a_line_of_a_file_is_shown_below_its_problem() -> None:
    """On a terminal; the lines are indented, and only what can be seen is in them."""
    stream = io.StringIO()
    configure_logs(form="text", stream=stream)
    structlog.get_logger().error("event", problem="a.yaml:1:1: unknown", source="1 | x\x1b[0m: 1\n  | ^")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith('event problem="a.yaml:1:1: unknown"')
    assert others == ["    1 | x\\x1b[0m: 1", "      | ^"]


def test_an_exception_is_one_field_in_json() -> None:
    """A traceback does not break the line."""
    stream = io.StringIO()
    configure_logs(form="json", stream=stream)
    try:
        raise ValueError("bad")
    except ValueError:
        structlog.get_logger().error("event", exc_info=True)
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: bad")


def test_the_level_is_ours_and_of_others_only_warnings_show() -> None:
    """Libraries that tell of each request or connection stay silent."""
    stream = io.StringIO()
    configure_logs("debug", "json", stream=stream)
    structlog.get_logger().debug("ours")
    logging.getLogger("httpx").info("a request")
    logging.getLogger("httpx").warning("trouble")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("logger")) for line in lines] == [("ours", None), ("trouble", "httpx")]


def test_warnings_of_python_are_log_lines() -> None:
    """What a library deprecates does not stand between the lines."""
    stream = io.StringIO()
    configure_logs(form="json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    [line] = stream.getvalue().splitlines()
    assert "UserWarning: old" in json.loads(line)["event"]


def test_below_the_level_nothing_is_written() -> None:
    """A quiet server is quiet."""
    stream = io.StringIO()
    configure_logs("error", stream=stream)
    structlog.get_logger().warning("event")
    logging.getLogger("httpx").warning("trouble")
    assert stream.getvalue() == ""


def test_what_json_cannot_carry_is_shown_as_python_does() -> None:
    """A log call never fails for its values."""
    stream = io.StringIO()
    configure_logs(form="json", stream=stream)
    structlog.get_logger().info("event", problem={"a": {1}, (1, 2): 3}, where=b"\xff")
    record = json.loads(stream.getvalue())
    assert (record["problem"], record["where"]) == ({"a": "{1}"}, "b'\\xff'")
