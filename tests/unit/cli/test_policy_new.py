"""`authz policy new`."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.policy.starters import example_host, example_path, example_workload
from tests.builders import write_policies

SERVICE = "policies/shop/orders.yaml"
WEB = ["--workload", "spiffe://shop.example/ns/front/sa/web"]
USERS = ["--issuer", "corp", "--scope", "orders:read"]
HOST = ["--host", "orders.shop.example"]


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def authz(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments), input=stdin)


def new(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command."""
    return authz("policy", "new", *arguments, stdin=stdin)


def assert_good(*, tests: bool = True) -> None:
    """What was written is valid and formatted, and its tests pass."""
    valid = authz("validate", "policies")
    assert valid.exit_code == 0, valid.output
    formatted = authz("policy", "fmt", "--check", "--diff", "policies")
    assert formatted.exit_code == 0, formatted.output
    if tests:
        tested = authz("test", "policies")
        assert tested.exit_code == 0, tested.output


@pytest.mark.parametrize(
    "options",
    [
        [],
        WEB,
        USERS,
        ["--issuer", "corp", "--group", "a", "--group", "b"],
        [*WEB, *USERS, "--method", "GET", "--method", "HEAD", "--path", "/orders/{id:int}/**"],
        ["--workload", "spiffe://shop.example/ns/*/**", "--path", "/**"],
        [*WEB, "--method", "DELETE"],
        [*WEB, "--path-prefix", "/api", "--path", "/api/{id:uuid}.json", "--name", "other"],
    ],
    ids=" ".join,
)
def test_a_service_comes_with_tests_that_pass(options: list[str]) -> None:
    """Whoever calls whatever; without callers nobody may anything."""
    result = new("service", SERVICE, *HOST, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == "policies/shop/orders.yaml\npolicies/shop/orders_test.yaml\n"
    assert_good()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["shop/web.yaml", *HOST], "another service speaks for `orders.shop.example`"),
        (["shop/a.yaml", *HOST], "another service speaks for `orders.shop.example`"),
        (["shop/a.yaml", "--host", "a.example", "--name", "orders"], "a service named `shop/orders` is there already"),
    ],
)
def test_what_another_service_has_is_refused(options: list[str], said: str) -> None:
    """Whatever its file is called, the directory would not load any more."""
    assert new("service", SERVICE, *HOST, *WEB).exit_code == 0
    result = new("service", f"policies/{options[0]}", *options[1:])
    assert result.exit_code == 1
    assert said in result.stderr
    assert "policies/shop/orders.yaml:" in result.stderr
    assert result.stderr.endswith("authz: nothing was written\n")
    assert len(list(Path("policies").glob("**/*.yaml"))) == 2
    assert new("service", "policies/shop/web.yaml", *HOST, "--path-prefix", "/web").exit_code == 0


@pytest.mark.parametrize("file", ["q/Shop/a.yaml", "./q/x/../Shop/a.yaml", "policies/Shop/a.yaml", "q/Shop/b/a.yaml"])
def test_a_folder_that_is_no_namespace_is_refused(file: str) -> None:
    """Before anything is written: the directory would not load."""
    result = new("service", file, *HOST, *WEB)
    assert result.exit_code == 2
    assert "the folder `Shop` is no namespace; lower-case letters, digits and hyphens make its name" in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("file", ["Deploy/Prod/policies/shop/a.yaml", "policies/x/My/policies/a.yaml", "Prod/a.yaml"])
