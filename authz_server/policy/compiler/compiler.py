"""Checks policy documents against each other and makes them into a plan."""

from collections.abc import Iterable, Mapping, Sequence

from authz_server.documents.problem import Problem
from authz_server.policy.compiler.callers import Callers, Folders
from authz_server.policy.compiler.conflicts import GUARDRAILS, conflicts, full_name
from authz_server.policy.compiler.declared import bodies_of_guardrails
from authz_server.policy.compiler.expectations import check_expectations, defined_by
from authz_server.policy.compiler.expressions import Expressions
from authz_server.policy.compiler.inputs import inputs_of, set_headers_of
from authz_server.policy.compiler.names import KnownNames, TooManyProblemsError
from authz_server.policy.compiler.namespaces import beyond_namespaces
from authz_server.policy.compiler.numbered import revision_number
from authz_server.policy.compiler.rules import RuleCompiler
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan, Rule, Service
from authz_server.policy.schema import Roles
from authz_server.policy.schema import Service as ServiceModel
from authz_server.policy.testcases import PolicyTests, check_tests

MAX_PROBLEMS = 1_000
"""That a load tells, beside the first hundred of each file."""


def compile_policies(
    files: Sequence[ParsedFile], revision: str, known: KnownNames | None = None, *, complete: bool = True
) -> tuple[Plan, list[Problem]]:
    """The plan of all files, which is good only where no problem comes with it.

    `known` are the names of a configuration, where there is one. Without `complete` some files could not be read, and
    roles that nobody defines may stand there.
    """
    compilation = _Compilation(files, known, complete=complete)
    try:
        return Plan(revision, compilation.services(), compilation.number()), compilation.problems
    except TooManyProblemsError:
        return Plan(revision, ()), compilation.problems


class _Compilation:
    def __init__(self, files: Sequence[ParsedFile], known: KnownNames | None, *, complete: bool) -> None:
        self.problems: list[Problem] = []
        # Folders above before those below, else by name: the order in which files were found never shows.
        self._files = sorted(files, key=lambda parsed: (len(parsed.file.folders), parsed.file.path))
        self._complete = complete
        self._callers = Callers(known, self._report, all_roles_known=complete)
        self._rules = RuleCompiler(
            self._callers,
            Expressions(known, self._report),
            self._report,
            known.written_headers if known else frozenset(),
        )

    def services(self) -> tuple[Service, ...]:
        """All services by name, each with the guardrails of its folders."""
        for parsed in self._files:
            if isinstance(parsed.model, Roles):
                self._callers.define(parsed.file.folders, parsed.document, parsed.model.roles)
            elif isinstance(parsed.model, PolicyTests):
                self._report_all(check_tests(parsed.model, parsed.document))
        self._check_expectations()
        self._callers.check_roles()
        self._report_all(conflicts(self._files))
        self._report_all(beyond_namespaces(self._files))
        guardrails = self._guardrails()
        services = [self._service(parsed, guardrails) for parsed in self._files if parsed.kind == "service"]
        return tuple(sorted(services, key=lambda service: service.name))

    def number(self) -> int | None:
        """The number of the policies, if they have one."""
        number, problems = revision_number(self._files)
        self._report_all(problems)
        return number

    def _check_expectations(self) -> None:
        if not self._complete:
            return
        tested = [(file, file.model) for file in self._files if isinstance(file.model, PolicyTests)]
        defined = defined_by(self._files if tested else ())
        for file, tests in tested:
            self._report_all(check_expectations(file, tests, defined))

    def _report(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) == MAX_PROBLEMS:
            raise TooManyProblemsError

    def _report_all(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._report(problem)

    def _guardrails(self) -> dict[Folders, list[Rule]]:
        guardrails: dict[Folders, list[Rule]] = {}
        for parsed in self._files:
            if parsed.kind == GUARDRAILS:
                rules = self._rules.compile(parsed, full_name(parsed, GUARDRAILS), "/")
                guardrails.setdefault(parsed.file.folders, []).extend(rules)
        return guardrails

    def _service(self, parsed: ParsedFile, guardrails: Mapping[Folders, Sequence[Rule]]) -> Service:
        # Of a file with problems only the rules can be there: they are checked all the same.
        model = parsed.model if isinstance(parsed.model, ServiceModel) else None
        name = full_name(parsed, model.name if model else parsed.file.path)
        path_prefix = model.path_prefix if model else "/"
        folders = parsed.file.folders
        rules = self._rules.compile(parsed, name, path_prefix)
        for depth in range(len(folders) + 1):
            rules += guardrails.get(folders[:depth], ())
        if model is not None and model.body is None:
            self._report_all(bodies_of_guardrails(parsed.document, rules))
        rules.sort(key=lambda rule: rule.id)
        return Service(
            name=name,
            hosts=tuple(sorted(model.hosts)) if model else (),
            path_prefix=path_prefix,
            rules=tuple(rules),
            inputs=inputs_of(rules),
            set_headers=set_headers_of(rules),
            audit=model is not None and model.mode == "audit",
            lenient=model is not None and model.paths == "lenient",
            body=model is not None and model.body is not None,
            record=None if model is None else model.record,
        )
