"""Write what is made of the settings' models: schema/config.schema.json, and the table in docs/configuration.md."""

import sys
from pathlib import Path

from authz_server.control.settings.reference import json_schema, table

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schema" / "config.schema.json"
PAGE = ROOT / "docs" / "configuration.md"
_BEGIN = "<!-- generated from the settings' models: run tools/generate_config_docs.py -->\n"
_END = "<!-- end of what is generated -->\n"


def page(current: str) -> str:
    """The page with its table made anew. Raises ValueError where the marks around the table are missing."""
    before, begin, rest = current.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has lost the marks around its table")
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def main() -> int:
    """Write both files; returns the exit code."""
    SCHEMA.write_text(json_schema(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
