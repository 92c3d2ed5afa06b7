"""Policies with some of their rules narrowed: the files that change, and what all of them make."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.policy.files import PolicyFile, policy_file
from authz_server.policy.loader import load_files
from authz_server.policy.parsing import parse_policy
from authz_server.policy.plan import Plan
from authz_server.policy.testcases import PolicyTests
from authz_server.pruning.edits import CannotEdit, edited
from authz_server.pruning.narrowing import Edit, Narrowing
from authz_server.testing.sources import sources_of


class Policies(Struct, frozen=True):
    """The policies that are to be narrowed; they have no error."""

    directory: Path
    files: Sequence[PolicyFile]
    plan: Plan


class Narrower:
    """Narrows the rules of one state of policies."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        parsed = [parse_policy(file)[0] for file in policies.files]
        self._documents = {each.file.path: each for each in parsed if each is not None}
        self._sources = sources_of(self._documents.values())

    def narrowed(self, narrowings: Iterable[Narrowing]) -> tuple[dict[str, tuple[bytes, bytes]], Plan]:
        """The files that change, by path, before and after, and what all of them make. Raises CannotEdit."""
        edits: dict[str, list[Edit]] = {}
        removed: set[str] = set()
        for narrowing in narrowings:
            source = self._sources[narrowing.rule]
            here = [Edit(("rules", source.index, *edit.place), edit.becomes) for edit in narrowing.edits]
            edits.setdefault(source.parsed.file.path, []).extend(here)
            removed.update(narrowing.rule for edit in narrowing.edits if not edit.place)
        for path, edit in self._tests_of(removed):
            edits.setdefault(path, []).append(edit)
        changed = {path: edited(self._documents[path], each) for path, each in edits.items()}
        directory = self._policies.directory
        files = [
            policy_file(directory, file.path, changed[file.path]) if file.path in changed else file
            for file in self._policies.files
        ]
        loaded = load_files(directory, files, ())
        if loaded.plan is None:
            first = loaded.problems[0]
            raise CannotEdit(f"that would be an error: {first.message} ({first.place})")
        return {path: (self._documents[path].file.content, content) for path, content in changed.items()}, loaded.plan

    def _tests_of(self, removed: set[str]) -> Iterator[tuple[str, Edit]]:
        """The tests that expect rules which are no longer there, and would be errors."""
        names = {rule.rpartition("/")[2] for rule in self._sources.keys() - removed}
        gone = removed | ({rule.rpartition("/")[2] for rule in removed} - names)
        for path, parsed in self._documents.items():
            if isinstance(parsed.model, PolicyTests):
                for index, case in enumerate(parsed.model.tests):
                    if case.expect.rule in gone:
                        yield path, Edit(("tests", index))
