"""The body in conditions."""

import pytest

from authz_server.identity.strict_json import read_value
from authz_server.model import Request
from authz_server.policy.conditions import BodyMissing, Evaluation
from authz_server.request.body import SENT_EXTENSION
from tests.expressions import evaluation, failure, holds, refusal, request

ORDER = b'{"amount": 12, "exact": 9007199254740993, "items": [{"sku": "a"}, {"sku": "b"}], "note": null, "x-y": true}'
EVERYTHING = str(1 << 20)


def posted(
    body: bytes, content_type: str | None = "application/json", announced: bool = True, **headers: str
) -> Evaluation:
    """A request with a body, ready for conditions."""
    pairs = {} if content_type is None else {"content-type": content_type}
    pairs |= {name.replace("_", "-"): value for name, value in headers.items()}
    asked: Request = request(
        method="POST",
        headers=tuple((name, value.encode()) for name, value in pairs.items()),
        extensions={SENT_EXTENSION: EVERYTHING} if announced else {},
        body=body,
    )
    return Evaluation(evaluation(asked).operation, None, None, 0.0, asked)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("body.amount == 12", True),
        ("body.amount > 11.5 && body.amount < 12.5", True),
        ("body.exact == 9007199254740993 && body.exact != 9007199254740992", True),
        ('body.items[1].sku == "b"', True),
        ('body.items.exists(item, item.sku == "c")', False),
        ("size(body.items) == 2 && size(body) == 5", True),
        ("body.note == null && has(body.note)", True),
        ("has(body.other)", False),
        ('"amount" in body && !("other" in body)', True),
        ('body["x-y"] == true', True),
        ("has_body", True),
        ('body.amount == "12"', False),
    ],
)
def test_a_condition_reads_json(source: str, expected: bool) -> None:
    """Numbers are exact, and members may be missing."""
    assert holds(source, posted(ORDER)) is expected


@pytest.mark.parametrize(
    ("body", "source"),
    [
        (b'[{"amount": 1}]', "body[0].amount == 1 && size(body) == 1"),
        (b'"text"', 'body == "text"'),
        (b"3", "body == 3"),
        (b"null", "body == null"),
        (b" true\n", "body == true"),
    ],
)
def test_any_json_value_can_be_a_body(body: bytes, source: str) -> None:
    """Most are objects, but lists come as well."""
    assert holds(source, posted(body)) is True
    assert failure("body.amount == 1", posted(body))


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            'application/json;charset="UTF-8"',
        ),
        *(
            "application/vnd.shop.order+json",
            "application/ld+json; profile=a",
            "application/json;",
            "application/json ",
        ),
    ],
)
def test_the_content_type_says_json(content_type: str) -> None:
    """In any case, with parameters that do not change the encoding."""
    assert holds("body.amount == 12", posted(ORDER, content_type)) is True


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/json", "application/x-www-form-urlencoded", "application/json, text/plain", "json", "*/*"),
        *("application/json; charset=utf-16", "application/json; charset=latin1; charset=utf-8", "application/jsonp"),
        *(
            "application/x-ndjson",
            "application/json-seq",
            "xapplication/json",
            "application/+json",
            "application/json x",
        ),
        *("application/json; charset=utf-8 text", "multipart/form-data; boundary=application/json"),
    ],
)
def test_what_others_may_not_take_for_json_is_no_json(content_type: str | None) -> None:
    """A service that goes by the content-type would read something else."""
    asked = posted(ORDER, content_type)
    assert "JSON" in failure("body.amount == 12", asked)
    assert holds("has_body", asked) is True


@pytest.mark.parametrize("encoding", ["gzip", "identity, gzip", "", "br"])
def test_an_encoded_body_is_not_read(encoding: str) -> None:
    """The service would decode it first."""
    assert failure("body.amount == 12", posted(ORDER, content_encoding=encoding)) == "the body has a `content-encoding`"
    assert holds("body.amount == 12", posted(ORDER, content_encoding="identity")) is True


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"{",
            b'{"amount": 12}}',
            b'{"amount": 12, "amount": 13}',
            b'{"amount": 12, "\\u0061mount": 13}',
            b"amount=12",
        ),
        *(b'{"amount": NaN}', b'{"amount": 1e999}', b'{"amount": 9223372036854775808}', b'{"amount": 012}'),
        *(b'{"amount": 12, "Amount": 13}', b'{"a": [{"X": 1, "x": 2}]}', '{"s": 1, "\u017f": 2}'.encode()),
        *(b'\xef\xbb\xbf{"amount": 12}', '{"amount": 12}'.encode("utf-16"), b'{"amount": "\xff"}', b'{"a": "\\u0000"}'),
        *(b"[" * 33 + b"]" * 33, b"[" * 10_000, b'{"a":' * 3_000, b'{"amount": 12} {"amount": 13}', b"\0", b" "),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_with_two_readings_cannot_be_read(body: bytes) -> None:
    """Duplicate names, names that differ by case alone, numbers that differ between readers, trailing data, depth."""
    assert failure("body == 1", posted(body)).startswith("the body cannot be read: ")
    assert holds("has_body", posted(body)) is True


def test_without_a_body_reading_it_is_an_error() -> None:
    """As with anything that is missing."""
    assert holds("has_body", posted(b"")) is False
    assert holds("has_body && body.amount == 12", posted(b"")) is False
    assert failure("body.amount == 12", posted(b"")) == "there is no body"
    assert not isinstance(holds("has(body.amount)", posted(b"")), BodyMissing)


@pytest.mark.parametrize(
    "source", ["has_body", "!has_body", "body.amount == 12", "has(body.amount)", "has_body && body == 1"]
)
@pytest.mark.parametrize("body", [b"", ORDER])
def test_an_incomplete_body_is_told_apart(source: str, body: bytes) -> None:
    """Not even whether there is one can be asked."""
    assert isinstance(holds(source, posted(body, announced=False)), BodyMissing)


@pytest.mark.parametrize(
    "source", ['request.method == "GET" && has_body', 'request.method == "POST" || body.amount == 1']
)
def test_what_does_not_need_the_body_is_decided_without_it(source: str) -> None:
    """The operators of CEL need no more than one side that settles it."""
    assert holds(source, posted(b"", announced=False)) is source.endswith("1")


def test_the_body_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many expressions read it, and not before one does."""
    reads: list[bytes] = []

    def counted(data: bytes) -> object:
        reads.append(data)
        return read_value(data)

    monkeypatch.setattr("authz_server.policy.conditions.body.read_value", counted)
    asked = posted(ORDER)
    assert holds("has_body", asked) is True
    assert not asked.body_was_read
    for source in ("body.amount == 12", "has(body.items)", 'body.items[0].sku == "a"', "size(body) == 5"):
        assert holds(source, asked) is True
    assert reads == [ORDER]
    broken = posted(b"{")
    for _ in range(3):
        assert failure("body.amount == 12", broken)
    assert reads == [ORDER, b"{"]
    assert not broken.body_was_read


def test_macros_have_their_bounds() -> None:
    """A long list in a body makes no expression expensive."""
    many = b'{"items": [' + b",".join([b"1"] * 257) + b"]}"
    assert "256 elements" in failure("body.items.all(item, item == 1)", posted(many))
    assert holds("size(body.items) == 257", posted(many)) is True


def test_a_macro_cannot_name_its_element_body() -> None:
    """The word has a meaning."""
    assert refusal("user.scopes.all(body, body == 'a')").message == (
        "`body` has a meaning already and cannot name an element"
    )
