"""What was learned and what was not, for terminals and machines."""

import msgspec
from msgspec import Struct

from authz_server.cli.configuration import counted
from authz_server.documents.source import printable_line
from authz_server.learning.files import Checked
from authz_server.learning.observations import Observations
from authz_server.learning.rules import LearnedRule, name_of
from authz_server.learning.service import LearnedService
from authz_server.replay.recorded import Recorded

WHYS = {
    "denied": "they were denied",
    "denied_by_rule": "a rule denies them, which is not enforced",
    "deny_rule_error": "a rule denies them, which is not enforced",
    "body_incomplete": "rules could not read the body",
    "step_up_required": "a rule asks for a stronger authentication",
    "token_invalid": "the credential was bad",
    "token_expired": "the credential was bad",
    "token_revoked": "the credential was bad",
    "proof_invalid": "the credential was bad",
    "issuer_unavailable": "the credential could not be checked",
    "no_identity": "neither a workload nor a user: --allow-anonymous learns them",
    "seen_too_seldom": "a caller did this less often than --min-count",
    "few_users": "few of many users did this, and not often: --subjects 0 grants it to all users of the issuer",
    "looks_like_attack": "the path looks like an attack",
    "unusual_method": "nobody is granted this method without being asked",
    "unusual_upgrade": "the upgrade is none to a websocket",
    "unusual_host": "the host cannot be written in a policy",
    "several_readings": "the path can be read in several ways",
    "not_expressible": "no template can say the path",
    "unknown_issuer": "the configuration does not have the issuer",
    "unknown_trust_domain": "the configuration does not have the trust domain",
    "no_service": "they belong to no service",
    "denied_before_rules": "they were denied before rules were asked",
    "user_not_known": "whether there was a user is not on record",
    "service_not_known": "the service is not on record",
    "path_cut": "the record has not all of the path",
    "cut": "a text in the record is cut",
    "shed": "the calls were denied unread",
    "gap": "records are lost",
    "older_record": "an earlier version wrote the record",
    "unreadable": "the line is no record",
}
"""Why nothing is learned from records -> in words."""


class Report(Struct):
    """One run."""

    observations: Observations
    services: list[LearnedService]
    checked: Checked = Checked()
    files: list[str] = []


def as_text(report: Report) -> str:
    """For people."""
    lines = [*report.files]
    for service in report.services:
        lines += ["", f"{service.name}: {counted(service.records, 'record')}, hosts {', '.join(service.hosts)}"]
        lines += [line for rule in service.rules for line in _rule(rule)]
        if service.parameters:
            lines += ["  what varies in paths:"]
        for each in service.parameters:
            doubt = " (words: is it a parameter?)" if each.words else ""
            lines.append(f"    {each.template}  {each.values:,} values: {', '.join(each.examples)}{doubt}")
    return printable_lines([*lines, "", *_summary(report)]).lstrip("\n")


def _rule(rule: LearnedRule) -> list[str]:
    names = sorted({name_of(who.caller) for who in rule.whos})
    lines = [f"  {rule.id}  {counted(rule.requests, 'record')}, {rule.first} to {rule.last}, by {', '.join(names)}"]
    counts: dict[str, int] = {}
    for grant in rule.grants:
        name = f"{grant.operation.method} {grant.operation.host}{grant.operation.path}"
        counts[name] = counts.get(name, 0) + grant.seen.count
    return lines + [f"    {count:>9,}  {name}" for name, count in counts.items()]


def _summary(report: Report) -> list[str]:
    learned = sum(service.records for service in report.services)
    seen = report.observations
    others = f", {seen.others:,} of other services" if seen.others else ""
    lines = [f"{counted(seen.records, 'record')}: {learned:,} learned, {seen.records - learned:,} left out{others}"]
    for why, left in sorted(seen.left.items(), key=lambda entry: (-entry[1].count, entry[0])):
        lines.append(f"  left out: {left.count:,} {why}: {WHYS.get(why, why)}")
        lines += [f"    {_example(record)}" for record in left.examples]
    if report.files:
        checked = report.checked
        lines.append(f"replayed on what is written: {learned - checked.denied:,} of {learned:,} are allowed")
        for why, all_the_same in checked.allowed.items():
            lines.append(f"  allowed all the same, of what was left out: {all_the_same.count:,} {why}")
            lines.append(f"    {_example(all_the_same.example)}")
        failed = f", {len(checked.failed)} failed" if checked.failed else ", all passed"
        lines.append(f"{counted(checked.tests, 'test')}{failed}")
        lines += [f"  failed: {name}" for name in checked.failed]
    return lines


def _example(record: Recorded) -> str:
    who = [record.workload or "", "" if record.user is None else f"user {record.user.subject} of {record.user.issuer}"]
    caller = ", ".join(each for each in who if each) or "no identity"
    return f"{record.method} {record.host}{record.path} · {caller} · {record.decision_id}"


def printable_lines(lines: list[str]) -> str:
    """Lines without what terminals act upon: requests can be hostile."""
    return "\n".join(printable_line(line) for line in lines)


def as_json(report: Report) -> str:
    """Everything, for machines."""
    seen, checked = report.observations, report.checked
    services = [
        {
            "name": service.name,
            "records": service.records,
            "hosts": service.hosts,
            "rules": [
                {
                    "id": rule.id,
                    "records": rule.requests,
                    "first": rule.first,
                    "last": rule.last,
                    **{name: value for name, value in rule.fields(service.hosts).items() if name in ("from", "to")},
                }
                for rule in service.rules
            ],
            "parameters": service.parameters,
        }
        for service in report.services
    ]
    learned = sum(service.records for service in report.services)
    found = {
        "files": report.files,
        "services": services,
        "records": seen.records,
        "other_services": seen.others,
        "learned": learned,
        "replayed": {"allowed": learned - checked.denied, "denied": checked.denied},
        "tests": {"tests": checked.tests, "failed": checked.failed},
        "left_out": [
            {
                "why": why,
                "records": left.count,
                "allowed": checked.allowed[why].count if why in checked.allowed else 0,
                "examples": [_example(record) for record in left.examples],
            }
            for why, left in sorted(seen.left.items())
        ],
    }
    return msgspec.json.encode(found).decode()
