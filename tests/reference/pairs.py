"""Pairs of small policies, and every request that anything in them could tell from another one."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from random import Random
from typing import Any

from tests.reference.asked import Asked, Condition
from tests.reference.worlds import CONDITIONS, NOW, Document

TEMPLATES = ["/a", "/a/{id}", "/a/{id:int}", "/a/**", "/{id}/b", "/A", "/**", "/api/{id}", "/api"]
TARGETS = ["/", "/a", "/A", "/a/", "/a/7", "/a/b", "/a/...", "/api/7", "/a/x/y"]
HOSTS = ["orders.shop.example", "*.shop.example"]
ASKED_HOSTS = ["orders.shop.example", "any.shop.example"]
METHODS = ["GET", "POST"]
ASKED_METHODS = ["GET", "POST", "PUT"]
PATTERNS = ["spiffe://shop.example/ns/a/sa/x", "spiffe://shop.example/ns/*/sa/x", "spiffe://shop.example/**"]
WORKLOADS = [
    *(None, "spiffe://shop.example/ns/a/sa/x", "spiffe://shop.example/ns/b/sa/x", "spiffe://partner.example/x"),
]
USERS: list[Mapping[str, Any] | None] = [
    None,
    {"issuer": "corp", "sub": "ann", "scopes": ["r"]},
    {"issuer": "corp", "sub": "bob", "scopes": ["r", "w"], "level": 2},
    {"issuer": "corp", "sub": "ann", "scopes": ["w"], "acr": "mfa", "level": 3},
    {"issuer": "partner", "sub": "ann", "scopes": ["r", "w"], "level": 2, "acr": "mfa"},
]
CONDITION_TEXTS = [
    *('request.method == "GET"', 'request.headers["x-a"] == "1"', '"x-a" in request.headers', "user.claims.level == 2"),
    *('has_user && user.subject == "ann"', "!has_workload", 'path.id == "7"'),
]
CONDITIONS_OF_PAIRS: dict[str, Condition] = {text: CONDITIONS[text] for text in CONDITION_TEXTS}
HEADERS: list[dict[str, str]] = [{}, {"x-a": "1"}, {"x-a": "2"}]
UPGRADES: list[dict[str, str]] = [{}, {"upgrade": "websocket", "connection": "upgrade"}]


class Pair:
    """An old and a new policy, made of one seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)  # noqa: S311 - the same pair for the same seed
        self.old = self._documents()
        self.new = self._documents() if self._maybe(0.2) else self._changed()
        self._text = repr((self.old, self.new))

    def requests(self) -> Iterator[Asked]:
        """All combinations of what could matter; of what neither policy names, one is enough."""
        return (
            Asked(
                method=method,
                target=target,
                host=host,
                workload=workload,
                user=user,
                headers={**headers, **upgrade},
                address=address,
                now=NOW,
            )
            for method, target, host, workload, user, headers, upgrade, address in product(
                ASKED_METHODS if self._names("methods", "request.method") else ["GET"],
                TARGETS if self._names("paths", "/api") else ["/", "/a"],
                ASKED_HOSTS if self._names("*.shop.example") else ASKED_HOSTS[:1],
                WORKLOADS if self._names("workload", "anonymous") else WORKLOADS[:1],
                USERS if self._names("user", "acr", "anonymous") else USERS[:1],
                HEADERS if self._names("x-a") else HEADERS[:1],
                UPGRADES if self._names("upgrade") else UPGRADES[:1],
                ["", "10.1.2.3", "192.0.2.7"] if self._names("networks") else ["192.0.2.7"],
            )
        )

    def _names(self, *words: str) -> bool:
        return any(word in self._text for word in words)

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _some(self, choices: list[Any], most: int = 2) -> list[Any]:
        return self._chance.sample(choices, self._chance.randint(1, most))

    def _documents(self) -> dict[str, Document]:
        rules = [self._rule(f"r{number}") for number in range(self._chance.randint(1, 4))]
        service: Document = {"kind": "service", "name": "s", "hosts": self._some(HOSTS), "rules": rules}
        documents = {"s.yaml": service}
        if self._maybe(0.3):
            service["path_prefix"] = "/api"
            for rule in rules:
                for item in rule.get("to", []):
                    paths = [path for path in item.pop("paths", []) if path.startswith("/api")]
                    item |= {"paths": paths} if paths else {"methods": item.get("methods", ["GET"])}
                if "path.id" in rule.get("when", ""):
                    del rule["when"]
        if self._maybe(0.3):
            guardrail = self._rule("g")
            documents["g.yaml"] = {"kind": "guardrails", "rules": [guardrail | {"effect": "deny"}]}
            for key in ("requires", "answer"):
                guardrail.pop(key, None)
            documents["g.yaml"]["rules"] = [guardrail | {"effect": "deny"}]
        return documents

    def _changed(self) -> dict[str, Document]:
        new = deepcopy(self.old)
        rules = new["s.yaml"]["rules"]
        prefixed = "path_prefix" in new["s.yaml"]
        number = self._chance.randrange(len(rules))
        kind = self._chance.choice(["remove", "replace", "add", "widen", "narrow", "when", "effect", "same"])
        other = self._rule(rules[number]["id"])
        if prefixed:
            other.pop("to", None)
            other.pop("when", None)
        if kind == "remove":
            del rules[number]
        elif kind == "replace":
            rules[number] = other
        elif kind == "add":
            rules.append(other | {"id": "new"})
        elif kind == "widen":
            rules[number].pop("when", None)
        elif kind == "narrow":
            rules[number]["when"] = 'request.headers["x-a"] == "1"'
        elif kind == "when":
            rules[number]["when"] = "!has_workload"
        elif kind == "effect" and "answer" not in rules[number] and "requires" not in rules[number]:
            effect = rules[number]["effect"]
            rules[number]["effect"] = "deny" if effect == "allow" or "from" not in rules[number] else "allow"
        return new

    def _rule(self, name: str) -> Document:
        effect = self._chance.choice(["allow", "allow", "deny"])
        rule: Document = {"id": name, "effect": effect}
        if effect == "allow" or self._maybe(0.5):
            rule["from"] = "anyone" if self._maybe(0.3) else [self._item() for _ in range(self._chance.randint(1, 2))]
        if self._maybe(0.85):
            rule["to"] = [self._operation() for _ in range(self._chance.randint(1, 2))]
        if self._maybe(0.4):
            paths = [path for item in rule.get("to", [{}]) for path in item.get("paths", [""])]
            captured = all("{id" in path for path in paths)
            rule["when"] = self._chance.choice([text for text in CONDITION_TEXTS if captured or "path." not in text])
        if effect == "allow" and self._maybe(0.15):
            rule["answer"] = {"set_headers": {"x-r": self._chance.choice(["'1'", "'2'"])}}
        if effect == "allow" and self._maybe(0.15):
            rule["requires"] = {"acr": ["mfa"]}
        return rule

    def _item(self) -> Document:
        chosen = self._some(["workloads", "users", "networks", "anonymous"], 2)
        if "anonymous" in chosen:
            return {"anonymous": True}
        users: Document = {"issuer": self._chance.choice(["corp", "corp", "partner"])}
        users |= (
            {"scopes": self._some(["r", "w"])}
            if self._maybe(0.6)
            else {"subjects": [self._chance.choice(["ann", "bob"])]}
        )
        values: Document = {
            "workloads": self._some(PATTERNS),
            "users": "any" if self._maybe(0.3) else users,
            "networks": ["10.0.0.0/8"],
        }
        return {kind: values[kind] for kind in chosen}

    def _operation(self) -> Document:
        item: Document = {}
        if self._maybe(0.5):
            item["methods"] = self._some(METHODS)
        if self._maybe(0.8):
            item["paths"] = self._some(TEMPLATES)
        if self._maybe(0.1):
            item["upgrade"] = "websocket"
        return item or {"methods": ["GET"]}
