"""One request as conditions see it: a variable is made when an expression that reads it is evaluated."""

from collections.abc import Callable, Mapping
from typing import Any

from cel_expr_python import cel

from authz_server.model import Request, User, Workload
from authz_server.policy.conditions.body import Incomplete, json_body
from authz_server.policy.conditions.metadata import plain
from authz_server.policy.conditions.values import Unusable, excess
from authz_server.request.body import DEFAULT_MAX_BYTES, BodyIncomplete, whole_body
from authz_server.request.operation import Operation
from authz_server.request.query import UnreadableQuery, parse_query

NO_REQUEST = Request()
MAX_ELEMENTS = 256
MAX_TEXT = 8192
"""Elements of a list, and characters of a text, that an expression with macros reads: its cost is their product."""


_NOT_READ = object()
_OF_A_READING = frozenset({"request", "path"})
"""The variables that depend on how the path is read."""


def never() -> bool:
    """It never is too late."""
    return False


class EvaluationError(Exception):
    """An expression that cannot be evaluated for this request.

    The message is for operators: it names attributes and holds nothing of their values.
    """


class BodyMissing(EvaluationError):
    """An expression needs the body, and not all of it came."""


Binding = Callable[["Evaluation", Mapping[str, str]], object]
"""Makes a variable from a request and the captures of a path. Raises Unusable."""


class Needs:
    """The variables that an expression reads; expressions that read the same share one, and their activations."""

    def __init__(
        self,
        environment: cel.Env,
        bindings: Mapping[str, Binding],
        reads: tuple[str, ...] = (),
        *,
        iterates: bool,
        reads_path: bool,
    ) -> None:
        self.environment = environment
        self.reads = reads
        """What the expression reads, by name."""
        self.bindings = bindings
        self.items = tuple(bindings.items())
        self.reads_captures = "path" in bindings
        self.reads_path = reads_path
        """Whether what is read differs between the readings of a path."""
        self.iterates = iterates


