"""`authz usage`."""

import json
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.analysis.difference import compare
from authz_server.cli import app
from authz_server.control.revisions import Revisions
from authz_server.control.usage import UsageCounter, UsageFile
from authz_server.policy.files import read_directory
from authz_server.policy.loader import load_policies
from authz_server.policy.plan import Plan
from tests.builders import plan_of, write_policies
from tests.programs import need
from tests.unit.usage.records import DAY, NOW, line

SHIPPED = Path(__file__).parents[3] / "policies"
WEB = "spiffe://shop.example/ns/front/sa/web"
STOCK = "spiffe://shop.example/ns/orders/sa/orders"
ORDERS = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: reads
        effect: allow
        from: [{workloads: ["spiffe://shop.example/**"]}]
        to: [{methods: [GET], paths: ["/orders/**"]}, {methods: [POST], paths: [/orders]}]
"""


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def usage(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["usage", *map(str, arguments)])


def told(*arguments: object) -> dict[str, Any]:
    """What it prints as JSON."""
    parsed: dict[str, Any] = json.loads(usage("--json", *arguments).stdout)
    return parsed


def audit(*lines: bytes, name: str = "decisions.jsonl") -> Path:
    """An audit file."""
    path = Path(name)
    path.write_bytes(b"".join(each + b"\n" for each in lines))
    return path


def shop(plan: Plan, rule: str, time: float, path: str, **fields: Any) -> bytes:  # any field
    """A decision of the shipped policies."""
    service = rule.rpartition("/")[0]
    host = f"{service.rpartition('/')[2]}.shop.example"
    return line(plan, time, rule=rule, service=service, host=host, path=path, **fields)


def shipped_records() -> list[bytes]:
    """Sixty days of the shipped policies."""
    plan = load_policies(SHIPPED).plan
    assert plan is not None
    sam: dict[str, Any] = {"workload": None, "user": {"issuer": "corp", "subject": "sam"}}
    records = []
    for day in range(61):
        time = NOW - (60 - day) * DAY
        records += [
            shop(plan, "shop/web/everybody-sees-the-shop", time, "/", workload=None, items=[None, 0]),
            shop(plan, "shop/web/support-administers", time, f"/admin/users/{day}", **sam),
            shop(plan, "shop/inventory/orders-reads-and-reserves-stock", time, f"/stock/a{day}", workload=STOCK),
        ]
        if day < 20:
            records.append(shop(plan, "shop/inventory/web-shows-stock", time, "/stock/a1", workload=WEB))
    return records


def test_the_shipped_policies_and_records_of_two_months() -> None:
    """What nobody used is told by rule and part, what denies apart from it."""
    result = usage("--policies", SHIPPED, audit(*shipped_records()))
    assert result.exit_code == 1
    inventory, web = SHIPPED / "shop" / "inventory.yaml", SHIPPED / "shop" / "web.yaml"
    assert (
        f"""\
rules that nobody used
  shop/inventory/web-shows-stock  {inventory}:15:9
    last used on 2026-01-20
"""
        in result.stdout
    )
    assert (
        f"""\
  shop/inventory/orders-reads-and-reserves-stock  {inventory}:7:9
    `to`, item 2: POST /stock/{{item}}/reservations; never used since 2026-01-01, when counting it began
