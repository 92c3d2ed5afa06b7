"""Entries as lines of text."""

from collections.abc import Callable, Sequence

from authz_server.documents.formatting import scalars
from authz_server.documents.formatting.entries import BLANK, Entry
from authz_server.documents.tree import FieldPath

WIDTH = 100
"""Lists and mappings that fit stand on one line; texts are not broken."""
_STEP = 2


class Style:
    """What a kind of document adds to the form that all have."""

    def __init__(
        self,
        order: Callable[[FieldPath], Sequence[str]],
        *,
        always_block: Callable[[FieldPath], bool],
        set_apart: Callable[[FieldPath], bool],
        quoted_items: frozenset[str],
    ) -> None:
        self.order = order
        """The fields of the mapping at a path in their order; of others the author's order stays."""
        self.always_block = always_block
        """Whether what stands at the path has a line for each of its parts."""
        self.set_apart = set_apart
        """Whether an empty line stands above what is at the path."""
        self.quoted_items = quoted_items
        """Lists of patterns: their texts are always in quotes."""


def lines_of(root: Entry, heading: Sequence[str], style: Style) -> list[str]:
    """The lines of a document; `heading` are the comments above all."""
    layout = _Layout(style)
    layout.hoist(root)
    return [*heading, *layout.collection(root, 0)]


class _Layout:
    def __init__(self, style: Style) -> None:
        self._style = style

    def hoist(self, entry: Entry) -> None:
        """Move comments above the first part of an item above the item: its dash stands on the line of that part."""
        for each in entry.entries:
            self.hoist(each)
        if entry.entries and entry.path and not entry.is_field:
            first = self._ordered(entry)[0]
            entry.before += first.before
            first.before = []

    def collection(self, entry: Entry, indent: int) -> list[str]:
        """The fields or items, a line or more for each, and the comments behind the last."""
        lines: list[str] = []
        for number, each in enumerate(self._ordered(entry)):
            if number and (each.apart or self._style.set_apart(each.path)):
                lines.append(BLANK)
            lines += self._entry(each, indent)
        return lines + _comments(entry.at_end, indent)

    def _ordered(self, entry: Entry) -> list[Entry]:
        if not isinstance(entry.node.value, dict):
            return entry.entries
        rank = {name: number for number, name in enumerate(self._style.order(entry.path))}
        return sorted(entry.entries, key=lambda each: rank.get(str(each.path[-1]), len(rank)))

    def _entry(self, entry: Entry, indent: int) -> list[str]:
        mark = f"{scalars.name(entry.node)}:" if entry.is_field else "-"
        above = _comments(entry.before, indent)
        behind = f"  {entry.behind}" if entry.behind else ""
        begin = " " * indent + mark
        if not isinstance(entry.node.value, dict | list):
            return above + _with_comment(self._scalar(entry, begin, indent), entry, behind)
        one_line = self._one_line(entry)
        if one_line is not None and len(begin) + 1 + len(one_line) <= WIDTH:
            return [*above, f"{begin} {one_line}{behind}"]
        if entry.is_field:
            return [*above, begin + behind, *self.collection(entry, indent + _STEP)]
        return above + self._item(entry, indent)

    def _item(self, entry: Entry, indent: int) -> list[str]:
        below = self.collection(entry, indent + _STEP)
        dash = " " * indent + "- " + below[0][indent + _STEP :]
        # No line is the item's own, behind which its comment could stand.
        return [*_comments([entry.behind] if entry.behind else [], indent), dash, *below[1:]]

    def _scalar(self, entry: Entry, begin: str, indent: int) -> list[str]:
        if scalars.is_multiline(entry.node):
            first, *rest = scalars.lines_of(entry.node, indent + _STEP)
            return [f"{begin} {first}", *rest]
        return [f"{begin} {scalars.one_line(entry.node, flow=False, quote=self._is_quoted(entry))}"]

    def _one_line(self, entry: Entry) -> str | None:
        """A list or mapping between brackets or braces, if it may stand so."""
        node = entry.node
        if entry.entries and (self._style.always_block(entry.path) or entry.at_end):
            return None
        if isinstance(node.value, list) and len(entry.entries) > 1 and isinstance(node.value[0], dict):
            return None
        parts = [self._part(each) for each in self._ordered(entry)]
        texts = [part for part in parts if part is not None]
        if len(texts) < len(parts):
            return None
        return f"{{{', '.join(texts)}}}" if isinstance(node.value, dict) else f"[{', '.join(texts)}]"

    def _part(self, entry: Entry) -> str | None:
        if entry.before or entry.behind:
            return None
        if isinstance(entry.node.value, dict | list):
            value = self._one_line(entry)
        elif scalars.is_multiline(entry.node):
            value = None
        else:
            value = scalars.one_line(entry.node, flow=True, quote=self._is_quoted(entry))
        return f"{scalars.name(entry.node)}: {value}" if value is not None and entry.is_field else value

    def _is_quoted(self, entry: Entry) -> bool:
        return not entry.is_field and len(entry.path) > 1 and entry.path[-2] in self._style.quoted_items


def _comments(lines: Sequence[str], indent: int) -> list[str]:
    return [" " * indent + line if line else BLANK for line in lines]


def _with_comment(lines: list[str], entry: Entry, behind: str) -> list[str]:
    # Behind the last line of a block it would be a part of the text.
    at = 0 if entry.node.style in ("|", ">") else -1
    lines[at] += behind
    return lines
