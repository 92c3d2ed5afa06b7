"""`authz policy fmt`: policy files in one form, comments included."""

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from authz_server.cli import written
from authz_server.cli.configuration import ConfigOption, counted, load_or_exit, print_problems, there
from authz_server.documents.load import parse
from authz_server.documents.problem import Position, Problem
from authz_server.documents.source import MAX_BYTES
from authz_server.policy.files import PolicyFile, policy_file, read_directory

STDIN = "-"


def fmt(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Files, directories, or - for standard input; without any, the policies of the configuration.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a file is not formatted.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
    config: ConfigOption = None,
) -> None:
    """Format policy files, comments included.

    There is one order of fields, one indentation, one way to quote. What a file means stays the same: both forms are
    compiled and compared before one is written. Files with errors are left alone, and their errors shown. Exit codes:
    0 all good, 1 errors or (--check) files that are not formatted, 2 wrong usage.

    \b
    Examples:
      authz policy fmt                         ./policies
      authz policy fmt policies/shop/orders.yaml
      authz policy fmt --check --diff policies
      authz policy fmt - <orders.yaml          to standard output
    """
    if paths and STDIN in paths:
        if len(paths) > 1:
            raise typer.BadParameter("- stands alone", param_hint="PATH")
        raise typer.Exit(_standard_input(check=check, diff=diff))
    found = _Found()
    for path in paths or [str(there(load_or_exit(config).policy_directory, "PATH"))]:
        found.add(Path(path))
    results = [_result(path, file) for path, file in found.files]
    problems = [*found.problems, *(problem for result in results for problem in result.problems)]
    changed = [result for result in results if result.is_changed]
    if diff:
        for result in changed:
            typer.echo(_difference(result.file.shown, result.file.content, result.content), nl=False)
    elif not check:
        unwritten = {result.path: _write(result) for result in changed}
        problems += [problem for each in unwritten.values() for problem in each]
        changed = [result for result in changed if not unwritten[result.path]]
    if problems:
        print_problems(problems)
    typer.echo(_summary(changed, len(results), would=check or diff), err=True)
    raise typer.Exit(1 if problems or (check and changed) else 0)


class _Result(NamedTuple):
    path: Path
    file: PolicyFile
    content: bytes
    problems: Sequence[Problem] = ()

    @property
    def is_changed(self) -> bool:
        return self.content != self.file.content


class _Found:
    """The files that the command is about, each once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._files: dict[Path, PolicyFile] = {}

    @property
    def files(self) -> Iterator[tuple[Path, PolicyFile]]:
        yield from self._files.items()

    def add(self, path: Path) -> None:
        """A file, or all policy files below a directory; one that is not there is wrong usage."""
        if path.is_dir():
            files, problems = read_directory(path)
            self.problems += problems
            for file in files:
                self._files[path / file.path] = file
            return
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise typer.BadParameter(f"there is no file or directory {path}", param_hint="PATH") from None
        except OSError as error:
            self.problems.append(_problem(str(path), "unreadable_file", f"the file cannot be read: {error.strerror}"))
            return
        self._files[path] = policy_file(path.parent, path.name, content)


def _result(path: Path, file: PolicyFile) -> _Result:
    # Compiling conditions takes a moment to import, which other commands need not wait for.
    from authz_server.policy.formatting import Unformattable, format_policy

    try:
        return _Result(path, file, format_policy(file))
    except Unformattable as error:
        return _Result(path, file, file.content, error.problems)


def _standard_input(*, check: bool, diff: bool) -> int:
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    document, _ = parse(content, STDIN)
    # Tests stand in files of their own, by whose name they are known.
    is_tests = document is not None and isinstance(document.value, dict) and document.value.get("kind") == "tests"
    file = policy_file(Path(), "<stdin>_test.yaml" if is_tests else "<stdin>.yaml", content)
    result = _result(Path(), file)
    if result.problems:
        print_problems(result.problems)
    elif diff:
        typer.echo(_difference("<stdin>", content, result.content), nl=False)
    elif not check:
        sys.stdout.buffer.write(result.content)
    return 1 if result.problems or (check and result.is_changed) else 0


def _write(result: _Result) -> list[Problem]:
    try:
        written.replace(result.path, result.file.content, result.content)
    except OSError as error:
        hint = "run this as the user that it belongs to" if isinstance(error, PermissionError) else ""
        message = f"the file cannot be written: {error.strerror or error}"
        return [_problem(result.file.shown, "unwritable_file", message, hint)]
    return []


def _difference(name: str, before: bytes, after: bytes) -> str:
    old, new = (text.decode().splitlines(keepends=True) for text in (before, after))
    texts = difflib.unified_diff(old, new, fromfile=name, tofile=f"{name} (formatted)")
    return "".join(text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n" for text in texts)


def _summary(changed: Sequence[_Result], total: int, *, would: bool) -> str:
    names = "".join(f"{result.file.shown}\n" for result in changed)
    verb = "would be formatted" if would else "formatted"
    return f"{names}{counted(len(changed), 'file')} {verb}, {total - len(changed):,} left as they are"


def _problem(file: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(Position(file, 1, 1), code, message, hint)