"""
        in result.stdout
    )
    assert (
        f"""\
  shop/web/support-administers  {web}:12:9
    `to`, item 1, `methods`: every method; used: GET
    `to`, item 1, `paths`: /admin/**; used: /admin/users/{{:int}}
      no workload, user of corp: GET /admin/users/{{:int}} (61 decisions)
"""
        in result.stdout
    )
    assert f"  guardrails/no-trace  {SHIPPED / 'guardrails.yaml'}:6:9" in result.stdout.partition("deny rules that")[2]


def test_everything_is_there_for_machines() -> None:
    """With times as texts."""
    found = told("--policies", SHIPPED, audit(*shipped_records()))
    [stock] = [each for each in found["unused"] if each["rule"] == "shop/inventory/web-shows-stock"]
    assert (stock["place"], stock["since"], stock["ever"]) == ([], "2026-01-20T09:00:00Z", True)
    assert (found["cutoff"], found["gaps"], found["rules"]) == ("2026-01-31T09:00:00Z", [], 9)


def test_a_short_time_claims_nothing() -> None:
    """It says how long the records are."""
    result = usage("--days", 61, "--policies", SHIPPED, audit(*shipped_records()))
    assert result.exit_code == 0
    assert "that is 60.0 days, so nobody can tell what was not used for 61 days" in result.stdout
    assert "rules that nobody used" not in result.stdout
    assert "every grant" not in result.stdout
    write_policies(Path("policies"), {"orders.yaml": ORDERS})
    never_counted = audit(*(each.replace(b'"revision":"', b'"revision":"0') for each in shipped_records()))
    result = usage("--days", 30, never_counted)
    assert "too young to tell\n  orders/reads" in result.stdout
    assert "every grant" not in result.stdout


def test_what_the_server_counted_is_looked_at_without_audit_files() -> None:
    """It is in the run directory, and need not be whole."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    Path("run").mkdir()
    began = NOW - 50 * 365 * DAY
    counter = UsageCounter(UsageFile(Path("run/usage")), 1e12, clock=lambda: began)
    counter.take_up(plan)
    counter.observe([line(plan, began, type="gap", dropped=3), line(plan, 4e9, type="gap", dropped=3)])
    counter.save()
    result = usage("--days", 90)
    assert result.exit_code == 1
    assert "orders/reads  policies/orders.yaml:" in result.stdout
    assert "3 records of decisions were lost: 2096-10-02" in result.stdout
    assert usage("--days", 91).exit_code == 2


def test_without_anything_to_look_at_it_says_so() -> None:
    """Neither a file of the server nor a record: nothing is claimed of that."""
    write_policies(Path("policies"), {"orders.yaml": ORDERS})
    result = usage()
    assert (result.exit_code, "there is none yet; a server writes it" in result.stderr) == (2, True)
    assert result.stderr.startswith("authz: no authz.yaml here and no --config: this looks at defaults")
    result = usage(audit(b"no record"))
    assert (result.exit_code, "are these audit files?" in result.stderr) == (2, True)
    assert usage("missing.jsonl").exit_code == 2


def test_broken_policies_are_refused() -> None:
    """With what is wrong with them."""
    write_policies(Path("policies"), {"orders.yaml": ORDERS.replace("effect", "efect")})
    result = usage(audit(b"{}"))
    assert (result.exit_code, "efect" in result.stderr) == (2, True)


def test_revisions_that_are_kept_explain_older_records() -> None:
    """A rule that they have as it is now was in force, too; files may come in any order."""
    before = ORDERS + "      - {id: old, effect: allow, from: anyone}\n"
    old = plan_of(Path("policies"), orders=before)
    Revisions(Path("run/revisions"), Path("policies"), 5, 1 << 20).write(read_directory(Path("policies"))[0], NOW)
    plan = plan_of(Path("policies"), orders=ORDERS)
    first = audit(*[line(old, NOW - 90 * DAY, items=[0, 1], path="/orders"), line(old, NOW - 60 * DAY)], name="1.jsonl")
    last = audit(line(plan, NOW - DAY), line(plan, NOW), name="2.jsonl")
    found = told("--days", 50, last, first)
    assert [(each["place"], each["since"][:10]) for each in found["unused"]] == [(["to", 1], "2025-12-02")]
    # Without it nobody knows what was in force until the first record of what is.
    Path("run/revisions", old.revision).unlink()
    found = told("--days", 50, last, first)
    assert (found["unused"], found["revisions_not_kept"]) == ([], [old.revision])
    assert [each["since"][:10] for each in found["young"]] == ["2026-03-01"]


def test_a_worker_that_switches_later_changes_nothing() -> None:
    """For a moment records of two revisions are mixed."""
    old = plan_of(Path("policies"), orders=ORDERS + "      - {id: old, effect: allow, from: anyone}\n")
    Revisions(Path("run/revisions"), Path("policies"), 5, 1 << 20).write(read_directory(Path("policies"))[0], NOW)
    plan = plan_of(Path("policies"), orders=ORDERS.replace("[POST]", "[PUT]"))
    times = [
        (old, NOW - 60 * DAY),
        (plan, NOW - 50 * DAY),
        (old, NOW - 50 * DAY + 1),
        (plan, NOW - 49 * DAY),
        (plan, NOW),
    ]
    found = told("--days", 45, audit(*[line(each, time) for each, time in times]))
    assert [(each["place"], each["since"][:10]) for each in found["unused"]] == [(["to", 1], "2026-01-11")]
    assert [(each["decisions"]) for each in found["called"]] == [3]


def test_decisions_of_a_candidate_are_told() -> None:
    """They count for none of the rules in force."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    records = [line(plan, NOW - 60 * DAY), line(plan, NOW, policies="candidate", revision="e" * 32)]
    result = usage(audit(*records))
    assert "1 decision of a candidate by rules that are not in force" in result.stdout
    assert "last used on 2026-01-01" in result.stdout


def test_terminals_get_no_commands() -> None:
    """What clients have sent stays a text."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    records = [
        line(plan, NOW - 60 * DAY),
        line(plan, path="/orders/%C2%9B\x1b[31m"),
        line(plan, path="/orders/\u202ea"),
    ]
    assert not {"\x1b", "\x9b", "\u202e"} & set(usage(audit(*records)).stdout)


def copied() -> Path:
    """The shipped policies, to be changed."""
    return Path(copytree(SHIPPED, "policies"))


def applied(patch: str) -> None:
    """Change the files here as the patch says, with the program that everybody has."""
    subprocess.run([need("git"), "apply", "-"], input=patch.encode(), check=True, capture_output=True)


def test_narrower_shipped_policies_are_a_patch_that_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out loads, opens nothing, and allows every record; comments of what stays stay."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    directory, records = copied(), audit(*shipped_records())
    result = usage("--suggest", records)
    assert result.exit_code == 1
    assert (
        """\
     from: [{workloads: ["spiffe://shop.example/ns/orders/sa/orders"]}]
-    to:
-      - {methods: [GET], paths: ["/stock/{item}"]}
-      - {methods: [POST], paths: ["/stock/{item}/reservations"]}
+    to: [{methods: [GET], paths: ["/stock/{item}"]}]
"""
        in result.stdout
    )
    assert '+    to: [{methods: [GET], paths: ["/admin/users/{user_id:int}"]}]\n' in result.stdout
    for told in (
        "  shop/orders/customers-place-orders: the rule removed\n",
        "  shop/inventory/web-shows-stock: it would deny what is on record, such as GET https://inventory.shop.example/",
        "  compared with the policies as they are: nothing is opened, ",
        "  replayed 203 records since 2026-01-01 of what was allowed: none would be denied\n",
        "  tests that fail with it, because they expect what is no longer allowed: ",
    ):
        assert told in result.stderr
    applied(result.stdout)
    plan, before = load_policies(directory).plan, load_policies(SHIPPED).plan
    assert plan is not None
    assert before is not None
    found = compare(before, plan, NOW, 60)
    assert {(flip.old.allowed, flip.new.allowed) for flip in found.flips} <= {(True, False), (False, False)}
    replayed = CliRunner().invoke(app, ["replay", str(records), "--policies", str(directory), "--json"])
    assert [flip["change"] for flip in json.loads(replayed.stdout)["flips"]] == []
    assert "# yaml-language-server" in (directory / "shop" / "orders.yaml").read_text()


def test_a_patch_can_be_written_to_a_file_and_told_to_machines() -> None:
    """The same both ways."""
    copied()
    records = audit(*shipped_records())
    printed = usage("--suggest", records)
    written = usage("--suggest", "--output", "narrower.patch", records)
    assert (written.exit_code, written.stdout) == (1, "")
    assert Path("narrower.patch").read_text() == printed.stdout
    found = told("--suggest", records)
    assert found["patch"] == printed.stdout
    assert found["narrowed"]["shop/orders/customers-place-orders"] == ["the rule removed"]
    assert set(found["left_out"]) == {"shop/inventory/web-shows-stock"}


def test_files_in_another_form_without_a_last_line_feed_can_be_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the canonical form then."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    plan = plan_of(Path("policies"), orders=ORDERS.rstrip())
    assert not Path("policies/orders.yaml").read_text().endswith("\n")
    records = audit(line(plan, NOW - 60 * DAY), line(plan))
    result = usage("--suggest", records)
    assert "\\ No newline at end of file\n" in result.stdout
    applied(result.stdout)
    assert (
        Path("policies/orders.yaml")
        .read_text()
        .endswith(f"""\
    from: [{{workloads: ["{WEB}"]}}]
    to: [{{methods: [GET], paths: ["/orders/{{order_id:int}}"]}}]
""")
    )


def test_an_edit_that_would_deny_what_is_on_record_is_not_made() -> None:
    """Also of a time that no longer counts; which rule it is, is told, and its other edits are made."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    records = audit(line(plan, NOW - 60 * DAY, items=[0, 1], method="POST", path="/orders"), line(plan))
    result = usage("--suggest", records)
    assert (
        "orders/reads: it would deny what is on record, such as POST https://orders.shop.example/orders of "
        in result.stderr
    )
    assert f'    from: [{{workloads: ["{WEB}"]}}]' in result.stdout
    assert '{methods: [POST], paths: ["/orders"]}' in result.stdout
    assert "item 2 removed" not in result.stderr


def test_a_rule_that_is_on_record_is_not_removed() -> None:
    """Nothing else can be done about it."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    result = usage("--suggest", "--output", "narrower.patch", audit(line(plan, NOW - 60 * DAY), line(plan, rule=None)))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there is nothing to narrow" in result.stderr
    assert not Path("narrower.patch").exists()


def test_a_suggestion_that_would_be_an_error_is_not_made() -> None:
    """The other rules are narrowed all the same."""
    captures = """\
      - id: named
        effect: allow
        from: anyone
        to: [{methods: [GET], paths: ["/a/{x}"]}, {methods: [GET], paths: ["/b"]}]
        when: request.path == "/b" || path.x != "1"
"""
    plan = plan_of(Path("policies"), orders=ORDERS + captures)
    named: dict[str, Any] = {"rule": "orders/named", "items": [None, 1], "path": "/b"}
    inputs: dict[str, Any] = {"inputs": {"request.path": "/b"}}
    records = [line(plan, NOW - 60 * DAY), line(plan), line(plan, NOW - 60 * DAY, **named, **inputs)]
    result = usage("--suggest", audit(*records, line(plan, **named, **inputs)))
    assert "orders/named: that would be an error: " in result.stderr
    assert "  orders/reads: `to`, item 2 removed" in result.stderr
    assert result.exit_code == 1


def test_an_answer_that_would_change_is_no_narrowing() -> None:
    """Where another rule allows the same with another answer, the unused one stays."""
    both = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: a, effect: allow, from: [{users: any}], to: [{methods: [GET]}], answer: {remove_headers: [x-a]}}
      - {id: b, effect: allow, from: anyone, to: [{methods: [GET], paths: [/b]}]}
"""
    plan = plan_of(Path("policies"), orders=both)
    used: dict[str, Any] = {"rule": "orders/b", "items": [None, 0], "path": "/b"}
    result = usage("--suggest", audit(line(plan, NOW - 60 * DAY, **used), line(plan, **used)))
    assert "orders/a: a request answers differently" in result.stderr
    assert result.exit_code == 0


def test_without_records_nothing_was_replayed() -> None:
    """Which is said."""
    plan = plan_of(Path("policies"), orders=ORDERS)
    Path("run").mkdir()
    counter = UsageCounter(UsageFile(Path("run/usage")), 1e12, clock=lambda: NOW - 50 * 365 * DAY)
    counter.take_up(plan)
    counter.save()
    result = usage("--suggest")
    assert result.exit_code == 1
    assert "  not replayed: there is no record of what was allowed\n" in result.stderr


def test_what_cannot_be_suggested_from_is_refused() -> None:
    """Standard input is there once; a patch is written where there is one."""
    plan_of(Path("policies"), orders=ORDERS)
    assert usage("--suggest", "-").exit_code == 2
    assert usage("--output", "narrower.patch", audit(b"{}")).exit_code == 2
