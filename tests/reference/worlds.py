"""Random policies, and random requests that have something to do with them; the same for the same seed."""

from collections.abc import Mapping
from random import Random
from typing import Any

from tests.reference.asked import Asked, Condition, Incomplete, Unknown

Document = dict[str, Any]

NOW = 1_772_442_000.0
"""2026-03-02T09:00:00Z, a Monday."""
HOSTS = ["orders.shop.example", "orders.shop.example:8443", "*.shop.example", "*", "web.shop.example"]
TEMPLATES = [
    *("/a", "/a/", "/a/b", "/A", "/a/{id}", "/a/{id:int}", "/{id}/b", "/a/**", "/**", "/{id}.txt", "/a/{rest...}", "/"),
    *("/a/{id}/c", "/api/{id}", "/api/**", "/{u:uuid}", "/a b"),
]
PATTERNS = [
    *("spiffe://shop.example/ns/a/sa/x", "spiffe://shop.example/ns/*/sa/x", "spiffe://shop.example/ns/a/**"),
    *("spiffe://shop.example/**", "spiffe://partner.example/**", "spiffe://shop.example/ns/*/sa/*"),
]
WORKLOADS = [
    *(None, None, "spiffe://shop.example/ns/a/sa/x", "spiffe://shop.example/ns/b/sa/x", "spiffe://shop.example/ns/a"),
    *("spiffe://partner.example/ns/a/sa/x", "spiffe://shop.example/ns/ab/sa/x"),
]
NETWORKS = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]
ADDRESSES = ["", "10.1.2.3", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8::1", "203.0.113.1"]
UUID = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f"
TARGETS = [
    *(
        "/",
        "/a",
        "/a/",
        "/A",
        "/a/b",
        "/a/7",
        "/a/7/",
        "/c/b",
        "/a/b/c",
        "/x.txt",
        "/x.TXT.",
        "/a%20",
        "/a/...",
        "/a%20b",
    ),
    *("/a/7/c", "/api", "/api/7", "/API/7", "/api./7", f"/{UUID}", "/a?q=1", "/a//b", "/a/../b", "/a;b", "/a%2fb", "a"),
    *("/a/%37", "/%61", "/a#b", "/orders.v1.Orders/Get", "/orders.v1.orders/get", "/orders.v1.Orders/Get?x", "/a\\b"),
]
SEVERAL_READINGS = [
    *("/a/%2e%2e/b", "/a%252fb", "/a/..;/b", "//a/b", "/a/b/..", "/a/b/.", "/a%3fb", "/a/7%2fc", "/a/7//c", "/A%2Fb"),
    *("/a;x=1/7;y=2", "/api/..%2fa/7", "/api%2f7", "/a/x%2f..%2f7", "/%2561/b", "/a/%252e%252e%5cb", "/a/b%3b/c"),
    *("/orders.v1.Orders//Get", "/a%2fb%2f..%5c..;//%252e%252e%3f%23", "/a/%23/b", "/%61pi/7", "/a%25b", "/a/..", "//"),
    *("/x/../API/7", "/a/%20/b", "/a/%2520", "/a//", "/a/b%2520c", "/a/%c3%a9%2F7", "/a/%2500", "/a%25252fb", "/a;/b"),
]
PLAIN_TARGETS = [target for target in TARGETS if not set(target) & set("#;\\\\") and target.count("//") == 0]
PIECES = [
    *("/", "/a", "/b", "/api", "/7", "/..", "/.", "%2f", "%2E", "%25", "%5c", ";", "\\", "%3b", "%20", "a", "//", "%41")
]
ASKED_HOSTS = [
    *(
        "orders.shop.example",
        "orders.shop.example",
        "ORDERS.shop.example.",
        "orders.shop.example:8443",
        "web.shop.example",
    ),
    *("other.example", "x.y.shop.example"),
]
USERS: list[Mapping[str, Any] | None] = [
    None,
    None,
    {
        "issuer": "corp",
        "sub": "ann",
        "scopes": ["r", "w"],
        "roles": ["support"],
        "groups": ["g1"],
        "level": 2,
        "acr": "mfa",
    },
    {"issuer": "corp", "sub": "bob", "scopes": ["r"], "level": "2", "tags": ["x", "y"], "amr": ["otp", "pwd"]},
    {"issuer": "partner", "sub": "ann", "roles": ["admin", "support"], "acr": "pwd"},
]
METADATA: list[Mapping[str, Mapping[str, Any]]] = [
    *({}, {"tier.filter": {}}, {"tier.filter": {"tier": "gold"}}, {"tier.filter": {"tier": 1}}),
    {"other.filter": {"tier": "gold"}},
]
FIRST = {"GET", "POST", "DELETE"}


def _header(asked: Asked, _captures: Mapping[str, str]) -> bool:
    if "x-a" not in asked.headers:
        raise Unknown
    return asked.headers["x-a"] == "1"


def _level(asked: Asked, _captures: Mapping[str, str]) -> bool:
    if asked.user is None or "level" not in asked.user:
        raise Unknown
    return type(asked.user["level"]) is int and asked.user["level"] == 2


def _capture(asked: Asked, captures: Mapping[str, str]) -> bool:
    if "id" not in captures:
        raise Unknown
    return captures["id"] == "7"


def _body(asked: Asked) -> Any:
    """What the body holds; the others of BODIES have no reading."""
    if not asked.body_is_whole or asked.method == "CONNECT" or "upgrade" in asked.headers:
        raise Incomplete
    if asked.body not in READABLE or asked.headers.get("content-type") != "application/json":
        raise Unknown
    return READABLE[asked.body]


def _has_body(asked: Asked) -> bool:
    if not asked.body_is_whole or asked.method == "CONNECT" or "upgrade" in asked.headers:
        raise Incomplete
    return bool(asked.body)


def _body_level(asked: Asked, _captures: Mapping[str, str]) -> bool:
    value = _body(asked)
    if not isinstance(value, dict) or "level" not in value:
        raise Unknown
    return type(value["level"]) is int and value["level"] == 2


def _tier(asked: Asked, _captures: Mapping[str, str]) -> bool:
    if "tier" not in asked.metadata.get("tier.filter", {}):
        raise Unknown
    return bool(asked.metadata["tier.filter"]["tier"] == "gold")


READABLE: dict[bytes | None, Any] = {
    b'{"level": 2}': {"level": 2},
    b'{"level": 3, "a": [1]}': {"level": 3, "a": [1]},
    b'{"level": "2"}': {"level": "2"},
    b"{}": {},
    b"[2]": [2],
}
BODIES = [None, b"", *READABLE, b'{"level": 2, "level": 3}', b'{"level": 2, "LEVEL": 3}', b"level=2", b'{"level": 2']
BODY_CONDITIONS: dict[str, Condition] = {
    "body.level == 2": _body_level,
    "has_body": lambda asked, _: _has_body(asked),
    "!has_body": lambda asked, _: not _has_body(asked),
    "has_body && body.level == 2": lambda asked, captures: _has_body(asked) and _body_level(asked, captures),
    'request.method == "POST" && body.level == 2': lambda asked, captures: (
        asked.method == "POST" and _body_level(asked, captures)
    ),
}
CONDITIONS: dict[str, Condition] = {
    **BODY_CONDITIONS,
    'metadata["tier.filter"].tier == "gold"': _tier,
    'request.method == "GET"': lambda asked, _: asked.method == "GET",
    'request.headers["x-a"] == "1"': _header,
    '"x-a" in request.headers': lambda asked, _: "x-a" in asked.headers,
    "user.claims.level == 2": _level,
    'has_user && user.subject == "ann"': lambda asked, _: asked.user is not None and asked.user["sub"] == "ann",
    "!has_workload": lambda asked, _: asked.workload is None,
    'path.id == "7"': _capture,
}


class World:
    """Documents, made of one seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)  # noqa: S311 - the same world for the same seed
        self.documents: dict[str, Document] = {}
        self._bodies = self._maybe(0.5)
        """Whether the services declare bodies."""
        self._make()

    def _some(self, choices: list[Any], most: int = 2) -> list[Any]:
        return self._chance.sample(choices, self._chance.randint(1, most))

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _make(self) -> None:
        claimed: set[tuple[str, str]] = set()
        for number, folder in enumerate(self._chance.sample(["", "shop/", "shop/inner/", "other/"], 3)):
            prefix = "/" if number < 2 else "/api"
            hosts = [host for host in self._some(HOSTS, 3) if (host, prefix) not in claimed]
            claimed |= {(host, prefix) for host in hosts}
            if hosts:
                self.documents[f"{folder}s{number}.yaml"] = self._service(f"s{number}", hosts, prefix)
        if self._maybe(0.5):
            folder = self._chance.choice(["", "shop/"])
            rules = [self._rule(f"g{i}", "deny", TEMPLATES) for i in range(self._chance.randint(1, 2))]
            self.documents[f"{folder}guardrails.yaml"] = {"kind": "guardrails", "rules": rules}
        roles = {"support": [self._item(roles=False)], "staff": [self._item(roles=False), {"roles": ["support"]}]}
        self.documents["roles.yaml"] = {"kind": "roles", "roles": roles}

    def _service(self, name: str, hosts: list[str], prefix: str) -> Document:
        templates = TEMPLATES if prefix == "/" else [path for path in TEMPLATES if path.startswith(prefix)]
        effects = [self._chance.choice(["allow", "allow", "allow", "deny"]) for _ in range(self._chance.randint(0, 6))]
        rules = [self._rule(f"r{number}", effect, templates) for number, effect in enumerate(effects)]
        document: Document = {"kind": "service", "name": name, "hosts": hosts, "rules": rules}
        document |= {"body": "json"} if self._bodies else {}
        if self._maybe(0.4):
            document["paths"] = "lenient"
        return document if prefix == "/" else document | {"path_prefix": prefix}

    def rule(self, name: str, effect: str) -> Document:
        """One more rule."""
        return self._rule(name, effect, TEMPLATES)

    def _rule(self, name: str, effect: str, templates: list[str]) -> Document:
        rule: Document = {"id": name, "effect": effect}
        if effect == "allow" or self._maybe(0.6):
            rule["from"] = "anyone" if self._maybe(0.5) else [self._item() for _ in range(self._chance.randint(1, 2))]
        if self._maybe(0.8):
            rule["to"] = [self._operation(templates) for _ in range(self._chance.randint(1, 2))]
        if self._maybe(0.55):
            # Where only some templates have the capture, a rule may both hold and fail: which is told is left open.
            paths = [path for item in rule.get("to", [{}]) for path in item.get("paths", [""])]
            captured = all("{id" in path for path in paths)
            possible = [text for text in CONDITIONS if captured or "path." not in text]
            about_bodies = self._bodies and self._maybe(0.6)
            rule["when"] = self._chance.choice([text for text in possible if (text in BODY_CONDITIONS) is about_bodies])
        if effect == "allow" and self._maybe(0.15):
            rule["answer"] = {"set_headers": {"x-r": self._chance.choice(["'1'", "'2'"])}}
        if effect == "allow" and self._maybe(0.15):
            rule["requires"] = self._chance.choice(
                [{"acr": ["mfa"]}, {"amr": ["otp"]}, {"acr": ["mfa"], "amr": ["otp"]}]
            )
        if self._maybe(0.15):
            rule["valid"] = self._chance.choice(
                [
                    {"from": "2026-03-02T10:00:00+01:00"},
                    {"until": "2026-03-02T09:00:00Z"},
                    {"from": "2026-03-02T09:00:01Z"},
                ]
            )
        if self._maybe(0.15):
            days = self._some(["mon", "sun", "tue"], 2)
            hours = self._chance.choice(["08:00-18:00", "22:00-10:00", "09:01-12:00", "22:00-06:00"])
            rule["schedule"] = {"days": days, "hours": hours, "zone": "UTC"}
        return rule

    def _item(self, *, roles: bool = True) -> Document:
        kinds = ["workloads", "users", "networks", "anonymous", *(["roles"] if roles else [])]
        chosen = self._some(kinds, 2)
        if "anonymous" in chosen:
            return {"anonymous": True}
        values: Document = {
            "workloads": self._some(PATTERNS),
            "users": "any" if self._maybe(0.4) else self._users(),
            "networks": self._some(NETWORKS),
            "roles": self._some(["support", "staff"]),
        }
        return {kind: values[kind] for kind in chosen}

    def _users(self) -> Document:
        users: Document = {"issuer": self._chance.choice(["corp", "corp", "partner"])}
        fields = {
            "subjects": ["ann", "bob"],
            "scopes": ["r", "w"],
            "roles": ["support", "admin"],
            "groups": ["g1", "g2"],
        }
        for field in self._some(list(fields), 2):
            users[field] = self._some(fields[field])
        if self._maybe(0.3):
            users["claims"] = self._chance.choice([{"level": 2}, {"level": ["2", 3]}, {"tags": "x"}, {"none": "a"}])
        return users

    def _operation(self, templates: list[str]) -> Document:
        item: Document = {}
        if self._maybe(0.1):
            return {"connect": True}
        if self._maybe(0.15):
            methods = {"methods": ["Get"]} if self._maybe(0.5) else {}
            return {"grpc": {"service": "orders.v1.Orders", **methods}}
        if self._maybe(0.4):
            item["methods"] = self._some(sorted(FIRST))
        if self._maybe(0.8):
            item["paths"] = self._some(templates, min(3, len(templates)))
        if self._maybe(0.15):
            item["hosts"] = self._some(HOSTS)
        if self._maybe(0.15):
            item["ports"] = self._some([80, 443])
        if self._maybe(0.15):
            item["upgrade"] = "websocket"
        return item or {"methods": ["GET"]}


def _target(chance: Random) -> str:
    kind = chance.random()
    if kind < 0.25:
        return (
            "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 5)))
            if kind < 0.05
            else chance.choice(SEVERAL_READINGS)
        )
    return chance.choice(TARGETS if kind < 0.5 else PLAIN_TARGETS)


def ask(chance: Random) -> Asked:
    """A request."""
    headers: dict[str, str] = {}
    if chance.random() < 0.3:
        headers["x-a"] = chance.choice(["1", "2"])
    if chance.random() < 0.15:
        headers |= {"upgrade": chance.choice(["websocket", "WebSocket", "h2c"]), "connection": "upgrade"}
    if chance.random() < 0.2:
        headers["content-type"] = chance.choice(["application/grpc", "application/grpc+proto", "text/plain"])
    elif chance.random() < 0.8:
        headers["content-type"] = "application/json"
    method = chance.choice(["GET", "GET", "GET", "POST", "DELETE", "PURGE", "CONNECT"])
    return Asked(
        method=method,
        target="" if method == "CONNECT" else _target(chance),
        host=chance.choice(ASKED_HOSTS),
        headers=headers,
        workload=chance.choice(WORKLOADS),
        user=chance.choice(USERS),
        bad_token=chance.random() < 0.05,
        address=chance.choice(ADDRESSES),
        port=chance.choice([None, 80, 443]),
        service=chance.choice([None] * 8 + ["s0", "shop/s1", "none"]),
        now=NOW,
        body=chance.choice(BODIES),
        body_is_whole=chance.random() < 0.6,
        metadata=chance.choice(METADATA),
    )
