"""What a model expects at a path: which fields, under which name messages speak of it, with which example."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from authz_server.documents.tree import FieldPath, Step


def models_at(model: type[BaseModel], path: FieldPath) -> list[type[BaseModel]]:
    """The models that the value at the path may be an instance of."""
    return [member for member in _members(_annotation_at(model, path)) if _is_model(member)]


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that documents use."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def example_at(model: type[BaseModel], path: FieldPath) -> str:
    """How the last field of the path may be written, as YAML, or ""."""
    if not path:
        return ""
    if isinstance(path[-1], int):
        examples = _examples(model, path[:-1])
        return f"`{_yaml(examples[0][0])}`" if examples and isinstance(examples[0], list) and examples[0] else ""
    examples = _examples(model, path)
    return f"`{path[-1]}: {_yaml(examples[0])}`" if examples else ""


def _examples(model: type[BaseModel], path: FieldPath) -> list[Any]:
    for owner in models_at(model, path[:-1]) if path else []:
        info = fields(owner).get(str(path[-1]))
        if info is not None and info.examples:
            return info.examples
    return []


def home_of(model: type[BaseModel], path: FieldPath, name: str) -> tuple[str, bool] | None:
    """The field, of the mapping at the path, that has `name` one level below; and whether in the items of a list."""
    for owner in models_at(model, path):
        for field in fields(owner):
            for below, in_items in (((field,), False), ((field, 0), True)):
                if any(name in fields(member) for member in models_at(model, (*path, *below))):
                    return field, in_items
    return None


def literals_at(model: type[BaseModel], path: FieldPath) -> list[str]:
    """The fixed texts that may stand at the path."""
    literal = [member for member in _members(_annotation_at(model, path)) if get_origin(member) is Literal]
    return [value for member in literal for value in get_args(member) if isinstance(value, str)]


def _annotation_at(model: type[BaseModel], path: FieldPath) -> Any:  # noqa: ANN401 - an annotation is any object
    annotation: Any = model
    for step in path:
        below = list(_below(annotation, step))
        if not below:
            return None
        annotation = Union[tuple(below)]  # noqa: UP007 - made at run time
    return annotation


def _below(annotation: Any, step: Step) -> Iterator[Any]:  # noqa: ANN401 - an annotation is any object
    for member in _members(annotation):
        if _is_model(member):
            info = fields(member).get(str(step))
            if info is not None:
                yield info.annotation
        elif get_origin(member) in (list, tuple, frozenset, set) and isinstance(step, int):
            yield get_args(member)[0]
        elif get_origin(member) is dict and isinstance(step, str):
            yield get_args(member)[1]


def _members(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation is any object
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:  # noqa: ANN401 - an annotation is any object
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _yaml(example: object) -> str:
    """An example as somebody would write it on one line."""
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in example.items()) + "}"
    if isinstance(example, list):
        return f"[{', '.join(map(_yaml, example))}]"
    if isinstance(example, bool):
        return str(example).lower()
    plain = isinstance(example, str) and not set(example) & set(":{}[],&*#?|<>=!%@`\"'")
    return str(example) if plain or not isinstance(example, str) else f'"{example}"'
