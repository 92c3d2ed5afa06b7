"""Narrower policies that are suggested: the patch, and what was checked of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import typer

from authz_server.cli.configuration import counted
from authz_server.cli.used import where
from authz_server.cli.written import put
from authz_server.control.settings import Settings
from authz_server.control.worker_settings import identity_settings
from authz_server.documents.source import printable_line
from authz_server.policy.files import PolicyFile, policy_file, read_directory
from authz_server.policy.loader import load_files
from authz_server.pruning.narrowing import Edit, Narrowing
from authz_server.pruning.patch import patch_of
from authz_server.pruning.suggestion import Suggestion
from authz_server.testing.gate import Gate

NOTHING, OFFERED = 0, 1
MAX_TESTS = 5
"""That are named."""


def offer(suggestion: Suggestion, directory: Path, settings: Settings, output: Path | None, *, as_json: bool) -> int:
    """Write the patch, and say what was checked of it; the exit code."""
    patch = patch_of(directory, suggestion.files)
    checks = list(_checked(suggestion, _failing(suggestion, directory, settings))) if suggestion.narrowings else []
    if as_json:
        narrowed = {each.rule: list(_changes(each)) for each in suggestion.narrowings}
        about = {"patch": patch, "narrowed": narrowed, "left_out": suggestion.left_out, "checks": checks}
        patch = msgspec.json.encode(about).decode() + "\n"
    else:
        lines = _told(suggestion, checks)
        typer.echo("\n".join([printable_line(line) for line in lines]), err=True)
    if output is None:
        typer.echo(patch, nl=False)
    elif suggestion.narrowings or as_json:
        try:
            put(output, patch.encode())
        except OSError as error:
            raise typer.BadParameter(f"it cannot be written: {error.strerror}", param_hint="--output") from None
    return OFFERED if suggestion.narrowings else NOTHING


def _told(suggestion: Suggestion, checks: Sequence[str]) -> Iterator[str]:
    if suggestion.narrowings:
        yield f"{counted(len(suggestion.narrowings), 'rule')} could be narrower"
        for narrowing in suggestion.narrowings:
            yield f"  {narrowing.rule}: {'; '.join(_changes(narrowing))}"
    else:
        yield "there is nothing to narrow"
    if suggestion.left_out:
        yield "not narrowed as far as nobody used them lately"
        for rule, why in suggestion.left_out.items():
            yield f"  {rule}: {why}"
    if checks:
        yield "checked"
        yield from (f"  {line}" for line in checks)


def _changes(narrowing: Narrowing) -> Iterator[str]:
    return map(_change, narrowing.edits)


def _change(edit: Edit) -> str:
    if edit.becomes is None:
        return f"{where(edit.place)} removed"
    values = [value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in edit.becomes]
    return f"{where(edit.place)} becomes {', '.join(values)}"


def _checked(suggestion: Suggestion, failing: list[str]) -> Iterator[str]:
    compared, replayed = suggestion.comparison, suggestion.replayed
    closed = sum(flip.old.allowed for flip in compared.flips)
    yield f"compared with the policies as they are: nothing is opened, {counted(closed, 'kind')} of requests closed"
    for cut in compared.cut:
        yield f"not compared: {cut}"
    if replayed.records:
        since = replayed.first[:10]
        yield f"replayed {counted(replayed.records, 'record')} since {since} of what was allowed: none would be denied"
    else:
        yield "not replayed: there is no record of what was allowed"
    for why, count in replayed.undecidable.most_common():
        yield f"not replayed: {counted(count, 'record')}, undecidable: {why}"
    if failing:
        shown = f"{', '.join(failing[:MAX_TESTS])}{' and more' if len(failing) > MAX_TESTS else ''}"
        yield f"tests that fail with it, because they expect what is no longer allowed: {shown}"


def _failing(suggestion: Suggestion, directory: Path, settings: Settings) -> list[str]:
    """The tests of the policies, as many as are told, that fail with the suggestion alone."""
    files = read_directory(directory)[0]
    changed = [
        policy_file(directory, file.path, suggestion.files[file.path][1]) if file.path in suggestion.files else file
        for file in files
    ]
    before, after = (_failures(directory, each, settings) for each in (files, changed))
    return [test for test in after if test not in before]


def _failures(directory: Path, files: list[PolicyFile], settings: Settings) -> list[str]:
    gate = Gate(identity_settings(settings), settings.bodies.max, settings.reload.tests_limit)
    problems = load_files(directory, files, (), judge=gate).problems
    return [problem.place for problem in problems if problem.code == "test_failed"]