def test_the_namespace_begins_at_the_nearest_directory_that_is_called_policies(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none is configured, whatever the folders above are called."""
    Path("authz.yaml").write_text("policies: {directory: elsewhere}\n")
    result = new("service", file, *HOST, *WEB)
    assert result.exit_code == 0, result.output
    monkeypatch.chdir(Path(file).parent)
    other = new("service", "b.yaml", *HOST, *WEB)
    assert "another service speaks for `orders.shop.example`" in other.stderr


@pytest.mark.parametrize("file", ["Deploy/policies/Shop/a.yaml", "deploy/Shop/a.yaml"])
def test_folders_of_no_namespace_below_a_directory_that_is_called_policies_are_refused(file: str) -> None:
    """Only the folders below it are namespaces; without one all but the first are."""
    result = new("service", file, *HOST, *WEB)
    assert result.exit_code == 2
    assert "the folder `Shop` is no namespace" in result.stderr


@pytest.mark.parametrize("file", ["Q/a.yaml", "a.yaml", "Q/shop/a.yaml", "My/Policies/shop/a.yaml", "../My/Q/a.yaml"])
def test_the_directory_itself_is_called_as_one_likes(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no namespace, be it configured, the first folder on the way, or somewhere else."""
    Path("here").mkdir()
    monkeypatch.chdir("here")
    Path("authz.yaml").write_text("policies: {directory: My/Policies}\n")
    result = new("service", file, *HOST, *WEB)
    assert result.exit_code == 0, result.output
    assert Path(file).exists()


@pytest.mark.parametrize(
    ("option", "text", "instead"),
    [
        ("--scope", "a,b", "would be one scope; write `--scope a --scope b`"),
        ("--scope", "a b", "would be one scope; write `--scope a --scope b`"),
        ("--method", "GET, POST", "would be one method; write `--method GET --method POST`"),
        ("--host", "a.example,", "would be one host; write `--host a.example`"),
        ("--workload", ",", "would be one workload; write `--workload VALUE`"),
    ],
)
def test_several_values_at_once_are_refused(option: str, text: str, instead: str) -> None:
    """They would be one that nobody has; each has its own option."""
    result = new("service", SERVICE, *HOST, *WEB, *USERS, option, text)
    assert result.exit_code == 2
    assert f"{option}: `{text}` {instead}\n" in result.stderr
    assert not Path(SERVICE).exists()


def test_groups_and_paths_have_commas_where_they_are_called_so() -> None:
    """A directory service names groups like this."""
    assert new("service", SERVICE, *HOST, *USERS, "--group", "cn=it,dc=shop", "--path", "/a,b").exit_code == 0
    assert "groups:" in Path(SERVICE).read_text()


def test_what_is_wrong_with_other_files_is_no_matter() -> None:
    """They are not what is written."""
    write_policies(Path("policies"), {"broken.yaml": "kind: service\n"})
    assert new("service", SERVICE, *HOST, *WEB).exit_code == 0


def test_a_service_reads_as_one_would_write_it() -> None:
    """The folder is the namespace, the name of the file the service."""
    new("service", SERVICE, *HOST, *WEB, *USERS, "--method", "GET", "--path", "/orders/{id}")
    assert Path(SERVICE).read_text() == (
        "kind: service\n"
        "name: orders\n"
        "hosts: [orders.shop.example]\n"
        "\n"
        "rules:\n"
        "  - id: web-may-read\n"
        "    effect: allow\n"
        "    from:\n"
        '      - workloads: ["spiffe://shop.example/ns/front/sa/web"]\n'
        '        users: {issuer: corp, scopes: ["orders:read"]}\n'
        '    to: [{methods: [GET], paths: ["/orders/{id}"]}]\n'
    )


@pytest.mark.parametrize(
    ("kind", "options", "shown"),
    [
        ("guardrails", ["--method", "TRACE"], "id: no-trace"),
        ("guardrails", ["--path", "/internal/**"], "id: no-internal"),
        ("roles", ["--role", "support", "--issuer", "corp", "--group", "support"], "support: [{users: {issuer: corp"),
        ("namespace", ["--host", "*.shop.example", "--trust-domain", "shop.example"], 'hosts: ["*.shop.example"]'),
        ("namespace", ["--trust-domain", "shop.example"], "trust_domains: [shop.example]"),
    ],
)
def test_other_kinds_fit_beside_a_service(kind: str, options: list[str], shown: str) -> None:
    """They are valid and formatted, and let the service's tests pass."""
    new("service", SERVICE, *HOST, *WEB, "--method", "GET")
    result = new(kind, f"policies/shop/{kind}.yaml", *options)
    assert result.exit_code == 0, result.output
    assert shown in Path(f"policies/shop/{kind}.yaml").read_text()
    assert_good()


def test_tests_can_be_started_alone() -> None:
    """For a service that is there; which rule decides is not known."""
    new("service", SERVICE, *HOST, *WEB)
    result = new("tests", "policies/shop/more_test.yaml", *HOST, *WEB)
    assert result.exit_code == 0, result.output
    assert "rule:" not in Path("policies/shop/more_test.yaml").read_text()
    assert_good()


def test_nothing_is_overwritten() -> None:
    """Neither of the two files, if one of them is there."""
    write_policies(Path("policies"), {"shop/orders_test.yaml": "mine\n"})
    result = new("service", SERVICE, *HOST)
    assert result.exit_code == 1
    assert result.stderr == "authz: policies/shop/orders_test.yaml: there already; nothing was written\n"
    assert [path.name for path in Path("policies/shop").iterdir()] == ["orders_test.yaml"]
    assert Path("policies/shop/orders_test.yaml").read_text() == "mine\n"


def test_the_line_for_editors_is_that_of_the_other_files() -> None:
    """As seen from the folder of the new file."""
    line = "# yaml-language-server: $schema=../schema/policy.schema.json\n"
    write_policies(Path("policies"), {"guardrails.yaml": f"{line}kind: guardrails\n"})
    new("service", SERVICE, *HOST)
    first = "# yaml-language-server: $schema=../../schema/policy.schema.json"
    assert Path(SERVICE).read_text().splitlines()[0] == first
    assert Path("policies/shop/orders_test.yaml").read_text().splitlines()[0] == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["service", SERVICE], "--host"),
        (["service", SERVICE, *HOST, "--method", "get"], "--method"),
        (["service", SERVICE, *HOST, "--path", "orders"], "--path"),
        (["service", SERVICE, *HOST, "--workload", "web"], "--workload"),
        (["service", SERVICE, *HOST, "--scope", "a"], "--issuer"),
        (["service", SERVICE, *HOST, "--role", "a"], "--role"),
        (["service", "policies/Orders.yaml", *HOST], "--name"),
        (["service", "policies/orders", *HOST], "FILE"),
        (["service", "policies/orders_test.yaml", *HOST], "FILE"),
        (["tests", "policies/orders.yaml", *HOST], "FILE"),
        (["guardrails", "policies/a.yaml"], "--method"),
        (["roles", "policies/a.yaml", "--role", "a"], "--workload"),
        (["roles", "policies/a.yaml", *WEB], "--role"),
        (["namespace", "policies/a.yaml"], "--trust-domain"),
        (["shop", "policies/a.yaml"], "for KIND: `shop` is none of service, guardrails, roles, namespace, tests\n"),
    ],
)
def test_wrong_usage_names_the_option(arguments: list[str], message: str) -> None:
    """Exit code 2, and nothing is written."""
    result = new(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("policies").exists()


def test_what_does_not_fit_together_is_not_written() -> None:
    """Such as a path that is not below the prefix."""
    result = new("service", SERVICE, *HOST, *WEB, "--path-prefix", "/api", "--path", "/orders")
    assert result.exit_code == 1
    assert "/orders" in result.stderr
    assert not Path(SERVICE).exists()


def test_on_a_terminal_what_is_missing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty answer leaves out what may be missing; what must not is asked again."""
    runner = CliRunner()
    answers = "\norders.shop.example\nspiffe://shop.example/ns/front/sa/web\n\nGET HEAD\n\n"
    with runner.isolation(input=answers):
        monkeypatch.setattr(type(sys.stdin), "isatty", lambda _: True, raising=False)
    result = runner.invoke(app, ["policy", "new", "service", SERVICE], input=answers)
    assert result.exit_code == 0, result.output
    assert "Which host does it speak for" in result.output
    text = Path(SERVICE).read_text()
    assert "to: [{methods: [GET, HEAD]}]" in text
    assert "users" not in text
    assert_good()


def test_examples_fit_their_patterns() -> None:
    """For the tests."""
    assert example_path("/a/{x}/{n:int}.txt/{r...}") == "/a/x/7.txt/x/y"
    assert example_path("/a/**") == "/a/x"
    assert example_workload("spiffe://a.b/*/c/**") == "spiffe://a.b/x/c/x"
    assert example_host("*.shop.example:8443") == "a.shop.example:8443"
    assert example_host("*") == "a.example"
