"""Policy files with some edits, in their canonical form, with the comments of what stays."""

import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from authz_server.documents.formatting.entries import Entry
from authz_server.documents.load import parse
from authz_server.documents.tree import Node
from authz_server.policy.formatting import rewritten
from authz_server.policy.parsing import ParsedFile
from authz_server.pruning.narrowing import Edit


class CannotEdit(Exception):
    """What came out would not say what it should."""


def edited(parsed: ParsedFile, edits: Iterable[Edit]) -> bytes:
    """The file after these edits, whose places are whole paths in the document. Raises CannotEdit."""
    # From behind, so that the positions of what is still to go stay.
    ordered = sorted(edits, key=lambda edit: (edit.becomes is None, _positions(edit)), reverse=True)
    ordered.sort(key=lambda edit: edit.becomes is None)
    expected = deepcopy(parsed.document.value)
    for edit in ordered:
        _change_value(expected, edit)
    content = rewritten(parsed.document, parsed.kind, lambda root: _change(root, ordered))
    again, problems = parse(content, parsed.file.shown)
    if problems or again is None or again.value != expected:
        raise CannotEdit(f"{parsed.file.shown} cannot be edited without changing more")
    return content


def _positions(edit: Edit) -> tuple[int, ...]:
    return tuple([step for step in edit.place if isinstance(step, int)])


def _change_value(value: Any, edit: Edit) -> None:  # noqa: ANN401 - any document
    *above, last = edit.place
    for step in above:
        value = value[step]
    if edit.becomes is None:
        del value[last]
    else:
        value[last] = _merged(value.get(last) or [], edit.becomes)


def _merged(old: Sequence[object], wanted: Sequence[object]) -> list[object]:
    return [each for each in old if each in wanted] + [each for each in wanted if each not in old]


def _change(root: Entry, edits: Sequence[Edit]) -> None:
    for edit in edits:
        parent = root
        for step in edit.place[:-1]:
            parent = next(entry for entry in parent.entries if entry.path[-1] == step)
        found = next((entry for entry in parent.entries if entry.path[-1] == edit.place[-1]), None)
        if edit.becomes is None:
            parent.entries = [entry for entry in parent.entries if entry is not found]
        elif found is None:
            parent.entries.append(Entry(_field(str(edit.place[-1]), edit.becomes), edit.place))
        else:
            # What stays keeps its comments.
            old = [entry.node.value for entry in found.entries]
            new = _field("new", [each for each in edit.becomes if each not in old])
            kept = [entry for entry in found.entries if entry.node.value in edit.becomes]
            found.entries = kept + [Entry(node, (*edit.place, step)) for step, node in new.children.items()]


def _field(name: str, values: Sequence[object]) -> Node:
    document, _ = parse(json.dumps({name: list(values)}, ensure_ascii=False), name)
    assert document is not None  # noqa: S101 - JSON is YAML
    return document.root.children[name]
