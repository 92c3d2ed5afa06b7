"""Files of JSON objects, a line each, that somebody else is writing."""

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read_json_lines(path: Path) -> list[Line]:
    """The whole lines of a file; none where there is no file yet."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
