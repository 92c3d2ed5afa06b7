"""The configuration: file, environment, defaults, and what is wrong with them."""

# ruff: noqa: E501 - a table with one case on each line is easier to read

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest

from authz_server.control.settings import BundleSettings, LoadedSettings, Settings, load_settings
from authz_server.control.settings.identity import Algorithm
from authz_server.identity.algorithms import ALGORITHMS
from authz_server.worker.address import TcpAddress, UnixAddress

ISSUER = "issuers: {corp: {issuer: 'https://login.example/', audiences: [shop]%s}}"
ASKED = (
    "{issuer: 'https://%s/', audiences: [a], introspection: {url: 'https://x/', client_id: a, client_secret_file: s}}"
)
TWO_ASKED = f"issuers:\n  a: {ASKED % 'a'}\n  b: {ASKED % 'b'}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


TOKEN = "upstream_token: {issuer: 'x', %s}"
SVID = "workloads: {trust_domains: {shop.example: {bundle: %s}}, jwt_svid: {%s}}"
BUNDLE = "workloads: {trust_domains: {shop.example: {bundle: %s}}}"


def load(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> LoadedSettings:
    """The configuration of a file `etc/authz.yaml` with this text."""
    file = tmp_path / "etc" / "authz.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(dedent(text))
    return load_settings(file, environment or {})


def good(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings, which must have no problems."""
    loaded = load(tmp_path, text, environment)
    assert loaded.problems == []
    assert loaded.settings is not None
    return loaded.settings


def complaints(loaded: LoadedSettings) -> list[str]:
    """Each problem as line, column, message and hint."""
    assert loaded.settings is None
    return [f"{p.position.line}:{p.position.column} {p.message} | {p.hint}" for p in loaded.problems]


def test_everything_has_a_safe_default(tmp_path: Path) -> None:
    """Without a file all listeners are on loopback and all paths below the working directory."""
    settings = load_settings(None, {}).settings
    assert settings is not None
    assert settings.listen.address == TcpAddress("127.0.0.1", 9001)
    assert settings.admin.listen == TcpAddress("127.0.0.1", 9090)
    assert settings.policies.directory == tmp_path / "work" / "policies"
    assert settings.audit.file.path == tmp_path / "work" / "audit" / "decisions.jsonl"
    assert settings.run_directory == tmp_path / "work" / "run"
    assert settings.tls is None


def test_a_file_in_the_working_directory_is_read(tmp_path: Path) -> None:
    """`authz.yaml` need not be named where it lies in the working directory."""
    (tmp_path / "work" / "authz.yaml").write_text("workers: 3\n")
    loaded = load_settings(None, {})
    assert loaded.settings is not None
    assert loaded.settings.workers == 3


def test_values_are_read_with_their_units(tmp_path: Path) -> None:
    """Durations become seconds, sizes bytes."""
    settings = good(tmp_path, "policies: {rescan: 250ms}\naudit: {file: {rotate: 16MiB}}\n" + ISSUER % ", skew: 1m")
    assert settings.policies.rescan == 0.25
    assert settings.audit.file.rotate == 16 * 1024 * 1024
    assert settings.issuers["corp"].skew == 60.0


def test_the_address_alone_may_stand_for_the_listener(tmp_path: Path) -> None:
    """`listen: …` is short for `listen: {address: …}`."""
    assert good(tmp_path, "listen: '[::1]:9001'").listen.address == TcpAddress("::1", 9001)


def test_the_file_alone_may_stand_for_the_bundle(tmp_path: Path) -> None:
    """`bundle: …` is short for `bundle: {file: …}`."""
    short, whole = (good(tmp_path, BUNDLE % text).workloads for text in ("ca.pem", "{file: ca.pem}"))
    assert short == whole
    fetched = good(tmp_path, BUNDLE % "{url: 'https://spire.example/bundle'}").workloads.trust_domains["shop.example"]
    assert fetched.bundle == BundleSettings(url="https://spire.example/bundle")


def test_a_relative_path_is_relative_to_the_file(tmp_path: Path) -> None:
    """Also in the address of a Unix socket, and for defaults."""
    settings = good(tmp_path, "listen: unix:sockets/check-{worker}.sock\naudit: {file: {path: ../log/a.jsonl}}")
    assert settings.listen.address == UnixAddress(str(tmp_path / "etc" / "sockets" / "check-{worker}.sock"))
    assert settings.audit.file.path == tmp_path / "log" / "a.jsonl"
    assert settings.policies.directory == tmp_path / "etc" / "policies"


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    """Every key is a variable; paths in it are relative to the working directory."""
    environment = {
        "AUTHZ_CONFIG": "ignored here",
        "AUTHZ_WORKERS": "4",
        "AUTHZ_LISTEN__ENDPOINTS": "shared",
        "AUTHZ_POLICIES__DIRECTORY": "mine",
        "AUTHZ_LISTEN__SOCKET__MODE": "0660",
        "AUTHZ_IDENTITY_HEADERS": "[x-user, x-workload]",
        "AUTHZ_WORKLOADS__TRUST_DOMAINS": '{"shop.example": {"bundle": "ca.pem"}}',
        "AUTHZ_ISSUERS__CORP__REQUIRED": "true",
        "AUTHZ_TLS__CERTIFICATE": "",
    }
    settings = good(tmp_path, "workers: 2\nlisten: 127.0.0.1:7000\n" + ISSUER % "", environment)
    assert settings.workers == 4
    assert settings.listen.address == TcpAddress("127.0.0.1", 7000)
    assert settings.listen.endpoints == "shared"
    assert settings.listen.socket.mode == "0660"
    assert settings.policies.directory == tmp_path / "work" / "mine"
    assert settings.identity_headers == ["x-user", "x-workload"]
    assert settings.workloads.trust_domains["shop.example"].bundle == BundleSettings(file=tmp_path / "work" / "ca.pem")
    assert settings.issuers["corp"].required
    assert settings.tls is None


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    """Kubernetes sets such variables for a service that is called `authz`."""
    environment = {"AUTHZ_PORT": "tcp://10.0.0.1:80", "AUTHZ_SERVICE_HOST": "10.0.0.1", "HOME": "/"}
    good(tmp_path, "", environment)


@pytest.mark.parametrize(
    ("environment", "place", "message"),
    [
        ({"AUTHZ_WROKERS": "4"}, "AUTHZ_WROKERS:1:7", "this names no key"),
        ({"AUTHZ_NOTHING__SUCH": "4"}, "AUTHZ_NOTHING__SUCH:1:7", "this names no key"),
        ({"AUTHZ_ADMIN__LISTN": "x"}, "AUTHZ_ADMIN__LISTN:1:1", "unknown field `listn` in `admin`"),
        ({"AUTHZ_WORKERS": "0"}, "AUTHZ_WORKERS:1:1", "`workers` must be at least 1"),
        ({"AUTHZ_IDENTITY_HEADERS": "[x-user, X-Y]"}, "AUTHZ_IDENTITY_HEADERS:1:10", "this is the name of a header, in lower case"),
        ({"AUTHZ_IDENTITY_HEADERS": "[x-user"}, "AUTHZ_IDENTITY_HEADERS:1:1", "the `[` is never closed, or a `,` is missing"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_named(tmp_path: Path, environment: dict[str, str], place: str, message: str) -> None:
    """The variable stands where a file's name would."""
    [problem] = load(tmp_path, "", environment).problems
    position = problem.position
    assert (f"{position.file}:{position.line}:{position.column}", problem.message) == (place, message)


def test_an_error_does_not_show_the_value_of_a_variable(tmp_path: Path) -> None:
    """It may have been meant for something secret."""
    [problem] = load(tmp_path, "", {"AUTHZ_AUDIT__PASSWORD": "hunter2"}).problems
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wrokers: 4", "1:1 unknown field `wrokers` in the configuration | did you mean `workers`?"),
        ("listen: {address: '127.0.0.1:1', mode: x}", "1:34 unknown field `mode` in `listen` | it belongs under `socket`"),
        ("listen: 127.0.0.1", "1:9 an address is written `127.0.0.1:9001`, `[::1]:9001` or `unix:/path/to.sock` | "),
        ("listen: example.org:9001", "1:9 the host is an IP address or `localhost` | "),
        ("listen: 0.0.0.0:9001", "1:9 without `tls` only loopback addresses and Unix sockets are allowed | add `tls`, or listen on 127.0.0.1"),
        ("listen: 0.0.0.0:9001\ntls: {certificate: a, key: b}", "1:9 whoever reaches this address may ask about anybody | add `tls.client_ca` and `tls.clients`, or listen on 127.0.0.1"),
        ("listen: unix:/run/check.sock", "1:9 each worker has a socket of its own: the path needs `{worker}` | for example unix:/run/authz/check-{worker}.sock"),
        ("listen: {address: 'unix:/a-{worker}', endpoints: shared}", "1:50 workers can share a TCP address, but no Unix socket | "),
        ("listen: {address: '127.0.0.1:0', endpoints: shared}", "1:19 a shared address needs a port of its own, not 0 | "),
        ("listen: {socket: {mode: '660'}}", '1:25 a file mode has four octal digits | for example "0660"'),
        ("listen: {endpoints: shared, transport: lean}", "1:40 workers that share an address need `grpcio` | remove `transport`, or `endpoints: shared`"),
        ("listen: {transport: lean}\ntls: {certificate: a, key: b}", "1:21 with `tls` the transport is `grpcio` | remove `transport`, or `tls`"),
        ("listen: 127.0.0.1:9090", "1:1 `listen` listens on 127.0.0.1:9090 already | choose another port or socket"),
        ("admin: {listen: 127.0.0.1:9001}", "1:17 `listen` listens on 127.0.0.1:9001 already | choose another port or socket"),
        ("probes: {listen: 127.0.0.1:9090}", "1:18 `admin` listens on 127.0.0.1:9090 already | choose another port or socket"),
        ("listen: {transport: fast}", "1:21 `transport` must be `auto`, `lean` or `grpcio`, not `fast` | "),
        ("tls: {certificate: a, key: b, client_ca: c}", "1:42 `client_ca` needs `clients` | name who may call Check"),
        ("tls: {certificate: a, key: b, clients: ['spiffe://a/b']}", "1:40 `clients` needs `client_ca` | name who signs them"),
        ("tls: {certificate: a, key: b, client_ca: c, clients: [envoy]}", "1:55 a SPIFFE pattern begins with `spiffe://` | write `spiffe://<trust domain>/<path>`"),
        ("tls: {certificate: a, key: b, client_ca: c, clients: ['sha256:00']}", "1:55 `sha256:` is followed by 64 lower-case hexadecimal digits | "),
        ("tls: {certificate: a}", "1:6 `tls` needs `key` | "),
        ("policies: {rescan: 5}", "1:20 a duration is a whole number with its unit: ms, s, m, h or d | for example 30s"),
        ("policies: {rescan: 2h}", "1:20 this is a duration from 100ms to 1h | "),
        ("audit: {file: {rotate: 100}}", "1:24 a size is a whole number with its unit: B, KB, MB, GB, KiB, MiB or GiB | for example 100MB"),
        ("audit: {secrets: ['request.header[x-key]']}", "1:19 this is no input of decisions | for example request.headers[x-api-key], or user.claims.email"),
        ("workers: -1", "1:10 `workers` must be at least 1 | "),
        ("identity_headers: [x-user, host]", "1:28 the header `host` belongs to the connection or to Envoy | no request goes without it"),
        ("identity_headers: [x-envoy-foo]", "1:20 the header `x-envoy-foo` belongs to the connection or to Envoy | no request goes without it"),
        ("identity_headers: [authorization]\n" + ISSUER % "", "1:20 callers show credentials in `authorization`, and what is removed first is never seen | remove it once it is checked: `remove_headers` in the answers of policies"),
        ("identity_headers: [x-forwarded-client-cert]\nworkloads: {trust_domains: {shop.example: {bundle: a.pem}}, xfcc: {hops: ['spiffe://shop.example/edge']}}", "1:20 callers show credentials in `x-forwarded-client-cert`, and what is removed first is never seen | remove it once it is checked: `remove_headers` in the answers of policies"),
        ("identity_headers: [x-api-key]\napi_keys: {file: k.yaml}", "1:20 callers show credentials in `x-api-key`, and what is removed first is never seen | remove it once it is checked: `remove_headers` in the answers of policies"),
        ("identity_headers: [X-User]", "1:20 this is the name of a header, in lower case | for example x-user"),
        ("workloads: {trust_domains: {Shop: {}}}", "1:29 a trust domain has lower-case letters, digits, `.`, `_` and `-` | for example shop.example"),
        (BUNDLE % "{}", "1:52 `bundle` takes exactly one of `file`, `url` and `workload_api: true` | "),
        (BUNDLE % "{file: a, url: 'https://spire.example/'}", "1:52 `bundle` takes exactly one of `file`, `url` and `workload_api: true` | "),
        (BUNDLE % "{url: 'http://spire.example/'}", "1:58 `http:` is for loopback only | write `https:`"),
        (BUNDLE % "{url: 'https://spire.example/', max_age: 1s}", "1:93 this is a duration from 1m to 30d | "),
        (BUNDLE % "[a]", "1:52 `bundle` must be a mapping, not a list | "),
        (SVID % ("ca.pem", "header: x-svid"), "1:72 `jwt_svid` needs `audiences` | for example `audiences: [orders.shop.example]`"),
        (SVID % ("ca.pem", "header: host, audiences: [a]"), "1:81 this header has a meaning of its own | for example x-jwt-svid"),
        (SVID % ("ca.pem", "header: x-forwarded-client-cert, audiences: [a]"), "1:81 this header has a meaning of its own | for example x-jwt-svid"),
        (SVID % ("ca.pem", "header: x-svid, audiences: []"), "1:100 `audiences` must not be empty | for example `audiences: [orders.shop.example]`"),
        (SVID % ("ca.pem", "header: authorization, audiences: [a]") + "\n" + ISSUER % "", "1:81 `authorization` holds the tokens of users, because there are `issuers` | for example x-jwt-svid"),
        ("upstream_token: {}", '1:17 `upstream_token` needs `issuer` | for example `issuer: "https://authz.shop.example"`'),
        (TOKEN % "header: authorization", "1:39 this header has a meaning of its own | for example x-authz-token"),
        (TOKEN % "header: x-forwarded-for", "1:39 this header has a meaning of its own | for example x-authz-token"),
        (TOKEN % "header: x-envoy-token", "1:39 this header has a meaning of its own | for example x-authz-token"),
        (TOKEN % "header: transfer-encoding", "1:39 this header has a meaning of its own | for example x-authz-token"),
        (TOKEN % "header: X-Token", "1:39 this is the name of a header, in lower case | for example x-user"),
        (TOKEN % "lifetime: 1h", "1:41 this is a duration from 1s to 10m | "),
        (TOKEN % "lifetime: 1500ms", "1:41 the times of a token are whole seconds | for example 60s"),
        (TOKEN % "rotate: 5m", "1:39 `rotate` must be at least `lifetime` and `keys_max_age` together | otherwise backends would not know the next key in time"),
        (TOKEN % "rotate: 1d, key_file: k.json", "1:39 whoever writes `key_file` rotates its keys | remove `rotate`"),
        (TOKEN % "header: x-api-key" + "\napi_keys: {file: k.yaml}", "1:39 callers show credentials in `x-api-key` | for example x-authz-token"),
        ("workloads: {workload_api: /run/api.sock}", "1:27 this is no address of a Workload API | for example unix:///run/spire/agent-sockets/api.sock"),
        ("workloads: {workload_api: unix://run/api.sock}", "1:27 this is no address of a Workload API | for example unix:///run/spire/agent-sockets/api.sock"),
        ("workloads: {workload_api: tcp://10.0.0.1:80}", "1:27 the Workload API is spoken in the clear, so on loopback only | for example unix:///run/spire/agent-sockets/api.sock"),
        ("workloads: {workload_api: tcp://127.0.0.1:0}", "1:27 this is no address of a Workload API | for example unix:///run/spire/agent-sockets/api.sock"),
        ("workloads: {trust_domains: {a: {bundle: {workload_api: true}}}}", "1:56 it is not said where the Workload API listens | add `workloads.workload_api`"),
        ("api_keys: {file: k.yaml, header: authorization}", "1:34 `authorization` holds tokens | for example x-api-key"),
        ("api_keys: {file: k.yaml, header: cookie}", "1:34 this header has a meaning of its own | for example x-api-key"),
        ("api_keys: {file: k.yaml, name: corp}\n" + ISSUER % "", "1:32 `corp` is an issuer of tokens | rules must be able to tell them apart"),
        ("api_keys: {file: k.yaml, header: x-svid}\n" + SVID % ("ca.pem", "header: x-svid, audiences: [a]"), "1:34 `x-svid` holds JWT-SVIDs | for example x-api-key"),
        ("workloads: {trust_domains: {a: {}}, jwt_svid: {header: x-svid, audiences: [a]}}", "1:47 `jwt_svid` needs a trust domain with a `bundle` | "),
        (ISSUER % ", skew: 61s", "1:77 this is a duration from 0s to 60s | "),
        (ISSUER % ", algorithms: [HS256]", "1:84 an item of `algorithms` must be `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `ES512` or `EdDSA`, not `HS256` | did you mean `RS256`?"),
        (ISSUER % ", keys: {}", "1:77 `keys` takes exactly one of `discovery: true`, `url`, `file` and `none: true` | "),
        (ISSUER % ", keys: {none: true}", "1:84 an issuer without keys needs `introspection` | name its keys, or add it"),
        (ISSUER % ", introspection: {url: 'http://other.example/', client_id: a, client_secret_file: s}", "1:92 `http:` is for loopback only | write `https:`"),
        (ISSUER % ", introspection: {url: 'https://x/', client_id: a}", "1:86 `introspection` needs `client_secret_file` | "),
        (ISSUER % ", introspection: {url: 'https://x/', client_id: a, client_secret_file: s, timeout: 6s}", "1:152 this is a duration from 10ms to 5s | "),
        (TWO_ASKED, "3:60 `a` has `introspection` already, and nothing would tell whose an opaque token is | keep it for one issuer"),
        ("dpop: {algorithms: []}", "1:20 `algorithms` must not be empty | "),
        ("dpop: {max_age: 10m}", "1:17 this is a duration from 1s to 5m | "),
        ("dpop: {skew: 61s}", "1:14 this is a duration from 0s to 60s | "),
        ("dpop: {replay_entries: 5}", "1:24 `replay_entries` must be at least 1000 | "),
        ("dpop: {scheme: ftp}", "1:16 `scheme` must be `https` or `http`, not `ftp` | "),
        (ISSUER % ", keys: {url: 'http://other.example/jwks'}", "1:83 `http:` is for loopback only | write `https:`"),
        (ISSUER % ", keys: {url: 'https://u:p@other.example/jwks'}", "1:83 a URL holds no user name or password | "),
        (ISSUER % ", refresh: 2h", "1:80 `refresh` must be shorter than `keys_max_age` | "),
        ("issuers: {corp: {issuer: shop, audiences: [a]}}", "1:26 a URL begins with `https://` and a host | for example https://login.example/"),
        ("issuers: {a: {issuer: 'https://x/', audiences: [a]}, b: {issuer: 'https://x/', audiences: [a]}}", "1:66 the issuers `a` and `b` are the same | each `issuer` stands once"),
        ("[1]", "1:1 the configuration is a mapping of keys | "),
    ],
)  # fmt: skip
def test_a_bad_value_is_explained(tmp_path: Path, text: str, expected: str) -> None:
    """With its place, what is wrong, and what to write."""
    assert complaints(load(tmp_path, text)) == [expected]


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    """An error in one section hides none in another, nor one in the environment."""
    loaded = load(tmp_path, "workers: many\naudit: {fiel: {}}\n", {"AUTHZ_ADMIN__LISTEN": "nowhere"})
    files = [Path(problem.position.file).name for problem in loaded.problems]
    assert sorted(files) == ["AUTHZ_ADMIN__LISTEN", "authz.yaml", "authz.yaml"]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A configuration that is named must be there."""
    [problem] = load_settings(tmp_path / "none.yaml", {}).problems
    assert problem.message == "the configuration cannot be read: No such file or directory"


def test_an_issuer_that_is_no_url_needs_its_keys_named(tmp_path: Path) -> None:
    """Some issuers' `iss` is a plain text; nothing can be discovered there."""
    text = "issuers: {corp: {issuer: accounts.example, audiences: [a], keys: {file: jwks.json}}}"
    assert good(tmp_path, text).issuers["corp"].keys.file == tmp_path / "etc" / "jwks.json"


