"""`authz policy new`: the first version of a policy file."""

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from authz_server.cli import written
from authz_server.cli.configuration import from_here, load, print_problems
from authz_server.cli.values import alone, valid
from authz_server.documents.problem import Problem
from authz_server.policy import values
from authz_server.policy.files import no_namespace

SUFFIXES = (".yaml", ".yml")
_CALLED = "policies"
"""What directories of policies are called that no configuration names."""


class Kind(StrEnum):
    """What can be started."""

    SERVICE = "service"
    GUARDRAILS = "guardrails"
    ROLES = "roles"
    NAMESPACE = "namespace"
    TESTS = "tests"


_OPTIONS = {
    Kind.SERVICE: ("name", "host", "path-prefix", "workload", "issuer", "scope", "group", "method", "path"),
    Kind.GUARDRAILS: ("method", "path"),
    Kind.ROLES: ("role", "workload", "issuer", "scope", "group"),
    Kind.NAMESPACE: ("host", "trust-domain"),
    Kind.TESTS: ("host", "path-prefix", "workload", "issuer", "scope", "group", "method", "path"),
}
"""What each kind is made of."""
_KINDS_OF_VALUES: dict[str, Any] = {
    "name": values.Name,
    "role": values.Name,
    "host": values.HostPattern,
    "trust-domain": values.TrustDomain,
    "path-prefix": values.PathPrefix,
    "workload": values.SpiffePattern,
    "issuer": values.Text,
    "scope": values.Text,
    "group": values.Text,
    "method": values.Method,
    "path": values.PathTemplate,
}
_ALONE = {"host": "host", "workload": "workload", "scope": "scope", "method": "method", "trust-domain": "trust domain"}
"""What has no comma and no space: who writes one means several. Groups and paths may have them."""
_QUESTIONS = {
    "host": "Which host does it speak for",
    "role": "What is the role called",
    "workload": "Which workload calls it (a SPIFFE ID or pattern; empty for none)",
    "issuer": "Whose users call it (an issuer of the configuration; empty for no users)",
    "method": "Which methods, separated by spaces (empty for all)",
    "path": "Which paths, separated by spaces (empty for all)",
    "trust-domain": "Which trust domain are its workloads of (empty for any)",
}
"""Asked on a terminal, in this order."""
_REQUIRED = frozenset({"host", "role"})
_ONE_OF = {
    Kind.GUARDRAILS: ("method", "path"),
    Kind.ROLES: ("workload", "issuer"),
    Kind.NAMESPACE: ("host", "trust-domain"),
}

Values = dict[str, list[str]]


def _kind(text: str) -> Kind:
    """With a message of ours: the library's begins with "Value error"."""
    try:
        return Kind(text)
    except ValueError:
        raise typer.BadParameter(f"`{text}` is none of {', '.join(Kind)}", param_hint="KIND") from None