class Evaluation:
    """One request, for any number of expressions; for one thread."""

    unusable: tuple[type[Exception], ...] = (Unusable,)
    """What leaves a variable unbound, so that only what uses it fails."""

    def __init__(
        self,
        operation: Operation,
        workload: Workload | None,
        user: User | None,
        now: float,
        request: Request = NO_REQUEST,
        max_body: int = DEFAULT_MAX_BYTES,
        is_late: Callable[[], bool] = never,
    ) -> None:
        """`now` is in seconds since the epoch; `request` has body and metadata, `max_body` is in bytes.

        `is_late` tells, before each expression that the engine evaluates, whether there is no time left for it.
        """
        self.operation = operation
        self.workload = workload
        self.user = user
        self.now = now
        self.is_late = is_late
        self.known: dict[object, cel.Value | EvaluationError] | None = None
        """What programs that do not read the path have computed, or why they could not.

        None where nothing asks for it twice.
        """
        self._request = request
        self._max_body = max_body
        self._json: Any = _NOT_READ
        """The value of the body, or why there is none."""
        self._query: dict[str, list[str]] | Unusable | None = None
        self._first: Evaluation | None = None
        self._data: dict[Needs, dict[str, object] | EvaluationError] = {}
        self._activations: dict[Needs, cel.Activation] = {}
        self._sized: dict[tuple[Needs, str], EvaluationError | None] = {}
        """Which variables are too large for a macro."""
        self._captures: Mapping[str, str] = {}
        """Those of the data and activations that hold captures."""

    def expect_again(self) -> None:
        """What does not depend on the path will be asked for again: compute it once."""
        if self.known is None:
            self.known = {}

    def reread(self, operation: Operation) -> "Evaluation":
        """The same for another reading of the path."""
        self.expect_again()
        other = Evaluation(operation, self.workload, self.user, self.now, self._request, self._max_body, self.is_late)
        other.known, other._first = self.known, self
        return other

    def query(self) -> dict[str, list[str]]:
        """The parameters of the query. Raises Unusable."""
        if self._first is not None:
            return self._first.query()
        if self._query is None:
            try:
                self._query = parse_query(self.operation.query_text)
            except UnreadableQuery as error:
                self._query = Unusable(str(error))
        if isinstance(self._query, Unusable):
            raise self._query
        return self._query

    @property
    def has_body(self) -> bool:
        """Whether the client sent a body. Raises Unusable where nobody can tell."""
        return bool(self._body())

    @property
    def body_was_read(self) -> bool:
        """Whether some expression has read the body, and it could be read."""
        return self._json is not _NOT_READ and not isinstance(self._json, Unusable)

    def body(self) -> Any:  # noqa: ANN401 - any value of JSON
        """The value of the body, read once. Raises Unusable."""
        if self._first is not None:
            return self._first.body()
        if self._json is _NOT_READ:
            try:
                self._json = json_body(self._body(), self.operation.headers)
            except Unusable as error:
                self._json = error
        if isinstance(self._json, Unusable):
            raise self._json
        return self._json

    def _body(self) -> bytes:
        try:
            return whole_body(self._request, self.operation, self._max_body)
        except BodyIncomplete as error:
            raise Incomplete(str(error)) from error

    def metadata(self, namespace: str) -> dict[str, Any] | None:
        """What was written under a namespace; None where nothing was. Raises Unusable."""
        written = self._request.metadata.get(namespace)
        return None if written is None else plain(written)

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of metadata that came."""
        return tuple(self._request.metadata)

    def data(self, needs: Needs, captures: Mapping[str, str]) -> dict[str, object]:
        """The variables that are needed and can be bound. Raises EvaluationError where a list is too long."""
        if needs.reads_captures and captures is not self._captures and captures != self._captures:
            if self._data:
                self._forget_captures()
            self._captures = captures
        data = self._data.get(needs)
        if data is None:
            try:
                data = self._bound(needs, captures)
            except EvaluationError as error:
                data = error
            self._data[needs] = data
        if isinstance(data, EvaluationError):
            raise data
        return data

    def _forget_captures(self) -> None:
        self._data = {kept: value for kept, value in self._data.items() if not kept.reads_captures}
        self._activations = {kept: value for kept, value in self._activations.items() if not kept.reads_captures}
        self._sized = {kept: fault for kept, fault in self._sized.items() if kept[1] not in _OF_A_READING}

    def activation(self, needs: Needs, captures: Mapping[str, str]) -> cel.Activation:
        """The same for the engine. Raises EvaluationError where a list is too long."""
        data = self.data(needs, captures)
        activation = self._activations.get(needs)
        if activation is None:
            activation = self._activations[needs] = needs.environment.Activation(data)
        return activation

    def _bound(self, needs: Needs, captures: Mapping[str, str]) -> dict[str, object]:
        data: dict[str, object] = {}
        for name, binding in needs.items:
            try:
                data[name] = binding(self, captures)
            except self.unusable:
                continue
            if needs.iterates:
                self._check_size(needs, name, data[name])
        return data

    def _check_size(self, needs: Needs, name: str, value: object) -> None:
        """Once for all readings of the path, where the variable does not depend on it. Raises EvaluationError."""
        sized = (self if name in _OF_A_READING or self._first is None else self._first)._sized
        if (needs, name) not in sized:
            sized[needs, name] = _fault_of_size(name, value)
        fault = sized[needs, name]
        if fault is not None:
            raise fault

    def why_unbound(self, needs: Needs, name: str, captures: Mapping[str, str]) -> EvaluationError:
        """Why a variable is not bound."""
        try:
            needs.bindings[name](self, captures)
        except Unusable as error:
            return (BodyMissing if isinstance(error, Incomplete) else EvaluationError)(str(error))
        return EvaluationError(f"there is no `{name}`")


def _fault_of_size(name: str, value: object) -> EvaluationError | None:
    match excess(value, MAX_ELEMENTS, MAX_TEXT):
        case "elements":
            return EvaluationError(f"`{name}` has more than {MAX_ELEMENTS} elements, too many for a macro")
        case "text":
            return EvaluationError(f"`{name}` has a text of more than {MAX_TEXT} characters, too long for a macro")
    return None