@pytest.mark.parametrize(
    "name",
    ["request.headers[x-api-key]", "request.header_values[*]", "request.query[token]", "user.claims.a.b", "user.roles"],
)
def test_a_secret_is_an_input_by_its_name(tmp_path: Path, name: str) -> None:
    """As rules and records write it."""
    assert good(tmp_path, f"audit: {{secrets: ['{name}']}}").audit.secrets == [name]


def test_keys_are_refreshed_ahead_of_their_end(tmp_path: Path) -> None:
    """By default at half of their age, and every ten minutes at least."""
    assert good(tmp_path, ISSUER % ", keys_max_age: 4m").issuers["corp"].refresh_s == 120.0
    assert good(tmp_path, ISSUER % ", keys_max_age: 1d").issuers["corp"].refresh_s == 600.0


def test_the_algorithms_are_those_that_can_be_verified() -> None:
    """The configuration offers each algorithm that there is code for, and no other."""
    assert set(get_args(Algorithm)) == set(ALGORITHMS)


@pytest.mark.parametrize(
    ("text", "transport"),
    [
        ("", "grpcio"),
        ("listen: 'unix:/run/check-{worker}.sock'", "lean"),
        ("listen: {address: 'unix:/run/check-{worker}.sock', transport: grpcio}", "grpcio"),
        ("listen: 'unix:/run/check-{worker}.sock'\ntls: {certificate: a, key: b}", "grpcio"),
        ("listen: {transport: lean}", "lean"),
    ],
)
def test_the_transport_follows_from_the_address(tmp_path: Path, text: str, transport: str) -> None:
    """Unless it is named."""
    assert good(tmp_path, text).transport == transport


