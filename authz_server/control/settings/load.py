"""The configuration from its file and the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from authz_server.control.settings.environment import overlay
from authz_server.control.settings.root import Settings
from authz_server.documents.load import parse
from authz_server.documents.problem import Position, Problem, told_once
from authz_server.documents.source import MAX_BYTES
from authz_server.documents.tree import Document
from authz_server.documents.validate import validate

DEFAULT_FILE = "authz.yaml"


class LoadedSettings(NamedTuple):
    """`settings` is None where there are problems; `file` is None where there is no file.

    `document` knows where each setting stands, in the file or the environment.
    """

    settings: Settings | None
    problems: list[Problem]
    file: Path | None
    document: Document | None = None


def load_settings(file: Path | None, environment: Mapping[str, str]) -> LoadedSettings:
    """Read the configuration; without a named file, `authz.yaml` in the working directory if it is there.

    The environment beats the file. A relative path is relative to the file that names it, and in the environment to
    the working directory; defaults are relative to the file, if there is one.
    """
    if file is None and Path(DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    content: bytes = b""
    if file is not None:
        try:
            with file.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            message = f"the configuration cannot be read: {error.strerror or error}"
            return LoadedSettings(None, [Problem(Position(str(file), 1, 1), "unreadable_file", message)], file)
    document, problems = parse(content, str(file or DEFAULT_FILE))
    if document is None:
        return LoadedSettings(None, problems, file)
    if not isinstance(document.value, dict):
        problems.append(document.problem((), "wrong_type", "the configuration is a mapping of keys"))
        return LoadedSettings(None, problems, file, document)
    problems += overlay(document, environment)
    base = Path.cwd() if file is None else file.absolute().parent
    settings, more = validate(document, Settings, {"base": base})
    problems = sorted(told_once([*problems, *more]), key=lambda problem: problem.position)
    return LoadedSettings(None if problems else settings, problems, file, document)
