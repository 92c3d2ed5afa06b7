"""Documents against models; the wording of policies' errors is asserted with them."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import AfterValidator, Field, model_validator

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.load import load, load_file
from authz_server.documents.model import Model
from authz_server.documents.source import MAX_PROBLEMS


def _without_x(text: str) -> str:
    if "x" in text:
        raise InvalidValue("an x", offset=text.index("x"), length=1, hint="leave it out", code="no_x")
    return text


NoX = Annotated[str, AfterValidator(_without_x)]


class Keys(Model):
    """Where the keys of an issuer are."""

    noun: ClassVar[str] = "`keys`"

    url: str | None = Field(default=None, examples=["https://a.example"])
    file: str | None = None


class Issuer(Model):
    """A model with every kind of field."""

    noun: ClassVar[str] = "an issuer"

    name: NoX = Field(examples=["corp"])
    keys: Literal["discovery"] | Keys | list[Keys] = "discovery"
    skew: int = Field(default=0, le=60)
    ratio: float = Field(default=1.0, gt=0)
    secret_names: dict[NoX, str] = Field(default={})


def _plain_error(text: str) -> str:
    raise ValueError("no text pleases this")


class Pair(Model):
    """A model that compares its fields, without a name of its own for messages, and one that nothing pleases."""

    low: int = Field(default=0, examples=[True])
    high: int = 0
    never: Annotated[str, AfterValidator(_plain_error)] = ""
    form: str = Field(default="", pattern="^a+$")

    @model_validator(mode="after")
    def _ordered(self) -> "Pair":
        if self.low > self.high:
            raise InvalidValue("`low` is above `high`", at=("low",), hint="swap them")
        return self


class Settings(Model):
    """A model of models."""

    noun: ClassVar[str] = "the configuration"

    issuers: list[Issuer] = Field(max_length=2)
    verbose: bool = False
    pair: Pair | None = None


def shown(text: str) -> list[str]:
    """The first line of each problem, without the file."""
    return [str(problem).split("\n")[0].removeprefix("f.yaml:") for problem in load(text, Settings, "f.yaml").problems]


def test_a_document_becomes_an_instance_of_the_model() -> None:
    """Without problems there is a value, and positions can be asked for."""
    loaded = load("issuers:\n  - {name: corp, ratio: 2, keys: {file: jwks.json}}\n", Settings, "f.yaml")
    assert loaded.problems == []
    assert loaded.value == Settings(issuers=[Issuer(name="corp", ratio=2, keys=Keys(file="jwks.json"))])
    assert loaded.document is not None
    assert loaded.document.position(("issuers", 0, "keys", "file")).column == 41


def test_there_is_no_value_where_there_are_problems() -> None:
    """Not even where the model alone would have been content."""
    loaded = load("issuers: []\nissuers: []\n", Settings, "f.yaml")
    assert loaded.value is None
    assert [problem.code for problem in loaded.problems] == ["duplicate_field"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("issuers: 1", ["1:10: `issuers` must be a list, not `1`"]),
        ("[]", ["1:1: the configuration must be a mapping, not a list"]),
        ("", ["1:1: the configuration needs `issuers`"]),
        ("isuers: []", ["1:1: unknown field `isuers` in the configuration"]),
        (
            "issuers: []\nverbos: true\nverbose: 1",
            [
                "2:1: unknown field `verbos` in the configuration",
                "3:10: `verbose` must be true or false, not `1`",
            ],
        ),
        ("issuers: [{name: axb}]", ["1:19: an x"]),
        (
            "issuers: [{name: a, keys: discover}]",
            ["1:27: `keys` must be `discovery`, a mapping or a list, not `discover`"],
        ),
        ("issuers: [{name: a, keys: {uri: b}}]", ["1:28: unknown field `uri` in `keys`"]),
        ("issuers: [{name: a, keys: [{url: 1}]}]", ["1:34: `url` must be a text, not `1`"]),
        ("issuers: [{name: a, keys: [[]]}]", ["1:28: an item of `keys` must be a mapping, not a list"]),
        ("issuers: [{name: a, skew: 61}]", ["1:27: `skew` must be at most 60"]),
        ("issuers: [{name: a, ratio: 0}]", ["1:28: `ratio` must be more than 0.0"]),
        ("issuers: [{name: a, ratio: '2'}]", ["1:28: `ratio` must be a number, not the text `2`"]),
        ("issuers: [{name: a, secret_names: {bxb: c}}]", ["1:36: an x"]),
        ("issuers: []\npair: {low: 2, high: 1}", ["2:13: `low` is above `high`"]),
        ("issuers: []\npair: {never: a}", ["2:15: no text pleases this"]),
        ("issuers: []\npair: {low: x}", ["2:13: `low` must be a whole number, not `x`"]),
        ("issuers: []\npair: {form: b}", ["2:14: `form` is not valid: string should match pattern '^a+$'"]),
        ("issuers: ''", ["1:10: `issuers` must be a list, not a text"]),
        ("issuers: no", ["1:10: `issuers` must be a list, not `no`"]),
        ("issuers: 12:30", ["1:10: `issuers` must be a list, not `12:30`"]),
        (
            "issuers: [{name: a}, {name: b}, {name: c}]",
            ["1:10: `issuers` must not have more than 2 items"],
        ),
    ],
)
def test_problems_are_in_words_of_people_and_where_they_belong(text: str, expected: list[str]) -> None:
    """No word of pydantic's, no path of its own, and one complaint for one mistake."""
    assert shown(text) == expected


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    """Those of YAML and those of the model together."""
    text = "issuers:\n  - {name: 1, skew: no}\n  - {keys: x}\nverbose: maybe\n"
    assert shown(text) == [
        "2:12: `name` must be a text, not `1`",
        "2:21: `no` is a text to some readers of YAML, and true or false to others",
        "3:5: an issuer needs `name`",
        "3:12: `keys` must be `discovery`, a mapping or a list, not `x`",
        "4:10: `verbose` must be true or false, not `maybe`",
    ]


def test_problems_of_a_model_are_bounded() -> None:
    """A long list of mistakes is cut."""
    text = "issuers: []\n" + "".join(f"unknown{number}: 1\n" for number in range(10_000))
    assert len(load(text, Settings, "f.yaml").problems) == MAX_PROBLEMS


def test_a_long_name_is_shortened_in_messages() -> None:
    """A message stays a message."""
    (problem,) = load(f"issuers: []\n{'a' * 100_000}: 1\n", Settings, "f.yaml").problems
    assert len(problem.message) < 200


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Not an exception."""
    loaded = load_file(tmp_path / "none.yaml", Settings, "none.yaml")
    assert [str(problem) for problem in loaded.problems] == [
        "none.yaml:1:1: the file cannot be read: No such file or directory"
    ]


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    """By its path, unless another name is to be shown."""
    path = tmp_path / "authz.yaml"
    path.write_text("issuers: 1\n")
    assert load_file(path, Settings).problems[0].position.file == str(path)
    path.write_text("issuers: []\n")
    assert load_file(path, Settings).value == Settings(issuers=[])
