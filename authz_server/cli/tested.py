"""What a run of tests has found: for people, for machines, for JUnit's readers, for GitHub."""

from collections.abc import Iterator
from xml.etree import ElementTree

import msgspec

from authz_server.cli.annotations import annotation
from authz_server.cli.configuration import counted
from authz_server.documents.problem import Position
from authz_server.documents.source import printable
from authz_server.testing.coverage import Coverage
from authz_server.testing.report import Failure, Report, Survivors
from authz_server.testing.runner import Outcome


def in_words(report: Report, *, mutate: bool) -> str:
    """What failed, and how much; `mutate` is whether survivors were asked for."""
    lines: list[str] = []
    for failure in report.failures:
        case = failure.outcome.case
        lines += [f"{_place(case.position)}: {case.name}", *(f"    {line}" for line in failure.lines()), ""]
    files = len({outcome.case.document.file for outcome in report.outcomes})
    failed = len(report.failures)
    result = f"{failed:,} failed" if failed else "all passed"
    lines.append(f"{counted(len(report.outcomes), 'test')} in {counted(files, 'file')}: {result}")
    if report.coverage is not None:
        lines += _coverage(report.coverage)
    if report.survivors is not None:
        lines += _survivors(report.survivors)
    elif mutate:
        lines.append("mutation: not tried, because tests fail")
    return "\n".join(lines)


def _coverage(coverage: Coverage) -> Iterator[str]:
    covered = coverage.total - len(coverage.uncovered)
    yield f"coverage: {_percent(coverage)} % ({covered:,} of {coverage.total:,} rules, items and conditions)"
    for element in coverage.uncovered:
        yield f"  {_place(element.position)}: {element.rule}: {element.missing}"


def _survivors(survivors: Survivors) -> Iterator[str]:
    unnoticed = f"{len(survivors.mutants):,} that no test notices" if survivors.mutants else "no survivor"
    yield f"mutation: {counted(survivors.total, 'mutant')}, {unnoticed}"
    for mutant in survivors.mutants:
        yield f"  {_place(mutant.position)}: {mutant.rule}: {mutant.change}"


def _percent(coverage: Coverage) -> str:
    """Rounded down, so that 100 means all."""
    return f"{int(coverage.percent * 10) / 10:g}"


def as_json(report: Report) -> str:
    """Everything, as one object."""
    told: dict[str, object] = {
        "passed": len(report.outcomes) - len(report.failures),
        "failed": len(report.failures),
        "cases": [_case(outcome) for outcome in report.outcomes if outcome.passed]
        + [{**_case(failure.outcome), "rules": failure.rules} for failure in report.failures],
    }
    if report.coverage is not None:
        told["coverage"] = {
            "percent": report.coverage.percent,
            "total": report.coverage.total,
            "uncovered": [
                {**_at(each.position), "rule": each.rule, "message": each.missing} for each in report.coverage.uncovered
            ],
        }
    if report.survivors is not None:
        told["mutation"] = {
            "total": report.survivors.total,
            "survivors": [
                {**_at(each.position), "rule": each.rule, "change": each.change} for each in report.survivors.mutants
            ],
        }
    return msgspec.json.encode(told).decode()


def _case(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.case.name,
        **_at(outcome.case.position),
        "passed": outcome.passed,
        "expected": outcome.expected,
        "actual": outcome.actual,
        "reason": outcome.decision.reason,
        "rule": outcome.decision.rule,
    }


def _at(position: Position) -> dict[str, object]:
    return {"file": position.file, "line": position.line, "column": position.column}


def junit(report: Report) -> str:
    """The cases as JUnit's readers take them: a suite for each file."""
    failures = {id(failure.outcome): failure for failure in report.failures}
    root = ElementTree.Element("testsuites")
    suites: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        suites.setdefault(outcome.case.document.file, []).append(outcome)
    for file, outcomes in suites.items():
        failed = str(sum(id(outcome) in failures for outcome in outcomes))
        suite = ElementTree.SubElement(root, "testsuite", name=file, tests=str(len(outcomes)), failures=failed)
        for outcome in outcomes:
            case = outcome.case
            about = {"classname": file, "name": printable(case.name), "file": file, "line": str(case.position.line)}
            element = ElementTree.SubElement(suite, "testcase", about)
            if id(outcome) in failures:
                failure = failures[id(outcome)]
                message = printable(f"expected {outcome.expected}, was {outcome.actual}")
                ElementTree.SubElement(element, "failure", message=message).text = _text(failure)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _text(failure: Failure) -> str:
    return "\n".join(map(printable, failure.lines()))


def annotations(report: Report) -> Iterator[str]:
    """Errors and warnings that GitHub Actions shows beside the lines that they are about."""
    for failure in report.failures:
        case = failure.outcome.case
        yield annotation("error", case.position, case.name, _text(failure))
    for element in () if report.coverage is None else report.coverage.uncovered:
        yield annotation("warning", element.position, element.rule, element.missing)
    for mutant in () if report.survivors is None else report.survivors.mutants:
        yield annotation(
            "warning", mutant.position, mutant.rule, f"no test notices this change of the rule: {mutant.change}"
        )


def _place(position: Position) -> str:
    return f"{position.file}:{position.line}:{position.column}"
