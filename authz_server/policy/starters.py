"""First versions of policy documents, for people to go on from."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from authz_server.policy.files import policy_file
from authz_server.policy.formatting import format_policy

_MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")
_UUID = "0a1b2c3d-0a1b-4c3d-8e5f-0a1b2c3d4e5f"
# In this order: a template's last segments stand for one or more.
_EXAMPLES = ((r"\{\w+:int\}", "7"), (r"\{\w+:uuid\}", _UUID), (r"\{\w+\.\.\.\}", "x/y"), (r"\{\w+\}", "x"))
_METHODS = ("DELETE", "PUT", "POST", "PATCH", "GET", "HEAD", "OPTIONS", "PURGE")
_READING = frozenset({"GET", "HEAD"})

Fields = dict[str, Any]


class Access(Struct, frozen=True):
    """Who may do what, by one rule."""

    workloads: Sequence[str] = ()
    """SPIFFE patterns."""
    issuer: str = ""
    """Whose users; none for callers without one."""
    scopes: Sequence[str] = ()
    groups: Sequence[str] = ()
    methods: Sequence[str] = ()
    paths: Sequence[str] = ()

    @property
    def caller(self) -> Fields:
        """The item of `from`; empty where nobody is named."""
        users = {"issuer": self.issuer, **_given(scopes=self.scopes, groups=self.groups)}
        return _given(workloads=self.workloads) | ({"users": users} if self.issuer else {})

    @property
    def operation(self) -> Fields:
        """The item of `to`; empty for every operation."""
        return _given(methods=self.methods, paths=self.paths)

    @property
    def rule_id(self) -> str:
        """Who may do what, in words."""
        last = (
            re.sub(r"[^a-z0-9]+", "-", self.workloads[0].rpartition("/")[2].lower()).strip("-")
            if self.workloads
            else ""
        )
        verb = "read" if self.methods and _READING.issuperset(self.methods) else "call"
        return f"{last or ('workloads' if self.workloads else 'users')}-may-{verb}"


def service(name: str, hosts: Sequence[str], access: Access, path_prefix: str = "") -> Fields:
    """A service with one rule, or with none where nobody is named."""
    rule = {"id": access.rule_id, "effect": "allow", "from": [access.caller], **_items(access.operation)}
    prefix = {"path_prefix": path_prefix} if path_prefix else {}
    return {
        "kind": "service",
        "name": name,
        "hosts": list(hosts),
        **prefix,
        "rules": [rule] if access.caller else [],
    }


def service_tests(hosts: Sequence[str], access: Access, path_prefix: str = "", *, rule: str | None = None) -> Fields:
    """Tests of a service: who may (by which rule, if that is known), and that others may not."""
    path = example_path(access.paths[0]) if access.paths else path_prefix or "/"
    method = access.methods[0] if access.methods else "GET"
    request = {"method": method, "host": example_host(hosts[0]), "path": path}
    document: Fields = {"kind": "tests"}
    who: Fields = {}
    if access.workloads:
        document["workloads"] = {"caller": example_workload(access.workloads[0])}
        who["from"] = "caller"
    if access.issuer:
        user = {"issuer": access.issuer, "subject": "ann", **_given(scopes=access.scopes, groups=access.groups[:1])}
        document["users"] = {"ann": user}
        who["as"] = "ann"
    tests: list[Fields] = []
    if who:
        expect = {"decision": "allow"} | ({"rule": rule} if rule else {})
        tests.append({"name": "who is meant may", "request": who | request, "expect": expect})
    tests.append({"name": "nobody without an identity", "request": request, "expect": {"decision": "deny"}})
    if who and access.methods:
        other = next(each for each in _METHODS if each not in access.methods)
        expect = {"decision": "deny", "reason": "no_rule_allows"}
        tests.append({"name": "not another method", "request": who | request | {"method": other}, "expect": expect})
    return document | {"tests": tests}


def guardrails(access: Access) -> Fields:
    """A guardrail against operations."""
    what = [method.lower() for method in access.methods] or ["what", "is", "below"]
    words = [word for path in access.paths[:1] for word in re.findall(r"[a-z0-9]+", path.lower())]
    rule = {"id": "-".join(["no", *(words or what)]), "effect": "deny", **_items(access.operation)}
    return {"kind": "guardrails", "rules": [rule]}


def roles(name: str, access: Access) -> Fields:
    """A role of some callers."""
    return {"kind": "roles", "roles": {name: [access.caller]}}


def namespace(hosts: Sequence[str], trust_domains: Sequence[str]) -> Fields:
    """What a folder may speak for."""
    return {"kind": "namespace", **_given(hosts=hosts, trust_domains=trust_domains)}


def text_of(document: Fields, path: Path) -> bytes:
    """The document as a formatted file, for its place; with the line for editors that files beside or above it have.

    Raises Unformattable for a document with errors.
    """
    schema = schema_beside(path.parent)
    heading = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    content = heading + json.dumps(document, ensure_ascii=False, indent=1)
    return format_policy(policy_file(path.parent, path.name, content.encode()))


def schema_beside(directory: Path) -> str:
    """The JSON Schema that policy files in this directory or one above name for editors, as seen from here; or ""."""
    for above in (directory, *directory.absolute().parents[:4]):
        for file in sorted(above.glob("*.y*ml")):
            if (match := _MODELINE.match(_first_line(file))) is not None:
                schema = match[1]
                return schema if "://" in schema else os.path.relpath(above / schema, directory)
    return ""


def example_workload(pattern: str) -> str:
    """A SPIFFE ID that fits the pattern."""
    return re.sub(r"/\*\*$", "/x", pattern).replace("*", "x")


def example_path(template: str) -> str:
    """A path that fits the template."""
    path = re.sub(r"/\*\*$", "/x", template)
    for pattern, example in _EXAMPLES:
        path = re.sub(pattern, example, path)
    return path


def example_host(pattern: str) -> str:
    """A host that fits the pattern."""
    name, colon, port = pattern.partition(":")
    return (name.replace("*.", "a.") if name != "*" else "a.example") + colon + port


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline(400)
    except OSError:
        return ""


def _given(**lists: Sequence[str]) -> Fields:
    return {name: list(values) for name, values in lists.items() if values}


def _items(operation: Fields) -> Fields:
    return {"to": [operation]} if operation else {}
