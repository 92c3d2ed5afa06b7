"""Compiles the items of `from`, with the roles that they name."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.names import KnownNames, Report
from authz_server.policy.plan import CallerItem, Scalar, UserItem
from authz_server.policy.schema import Caller, Users

MAX_ROLE_ITEMS = 1_000
MAX_ROLE_DEPTH = 16

Folders = tuple[str, ...]


class RoleDefinition(NamedTuple):
    """A role where it is defined."""

    name: str
    folders: Folders
    document: Document
    items: Sequence[Caller]

    @property
    def path(self) -> FieldPath:
        """Where its items stand in the document."""
        return ("roles", self.name)


class Callers:
    """The callers of one load: knows the roles of all folders."""

    def __init__(self, known: KnownNames | None, report: Report, *, all_roles_known: bool) -> None:
        self._known = known
        self._report = report
        self._all_roles_known = all_roles_known
        self._definitions: dict[tuple[Folders, str], RoleDefinition] = {}
        self._expanded: dict[tuple[Folders, str], tuple[CallerItem, ...]] = {}
        self._open: list[RoleDefinition] = []
        """The roles that are being expanded, each named by the one before."""

    def define(self, folders: Folders, document: Document, roles: dict[str, list[Caller]]) -> None:
        """Make the roles of a document known in its folder and below; folders above come first."""
        for name, items in roles.items():
            known = self._find(folders, name)
            if known is None:
                self._definitions[folders, name] = RoleDefinition(name, folders, document, items)
                continue
            first = known.document.position(known.path, key=True)
            message = f"the role {quoted(name)} is defined twice"
            hint = f"the first is at {first.file}:{first.line}"
            self._report(document.problem(("roles", name), "role_defined_twice", message, hint, key=True))

    def check_roles(self) -> None:
        """Report what is wrong with the roles, whether anybody uses them or not."""
        for definition in self._definitions.values():
            self._expand(definition)

    def compile(
        self, folders: Folders, document: Document, path: FieldPath, items: Sequence[Caller]
    ) -> tuple[CallerItem, ...]:
        """The items of a `from`, which stands at the path in a document of the folders."""
        return tuple([self._item(folders, document, (*path, index), item) for index, item in enumerate(items)])

    def _find(self, folders: Folders, name: str) -> RoleDefinition | None:
        for depth in range(len(folders), -1, -1):
            if found := self._definitions.get((folders[:depth], name)):
                return found
        return None

    def _item(self, folders: Folders, document: Document, path: FieldPath, item: Caller) -> CallerItem:
        if not item.model_fields_set:
            message = "an item without a field fits nobody in particular"
            self._report(document.problem(path, "empty_item", message, "`from: anyone` means everybody"))
        if item.anonymous and (item.workloads or item.users):
            message = "an anonymous caller has neither workload nor user, so nobody would fit"
            hint = "make it an item of its own"
            self._report(document.problem((*path, "anonymous"), "contradiction", message, hint, key=True))
        for index, pattern in enumerate(item.workloads):
            self._check_trust_domain(document, (*path, "workloads", index), pattern)
        return CallerItem(
            workloads=tuple(item.workloads),
            users=self._users(document, path, item.users),
            networks=tuple(item.networks),
            anonymous=bool(item.anonymous),
            any_of=self._roles(folders, document, (*path, "roles"), item.roles),
        )

    def _users(self, document: Document, path: FieldPath, users: Users | str | None) -> UserItem | None:
        if not isinstance(users, Users):
            return None if users is None else UserItem()
        if self._known is not None and users.issuer not in self._known.issuers:
            message = f"unknown issuer {quoted(users.issuer)}"
            hint = _known_names(users.issuer, self._known.issuers, "issuer")
            self._report(document.problem((*path, "users", "issuer"), "unknown_issuer", message, hint))
        return UserItem(
            issuer=users.issuer,
            subjects=tuple(users.subjects),
            scopes=tuple(users.scopes),
            roles=tuple(users.roles),
            groups=tuple(users.groups),
            claims=tuple((name, _values(value)) for name, value in sorted(users.claims.items())),
            actors=tuple(users.actors),
        )

    def _check_trust_domain(self, document: Document, path: FieldPath, pattern: str) -> None:
        name = pattern.split("/")[2]
        if self._known is not None and name not in self._known.trust_domains:
            message = f"unknown trust domain {quoted(name)}"
            hint = _known_names(name, self._known.trust_domains, "trust domain")
            offset = len("spiffe://")
            self._report(
                document.problem_within(path, "unknown_trust_domain", message, hint, offset=offset, length=len(name))
            )

    def _roles(
        self, folders: Folders, document: Document, path: FieldPath, names: Sequence[str]
    ) -> tuple[CallerItem, ...]:
        items: list[CallerItem] = []
        for index, name in enumerate(names):
            place = (*path, index)
            definition = self._find(folders, name)
            if definition is None:
                self._report_unknown(folders, document, place, name)
            elif definition in self._open:
                names_in_circle = [role.name for role in self._open[self._open.index(definition) :]] + [name]
                message = f"the role {quoted(name)} contains itself: {' → '.join(names_in_circle)}"
                self._report(document.problem(place, "role_cycle", message, "leave this one out"))
            elif len(self._open) == MAX_ROLE_DEPTH:
                message = f"roles contain each other more than {MAX_ROLE_DEPTH} levels deep"
                self._report(document.problem(place, "role_too_big", message, "name the callers here"))
            else:
                items += self._expand(definition)
        return tuple(items)

    def _expand(self, definition: RoleDefinition) -> tuple[CallerItem, ...]:
        key = (definition.folders, definition.name)
        if key not in self._expanded:
            self._open.append(definition)
            items = self.compile(definition.folders, definition.document, definition.path, definition.items)
            self._open.pop()
            if _are_too_many(items):
                message = f"the role {quoted(definition.name)} has more than {MAX_ROLE_ITEMS:,} items, with its roles"
                hint = "let the identity provider name the group"
                self._report(definition.document.problem(definition.path, "role_too_big", message, hint, key=True))
                items = ()
            self._expanded[key] = items
        return self._expanded[key]

    def _report_unknown(self, folders: Folders, document: Document, path: FieldPath, name: str) -> None:
        if not self._all_roles_known:
            return
        known = [role for place, role in self._definitions if place == folders[: len(place)]]
        hint = _known_names(name, known, "role")
        self._report(document.problem(path, "unknown_role", f"unknown role {quoted(name)}", hint))


def _known_names(name: str, known: Iterable[str], what: str) -> str:
    names = sorted(known)
    return did_you_mean(name, names, f"known are {listing(names)}" if names else f"there is no {what} here")


def _values(value: Scalar | list[Scalar]) -> tuple[Scalar, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _are_too_many(items: Sequence[CallerItem]) -> bool:
    pending = list(items)
    for _ in range(MAX_ROLE_ITEMS):
        if not pending:
            return False
        pending += pending.pop().any_of
    return bool(pending)
