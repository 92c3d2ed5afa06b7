"""From a file to an instance of a model, with everything that is wrong with the file."""

from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from authz_server.documents.compose import compose
from authz_server.documents.problem import Position, Problem, told_once
from authz_server.documents.source import MAX_BYTES, decode
from authz_server.documents.tree import Document
from authz_server.documents.validate import validate

M = TypeVar("M", bound=BaseModel)


class Loaded(NamedTuple, Generic[M]):
    """`value` is None where there are problems; `document` knows the positions, where there is one."""

    value: M | None
    problems: list[Problem]
    document: Document | None = None


def parse(content: str | bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """A document without a model; an empty one is an empty mapping. `file` is the name that messages show."""
    source, problems = decode(content.encode(errors="surrogatepass") if isinstance(content, str) else content, file)
    return compose(source) if source else (None, problems)


def load(content: str | bytes, model: type[M], file: str) -> Loaded[M]:
    """A document as an instance of the model."""
    document, problems = parse(content, file)
    if document is None:
        return Loaded(None, problems)
    value, more = validate(document, model)
    problems = sorted(told_once([*problems, *more]), key=lambda problem: problem.position)
    return Loaded(None if problems else value, problems, document)


def load_file(path: Path, model: type[M], file: str | None = None) -> Loaded[M]:
    """The file at a path; that it cannot be read is a problem too."""
    name = file or str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        return Loaded(None, [Problem(Position(name, 1, 1), "unreadable_file", message)])
    return load(content, model, name)
