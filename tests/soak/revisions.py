"""The policies that have been written, by revision, so that every decision can be held against those that it names."""

import json
from pathlib import Path
from random import Random
from typing import NamedTuple

from authz_server.policy.files import read_directory, revision
from tests.reference.asked import Documents
from tests.reference.evaluator import evaluate
from tests.reference.worlds import CONDITIONS, World
from tests.soak.requests import draw

KEPT = 3
"""Directories that are kept; the server may still read the one before."""
SAMPLE, LIVELY = 40, 0.15
"""Requests that a world is tried with, and the share of them that it has to allow."""


class Revision(NamedTuple):
    """Policies that are good, and their place in the order in which they were written."""

    number: int
    documents: Documents


class Revisions:
    """Puts random worlds where the server looks, each in one step, by a link that is replaced."""

    def __init__(self, directory: Path, chance: Random) -> None:
        self._link = directory / "policies"
        self._worlds = directory / "worlds"
        self._chance = chance
        self._number = 0
        self._written: list[Path] = []
        self.good: dict[str, Revision] = {}
        """By revision."""
        self.write_good()

    def write_good(self) -> str:
        """Another world; gives its revision."""
        documents = lively_world(self._chance)
        directory, written = self._write(documents)
        # Known before it can be reported.
        self.good[written] = Revision(len(self.good), documents)
        self._show(directory)
        return written

    def write_broken(self) -> str:
        """Another world with a mistake in it, which must change nothing; gives what is wrong."""
        documents: dict[str, object] = dict(World(self._chance.getrandbits(32)).documents)
        mistakes: dict[str, object] = {
            "no YAML": "kind: [",
            "an unknown kind": {"kind": "servise", "name": "a", "hosts": ["a.example"], "rules": []},
            "an unknown role": _service({"id": "a", "effect": "allow", "from": [{"roles": ["nobody"]}]}),
            "a wrong condition": _service({"id": "a", "effect": "allow", "from": "anyone", "when": "request.metod"}),
            "nothing": "",
        }
        what = self._chance.choice(list(mistakes))
        documents[self._chance.choice(["zz.yaml", "broken/zz.yaml"])] = mistakes[what]
        self._show(self._write(documents)[0])
        return what

    def _write(self, documents: Documents | dict[str, object]) -> tuple[Path, str]:
        self._number += 1
        directory = self._worlds / f"{self._number:06}"
        for name, document in documents.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(document if isinstance(document, str) else json.dumps(document))
        files, problems = read_directory(directory)
        assert not problems, problems
        return directory, revision(files)

    def _show(self, directory: Path) -> None:
        draft = self._link.with_name(".policies")
        draft.symlink_to(directory)
        draft.replace(self._link)
        self._forget(directory)

    def _forget(self, directory: Path) -> None:
        self._written.append(directory)
        for old in self._written[:-KEPT]:
            for path in sorted(old.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            old.rmdir()
        self._written = self._written[-KEPT:]


def lively_world(chance: Random) -> Documents:
    """A world that allows some of what is asked: where all is denied, nobody notices much."""
    while True:
        documents = World(chance.getrandbits(32)).documents
        asked = [draw(chance, port=0) for _ in range(SAMPLE)]
        allowed = [one for one in asked if evaluate(documents, one, CONDITIONS).reason == "allowed"]
        if len(allowed) >= SAMPLE * LIVELY:
            return documents


def _service(rule: dict[str, object]) -> dict[str, object]:
    return {"kind": "service", "name": "zz", "hosts": ["zz.example"], "rules": [rule]}
