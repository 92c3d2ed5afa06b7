"""A document as what can be moved as a whole: fields and items, each with its comments."""

from collections.abc import Iterator

from authz_server.documents.source import Source
from authz_server.documents.tree import Document, FieldPath, Node

BLANK = ""
"""Among comments: an empty line."""


class Entry:
    """A field of a mapping, an item of a list, or the whole document."""

    def __init__(self, node: Node, path: FieldPath) -> None:
        self.node = node
        self.path = path
        self.before: list[str] = []
        """Comments on lines of their own above it, and empty lines between these."""
        self.behind = BLANK
        """The comment at the end of its line."""
        self.at_end: list[str] = []
        """Comments behind the last of its fields or items."""
        self.apart = False
        """An empty line stands above it and its comments."""
        self.entries = [Entry(child, (*path, step)) for step, child in node.children.items()]

    @property
    def is_field(self) -> bool:
        """Whether it has a name."""
        return self.node.key is not None

    @property
    def start(self) -> int:
        """Index of its first character; of an item behind its dash."""
        return self.node.start if self.node.key is None else self.node.key.start

    @property
    def line(self) -> int:
        """The line on which it starts, from 0."""
        return self.node.source.position_at(self.start).line - 1

    @property
    def end(self) -> int:
        """Index behind its last character."""
        if self.node.style == "block" and self.entries:
            # The parser ends a block where the next thing begins, behind the comments that follow.
            return self.entries[-1].end
        return self.node.end

    @property
    def column_within(self) -> int:
        """The column at which its fields or the dashes of its items stand, from 0."""
        return self.node.source.position_at(self.node.start).column - 1

    def all_below(self) -> Iterator["Entry"]:
        """Everything in it, in the order of the text."""
        for entry in self.entries:
            yield entry
            yield from entry.all_below()


def entries_of(document: Document) -> Entry:
    """The whole document; what stands above its entries is not known yet."""
    return Entry(document.root, ())


def mark_groups(root: Entry, source: Source) -> None:
    """See which entries an empty line sets apart, where no comment stands above them."""
    for entry in root.all_below():
        entry.apart = entry.line > 0 and is_blank(source, entry.line - 1)


def is_blank(source: Source, line: int) -> bool:
    """Whether the line, from 0, is empty or there is none."""
    return not source.line(line + 1).strip()
