"""What varies in paths becomes a capture, and nothing else does."""

import pytest

from authz_server.learning.names import capture_name, singular
from authz_server.learning.segments import Shape, shape_of
from authz_server.learning.templates import affixes, find_templates
from authz_server.policy.patterns import parse_path_template
from authz_server.request.path import canonical_path

UUID = "0b9c7e1a-8c2b-4d3e-9f10-11223344556{}"
SHA = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


def templates(*paths: str, told: tuple[str, ...] = (), words: int = 20) -> set[str]:
    """The templates of these paths, all of them read."""
    asked = {canonical_path(path).path: frozenset({"GET"}) for path in paths}
    return set(find_templates(asked, [parse_path_template(text) for text in told], words).of.values())


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["/orders/123", "/orders/456"], {"/orders/{order_id:int}"}),
        (["/orders/123"], {"/orders/123"}),
        (["/orders/123", "/orders/456/items"], {"/orders/{order_id:int}", "/orders/{order_id:int}/items"}),
        ([f"/users/{UUID.format(1)}/photo"], {"/users/{user_id:uuid}/photo"}),
        ([f"/blobs/{SHA}"], {"/blobs/{blob_id}"}),
        (["/reports/2026-03-01", "/reports/2026-03-02"], {"/reports/{date}"}),
        (["/orders/c7-1", "/orders/c7-2", "/orders/c8-1"], {"/orders/{order_id}"}),
        (["/orders/c7-1", "/orders/c7-2"], {"/orders/c7-1", "/orders/c7-2"}),
        (["/orders/ord-1", "/orders/ord-2", "/orders/ord-30"], {"/orders/ord-{order_id}"}),
        (["/files/1a.pdf", "/files/2b.pdf", "/files/3c.pdf"], {"/files/{file_id}.pdf"}),
        (["/v1/orders", "/v2/orders", "/v3/orders"], {"/v1/orders", "/v2/orders", "/v3/orders"}),
        (["/orders/1", "/orders/2", "/orders/search"], {"/orders/{order_id:int}", "/orders/search"}),
        (["/orders/1", "/orders/2", f"/orders/{SHA}"], {"/orders/{order_id}"}),
        (["/orders/1/", "/orders/2/", "/orders/3"], {"/orders/{order_id:int}/", "/orders/{order_id:int}"}),
        (["/", "/a"], {"/", "/a"}),
        (["/a%20b", "/a%20c"], {"/a b", "/a c"}),
        (["/12", "/13"], {"/{id:int}"}),
        (["/orders/1/2", "/orders/3/4"], {"/orders/{order_id:int}/{order_id_2:int}"}),
        (["/x/" + "9" * 19, "/x/" + "8" * 19], {"/x/{x_id}"}),
    ],
)
def test_ids_that_vary_become_captures(paths: list[str], found: set[str]) -> None:
    """As narrow as what was seen, and named after what stands before them."""
    assert templates(*paths) == found


def test_words_vary_where_there_are_many_and_what_follows_them_is_alike() -> None:
    """Fewer, or such that each has ways of its own, stay what they are; and so do those at the top."""
    words = [f"/tags/{'abcdefghijklmnopqrst'[n]}tag" for n in range(20)]
    assert templates(*words) == {"/tags/{tag_name}"}
    assert templates(*words[1:]) == set(words[1:])
    assert templates(*words, words=0) == set(words)
    assert templates(*words, "/tags/atag/notes") == {"/tags/{tag_name}", "/tags/{tag_name}/notes"}
    collections = [f"/api/{word[6:]}/of-{word[6:]}" for word in words]
    assert templates(*collections) == set(collections)
    below_ids = [f"{word}/7" for word in words]
    assert templates(*below_ids) == set(below_ids)
    for unnamed in ("/api", "/tags/v1", "/users/1"):
        below = [word.replace("/tags", unnamed) for word in words]
        assert templates(*below) == set(below)
    top = [word.removeprefix("/tags") for word in words]
    assert templates(*top) == set(top)


def test_templates_that_are_told_go_first() -> None:
    """Also such as nobody would take for one."""
    assert templates("/static/a", "/static/b/c", "/orders", told=("/static/**",)) == {"/static/**", "/orders"}


def test_every_path_fits_its_template() -> None:
    """However deep it is."""
    paths = [canonical_path("/" + "/".join(["7", "a"] * n)).path for n in (1, 2, 500)]
    found = find_templates({path: frozenset({"GET"}) for path in paths}, (), 20).of
    assert all(parse_path_template(found[path]).match(path) is not None for path in paths)


def test_what_varies_is_told_with_examples() -> None:
    """So that somebody can say whether it is a parameter."""
    asked = {canonical_path(f"/orders/{n}").path: frozenset({"GET"}) for n in range(9)}
    [parameter] = find_templates(asked, (), 20).parameters
    assert (parameter.template, parameter.values, parameter.words) == ("/orders/{order_id:int}", 9, False)
    assert parameter.examples == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("segment", "shape"),
    [
        ("orders", Shape.WORD),
        ("v2", Shape.WORD),
        ("v1beta1", Shape.WORD),
        ("17", Shape.NUMBER),
        ("\u0661\u0662", Shape.WORD),
        (UUID.format("a"), Shape.UUID),
        (SHA, Shape.HASH),
        ("deadbeefdeadbeef", Shape.WORD),
        ("AbCdEfGhIjKlMnOpQr12", Shape.HASH),
        ("2026-03", Shape.DATE),
        ("2026-03-02T10:00:00Z", Shape.DATE),
        ("c7-1", Shape.CODE),
    ],
)
def test_segments_look_like_something(segment: str, shape: Shape) -> None:
    """By themselves."""
    assert shape_of(segment) is shape


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["ord-1", "ord-2"], ("ord-", "")),
        (["2026-1", "2026-2"], ("", "")),
        (["a.tar.gz", "b.tar.gz"], ("", ".tar.gz")),
        (["a-", "a-b"], ("", "")),
        (["only-one"], ("", "")),
    ],
)
def test_captures_keep_what_all_values_have_in_common(values: list[str], found: tuple[str, str]) -> None:
    """Up to a separator, and never a number."""
    assert affixes(values) == found


@pytest.mark.parametrize(
    ("plural", "found"),
    [("orders", "order"), ("categories", "category"), ("boxes", "box"), ("status", "status"), ("stock", "stock")],
)
def test_captures_are_named_in_the_singular(plural: str, found: str) -> None:
    """As far as the end of the word shows it."""
    assert singular(plural) == found


def test_a_name_is_never_used_twice() -> None:
    """In one template."""
    assert capture_name(["order-items"], "id", []) == "order_item_id"
    assert capture_name(["orders"], "id", ["order_id"]) == "order_id_2"
    assert capture_name(["v1"], "id", []) == "id"