def test_a_candidate_is_asked_about_everything_and_decides_nothing_unless_told(tmp_path: Path) -> None:
    """The section alone judges every check, lets nobody into a roll-out, and knows when to take one back."""
    assert good(tmp_path, "workers: 1").candidate is None
    candidate = good(tmp_path, "candidate: {}").candidate
    assert candidate is not None
    assert (candidate.directory, candidate.sample, candidate.rollout) == (tmp_path / "etc" / "candidate", 100, None)
    rolled_out = good(tmp_path, "candidate: {rollout: {percent: 10}, fall_back: {denials: 0, window: 10s}}").candidate
    assert rolled_out is not None
    assert rolled_out.rollout is not None
    assert (rolled_out.rollout.percent, rolled_out.rollout.by) == (10, "workload")
    fall_back = rolled_out.fall_back
    assert (fall_back.denials, fall_back.decisions, fall_back.window) == (0, 100, 10.0)


@pytest.mark.parametrize("directory", ["policies", "policies/next", ".", "../etc/policies"])
def test_a_candidate_has_a_directory_of_its_own(tmp_path: Path, directory: str) -> None:
    """Files that are both in force and candidates would make every edit a change of both."""
    loaded = load(tmp_path, f"candidate: {{directory: {directory}}}")
    assert complaints(loaded) == [
        "1:24 the candidate needs a directory of its own, beside `policies.directory` | for example candidate"
    ]