def new(
    kind: Annotated[
        Kind, typer.Argument(parser=_kind, metavar="KIND", help="service, guardrails, roles, namespace or tests.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where; the folders on the way are its namespace.")],
    host: Annotated[list[str] | None, typer.Option(help="A host that it speaks for; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="The service; without it, the name of the file.")] = None,
    path_prefix: Annotated[
        str | None, typer.Option(metavar="PATH", help="The service speaks for paths below it only.")
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option(metavar="SPIFFE_ID", help="Who calls: a SPIFFE ID or pattern; repeatable.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Who calls: users of this issuer.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope that these users need; repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group of which they may be; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="What is called; repeatable.")] = None,
    path: Annotated[list[str] | None, typer.Option(help="A path template; repeatable.")] = None,
    role: Annotated[str | None, typer.Option(help="The name of the role.")] = None,
    trust_domain: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of the workloads of the namespace; repeatable.")
    ] = None,
) -> None:
    """Start a policy file, of a service with its first tests beside it.

    On a terminal, what is missing is asked for. Nothing is overwritten. What is written is valid and formatted.
    The folders between the directory of policies and FILE are the namespace. That directory is the configured one, else
    the nearest folder called `policies`, else the first folder on the way. Exit codes: 0 written, 1 not written,
    2 wrong usage.

    \b
    Examples:
      authz policy new service policies/shop/orders.yaml
      authz policy new service policies/shop/orders.yaml --host orders.shop.example \\
          --workload "spiffe://shop.example/ns/front/**" --method GET --path "/orders/{order_id}"
      authz policy new guardrails policies/guardrails.yaml --method TRACE
      authz policy new roles policies/shop/roles.yaml --role support --issuer corp --group support
      authz policy new namespace policies/shop/namespace.yaml --host "*.shop.example" --trust-domain shop.example
    """
    given = {
        "host": host,
        "name": name,
        "path-prefix": path_prefix,
        "workload": workload,
        "issuer": issuer,
        "scope": scope,
        "group": group,
        "method": method,
        "path": path,
        "role": role,
        "trust-domain": trust_domain,
    }
    _check_name(kind, file)
    known = {option: [texts] if isinstance(texts, str) else list(texts) for option, texts in given.items() if texts}
    for option in known:
        if option not in _OPTIONS[kind]:
            raise typer.BadParameter(f"a file of kind {kind} has none", param_hint=f"--{option}")
    found = _complete(kind, known)
    for option, texts in found.items():
        found[option] = [_valid(option, text) for text in texts]
    files = _files(kind, file, found)
    _refuse_existing(files)
    _write(files)


def _valid(option: str, text: str) -> str:
    name = f"--{option}"
    return valid(_KINDS_OF_VALUES[option], alone(text, name, _ALONE[option]) if option in _ALONE else text, name)


def _check_name(kind: Kind, file: Path) -> None:
    if file.suffix not in SUFFIXES:
        raise typer.BadParameter("names of policy files end with .yaml", param_hint="FILE")
    if file.stem.endswith("_test") != (kind == Kind.TESTS):
        hint = "files of tests, and only they, end with _test.yaml"
        raise typer.BadParameter(hint, param_hint="FILE")
    for folder in _namespace(file):
        if not values.is_name(folder):
            raise typer.BadParameter("; ".join(no_namespace(folder)), param_hint="FILE")


def _namespace(file: Path) -> tuple[str, ...]:
    """The folders between the directory of policies and the file.

    Where nothing says which one that is, it is the first folder on the way from here. Elsewhere nobody can tell.
    """
    place, here, root = _place(file), _place(Path()), _root(file)
    if root is not None:
        return place.relative_to(root).parts[:-1]
    return place.relative_to(here).parts[1:-1] if place.is_relative_to(here) else ()


def _complete(kind: Kind, known: Values) -> Values:
    """With what is missing, asked on a terminal. Where options say something, only what must be there is asked for."""
    found = dict(known)
    for option, question in _QUESTIONS.items():
        if option in _OPTIONS[kind] and option not in found and (not known or option in _REQUIRED):
            found |= _asked(option, question) if sys.stdin.isatty() else {}
    for option in _REQUIRED & set(_OPTIONS[kind]) - ({"host"} if kind == Kind.NAMESPACE else set()):
        if option not in found:
            raise typer.BadParameter(f"a file of kind {kind} needs it", param_hint=f"--{option}")
    if kind in _ONE_OF and not any(option in found for option in _ONE_OF[kind]):
        options = " or ".join(f"--{option}" for option in _ONE_OF[kind])
        raise typer.BadParameter(f"a file of kind {kind} needs one of them", param_hint=options)
    if "issuer" not in found and (users := [option for option in ("scope", "group") if option in found]):
        raise typer.BadParameter("users are of an issuer: --issuer", param_hint=f"--{users[0]}")
    return found


def _asked(option: str, question: str) -> Values:
    answer = str(typer.prompt(question, default=None if option in _REQUIRED else "", show_default=False))
    return {option: answer.split()} if answer.split() else {}


def _files(kind: Kind, file: Path, found: Values) -> dict[Path, dict[str, Any]]:
    """The documents by the files that they go to."""
    from authz_server.policy import starters

    access = starters.Access(
        workloads=found.get("workload", ()),
        issuer=_one(found, "issuer"),
        scopes=found.get("scope", ()),
        groups=found.get("group", ()),
        methods=found.get("method", ()),
        paths=found.get("path", ()),
    )
    hosts, prefix = found.get("host", []), _one(found, "path-prefix")
    if kind == Kind.GUARDRAILS:
        return {file: starters.guardrails(access)}
    if kind == Kind.ROLES:
        return {file: starters.roles(_one(found, "role"), access)}
    if kind == Kind.NAMESPACE:
        return {file: starters.namespace(hosts, found.get("trust-domain", []))}
    if kind == Kind.TESTS:
        return {file: starters.service_tests(hosts, access, prefix)}
    name = _one(found, "name") or valid(values.Name, file.stem, "--name")
    return {
        file: starters.service(name, hosts, access, prefix),
        file.with_name(f"{file.stem}_test{file.suffix}"): starters.service_tests(
            hosts, access, prefix, rule=access.rule_id
        ),
    }


def _refuse_existing(files: Iterable[Path]) -> None:
    if there := [str(file) for file in files if file.exists() or file.is_symlink()]:
        typer.echo(f"authz: {', '.join(there)}: there already; nothing was written", err=True)
        raise typer.Exit(1)


def _write(files: dict[Path, dict[str, Any]]) -> None:
    from authz_server.policy.formatting import Unformattable
    from authz_server.policy.starters import text_of

    try:
        contents = {file: text_of(document, file) for file, document in files.items()}
    except Unformattable as error:
        print_problems(error.problems)
        raise typer.Exit(1) from None
    if problems := _beside(contents):
        print_problems(problems)
        typer.echo("authz: nothing was written", err=True)
        raise typer.Exit(1)
    try:
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            written.create(file, content)
            typer.echo(str(file))
    except OSError as error:
        typer.echo(f"authz: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


def _beside(contents: dict[Path, bytes]) -> list[Problem]:
    """What would be wrong with the directory and is not now, such as a host that another service has."""
    from authz_server.policy.files import policy_file, read_directory
    from authz_server.policy.loader import load_files

    file = next(iter(contents))
    root = from_here(_root(file) or _place(file).parent)
    if len(contents) == 1 or not root.is_dir():
        return []
    files, _ = read_directory(root)
    added = [
        policy_file(root, _place(file).relative_to(_place(root)).as_posix(), content)
        for file, content in contents.items()
    ]
    # Of two files that claim the same, the later one is complained about, whichever that is.
    known = set(load_files(root, files, ()).problems)
    return [problem for problem in load_files(root, [*files, *added], ()).problems if problem not in known]


def _root(file: Path) -> Path | None:
    """The directory of policies that the file is in: the configured one, or the nearest one that is called so."""
    place, settings = _place(file), load(None).settings
    configured = None if settings is None else _place(settings.policy_directory)
    if configured is not None and place.is_relative_to(configured):
        return configured
    return next((folder for folder in place.parents if folder.name == _CALLED), None)


def _place(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _one(found: Values, option: str) -> str:
    return found[option][0] if option in found else ""
