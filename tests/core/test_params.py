"""One declaration, five faces: the Python call, the flags, the sentences, the JSON schema and the cache key; and a Selection
bound to it."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import Field

import vizkit as vk
from tests.inline import Blocks, Squares, plugin
from vizkit.cli import cli
from vizkit.params import Signature
from vizkit.runs import prepare
from vizkit.selection import bind, repair
from vizkit.techniques import INPUTS

Make = Callable[..., vk.Workspace]
SEE = " See: vizkit run every --help"


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@vk.technique("every", title="Every type", question="What may a parameter be?")
def every(
    model: vk.ModelAdapter,
    images: vk.ImageBatch,
    *,
    flag: bool = False,
    count: Annotated[int, Field(ge=1, le=64, description="How many")] = 16,
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    free: float = 3,
    name_of_it: str = "x",
    way: Literal["mean", "max"] = "mean",
    number: Literal[1, 2] = 1,
    colour: Colour = Colour.RED,
    pair: tuple[int, int] = (1, 2),
    weights: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,),
    ways: tuple[Literal["a", "b"], ...] = (),
    seed: Annotated[int, Field(ge=0)] | None = None,
    layer: Annotated[str, vk.Layer(spatial=True, nonnegative=True)],
    against: Annotated[str | None, vk.Layer(role="against")] = None,
    layers: tuple[Annotated[str, vk.Layer()], ...],
    channel: vk.ChannelIndex,
    cell: vk.Cell,
    label: Annotated[int, vk.ClassLabel()],
    rivals: tuple[Annotated[int, vk.ClassLabel(role="against")], ...] = (),
    query: vk.QueryImage,
    direction: Annotated[tuple[float, ...] | None, vk.Direction()] = None,
    steps: Annotated[int, vk.Extends()] = 10,
) -> vk.Result:
    """Says what it was given."""
    given = {k: v for k, v in locals().items() if k not in ("model", "images", "query")}
    return vk.Result(vk.Note(repr(given) + str(query.refs[0])))


@pytest.fixture
def space(make_workspace: Make) -> vk.Workspace:
    return make_workspace(plugin("p", models=[Blocks()], datasets=[Squares()], techniques=[every]))


def resolved(space: vk.Workspace, **params: Any) -> dict[str, Any]:
    return dict(prepare(space, "every", params=params).values)


def key(space: vk.Workspace, **params: Any) -> str:
    return prepare(space, "every", params=params).key


def sentences(space: vk.Workspace, **params: Any) -> dict[str, str]:
    with pytest.raises(vk.InvalidParameter) as caught:
        prepare(space, "every", params=params)
    return caught.value.fields


def shell(space: vk.Workspace, *arguments: str) -> Any:
    return CliRunner().invoke(cli, ["run", "every", *arguments], obj=space, catch_exceptions=True)


# --- the values, from Python and from texts


@pytest.mark.parametrize(
    ("name", "texts", "given", "expected"),
    [
        ("flag", ["true", "yes", "1", "on"], [True, np.True_, 1], True),
        ("flag", ["false", "no", "0"], [False], False),
        ("count", ["15", "15.0", " 15 "], [15, 15.0, np.int64(15), np.float32(15)], 15),
        ("share", ["0.25", "2.5e-1"], [0.25, np.float64(0.25)], 0.25),
        ("free", ["1e3", "1000"], [1000, 1e3, np.int32(1000)], 1000.0),
        ("free", ["-3"], [-3], -3.0),
        ("name_of_it", ["größe, 3 ✓"], ["größe, 3 ✓"], "größe, 3 ✓"),
        ("name_of_it", [""], [""], ""),
        ("way", ["max"], ["max", np.str_("max")], "max"),
        ("number", ["2"], [2, np.int64(2)], 2),
        ("colour", ["2"], [2, Colour.TWO], Colour.TWO),
        ("colour", ["red"], ["red", Colour.RED], Colour.RED),
        ("pair", ["3,4", " 3 , 4 "], [(3, 4), [3, 4], np.array([3, 4]), ("3", "4")], (3, 4)),
        ("weights", ["1,-2.5,1e3"], [(1, -2.5, 1000), np.array([1, -2.5, 1000], np.float32)], (1.0, -2.5, 1000.0)),
        ("ways", ["a,b"], [("a", "b")], ("a", "b")),
        ("ways", [""], [()], ()),
        ("seed", ["7"], [7], 7),
        ("seed", [""], [None], None),
        ("layers", ["cells,mean"], [("cells", "mean")], ("cells", "mean")),
        ("cell", ["1,0"], [(1, 0), np.array([1, 0])], (1, 0)),
        ("label", ["blue", "2"], ["blue", 2, np.int64(2)], 2),
        ("rivals", ["red,2"], [("red", 2), (0, "blue")], (0, 2)),
        ("direction", ["1,0,-1"], [(1, 0, -1), np.array([1.0, 0, -1])], (1.0, 0.0, -1.0)),
        ("direction", [""], [None], None),
    ],
)
def test_a_text_and_a_python_value_are_the_same(
    space: vk.Workspace, name: str, texts: list[str], given: list[Any], expected: Any
) -> None:
    keys = set()
    for value in [*texts, *given]:
        found = resolved(space, **{name: value})[name]
        assert found == expected
        assert type(found) is type(expected)
        keys.add(key(space, **{name: value}))
    assert len(keys) == 1


def test_defaults_come_from_the_declaration_or_the_marker(space: vk.Workspace) -> None:
    values = resolved(space)
    assert values["count"] == 16
    assert values["layer"] == "bright"  # the last curated one that is spatial and not negative
    assert values["against"] is None
    assert values["layers"] == ("bright",)  # one undecided value in a tuple
    assert (values["channel"], values["cell"], values["label"], values["rivals"]) == (0, (1, 1), 0, ())
    assert str(values["query"].refs[0]) == "squares/0000"
    assert type(values["free"]) is float  # `free: float = 3`


def test_a_default_and_the_same_value_given_share_a_key(space: vk.Workspace) -> None:
    same = {"free": 3, "count": 16, "pair": (1, 2), "layer": "bright", "query": "squares/0000", "channel": 0}
    assert {key(space, **{n: v}) for n, v in same.items()} == {key(space)}
    other = {
        "free": 4,
        "count": 17,
        "pair": (2, 1),
        "query": "squares/0001",
        "channel": 1,
        "cell": (0, 0),
        "against": "bright",
    }
    keys = {key(space, **{n: v}) for n, v in other.items()}
    assert len(keys | {key(space)}) == len(other) + 1


def test_a_picture_in_memory_goes_in_from_python(space: vk.Workspace) -> None:
    own = vk.ImageBatch.from_pixels(np.full((1, 16, 16, 3), 9, np.uint8))
    assert resolved(space, query=own)["query"] is own
    assert str(resolved(space, query=vk.ImageRef("squares", "0003"))["query"].refs[0]) == "squares/0003"
    wide = space.registry.dataset("squares").images(["0002"], (32, 32))
    assert resolved(space, query=wide)["query"].size == (16, 16)  # framed again for this model


# --- the sentences


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("count", "0", "count is 0; it must be a whole number from 1 to 64."),
        ("count", 65, "count is 65; it must be a whole number from 1 to 64."),
        ("count", 15.5, "count is 15.5; it must be a whole number from 1 to 64."),
        ("count", "many", "count is 'many'; it must be a whole number from 1 to 64."),
        ("count", "", "count is ''; it must be a whole number from 1 to 64."),
        ("count", "1e3", "count is 1e3; it must be a whole number from 1 to 64."),
        ("count", True, "count is True; it must be a whole number from 1 to 64."),
        ("count", None, "count is None; it must be a whole number from 1 to 64."),
        ("count", (1, 2), "count is '1,2'; it must be a whole number from 1 to 64."),
        ("share", 1, "share is 1; it must be a number above 0 and below 1."),
        ("share", "nan", "share is nan; it must be a finite number above 0 and below 1."),
        ("free", float("inf"), "free is inf; it must be a finite number."),
        ("free", "x" * 500, f"free is '{'x' * 58}…; it must be a number."),
        ("steps", 2**70, f"steps is {2**70}; it must be a whole number of at most 63 bits."),
        ("name_of_it", 5, "name_of_it is 5; it must be a text."),
        ("flag", "maybe", "flag is 'maybe'; it must be true or false."),
        ("flag", 2, "flag is 2; it must be true or false."),
        ("way", "men", "way is 'men'; it must be one of mean, max. Did you mean 'mean'?"),
        ("way", "zzz", "way is 'zzz'; it must be one of mean, max."),
        ("number", 3, "number is 3; it must be one of 1, 2."),
        ("colour", "rde", "colour is 'rde'; it must be one of red, 2. Did you mean 'red'?"),
        ("pair", "1", "pair is '1'; it must be 2 whole numbers with a comma between."),
        ("pair", "1,,2", "pair is '1,,2'; it must be 2 whole numbers with a comma between."),
        ("pair", (1, True), "pair is '1,True'; it must be 2 whole numbers with a comma between."),
        ("weights", "", "weights is ''; it must be one or more numbers with commas between."),
        ("weights", "1,inf", "weights is '1,inf'; it must be one or more finite numbers with commas between."),
        ("ways", "a,bb", "ways is 'a,bb'; it must be any of a, b with commas between. Did you mean 'b'?"),
        ("seed", -1, "seed is -1; it must be a whole number at least 0."),
        ("layer", 5, "layer is 5; it must be a layer's path."),
        ("cell", "1", "cell is '1'; it must be a row and a column, such as 3,4."),
        ("label", 1.5, "label is 1.5; it must be a class, by name or index."),
        ("query", 5, "query is 5; it must be an image: DATASET/ID, upload/SHA, result/KEY/N or a file."),
        ("direction", "1,x", "direction is '1,x'; it must be numbers with commas between, one a channel."),
        ("cuont", 1, "every has no parameter 'cuont'. Did you mean 'count'?"),
    ],
)
def test_what_is_wrong_is_said(space: vk.Workspace, name: str, value: Any, sentence: str) -> None:
    assert sentences(space, **{name: value}) == {name: sentence + SEE}


def test_a_number_that_python_itself_refuses_to_write(space: vk.Workspace) -> None:
    expected = "steps is a number of thousands of digits; it must be a whole number of at most 63 bits."
    assert sentences(space, steps=10**5000) == {"steps": expected + SEE}


LAYERS = " See: vizkit list layers blocks"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("layer", "brite", "blocks has no layer 'brite'. Did you mean 'bright'?" + LAYERS),
        (
            "layer",
            "mean",
            "layer cannot be 'mean': it gives 3 values without rows and columns, and a layer with rows and columns and no"
            " negative values (a ReLU layer) is needed. Try 'bright'." + LAYERS,
        ),
        (
            "layer",
            "cells",
            "layer cannot be 'cells': it can be negative, and a layer with rows and columns and no negative values"
            " (a ReLU layer) is needed. Try 'bright'." + LAYERS,
        ),
        ("layers", "cells,mena", "blocks has no layer 'mena'. Did you mean 'mean'?" + LAYERS),
        ("channel", "3", "channel is 3; bright has 3 channels, 0 to 2." + LAYERS),
        ("channel", -1, "channel is -1; bright has 3 channels, 0 to 2." + LAYERS),
        ("cell", "2,0", "cell is 2,0; bright has 2 rows and 2 columns, from 0." + LAYERS),
        ("label", "gren", "blocks has no class 'gren'. Did you mean 'green'? label is a name, or an index from 0 to 2."),
        ("label", 3, "blocks has no class '3'. label is a name, or an index from 0 to 2."),
        ("label", "-1", "blocks has no class '-1'. label is a name, or an index from 0 to 2."),
        ("direction", "1,2", "direction is 2 numbers; bright has 3 channels and wants a number for each." + LAYERS),
        ("query", "squares/99", "squares has no image '99'. There are: 0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007, …."),
        ("query", "sqares/0001", "There is no dataset 'sqares'. Did you mean 'squares'? See: vizkit list datasets"),
    ],
)
def test_what_a_model_or_dataset_decides_is_said(space: vk.Workspace, name: str, value: Any, sentence: str) -> None:
    assert sentences(space, **{name: value}) == {name: sentence}


def test_a_class_name_that_two_classes_share_asks_for_the_index(lite0: Any) -> None:
    marker, context = vk.ClassLabel(), type("C", (), {"model": lite0})()
    with pytest.raises(vk.NotFound) as caught:
        marker.resolve("label", "crane", context)
    assert str(caught.value) == ("efficientnet-lite0 has 2 classes named 'crane'. Give label as an index: 134 or 517.")
    with pytest.raises(vk.NotFound, match="as an index: 638 or 639"):
        marker.resolve("label", "maillot", context)
    assert marker.resolve("label", "517", context) == 517
    assert marker.resolve("label", "tiger cat", context) == lite0.labels.index("tiger cat")


def test_a_model_without_class_names_takes_indices() -> None:
    bare = type("M", (), {"name": "bare", "labels": ()})()
    context = type("C", (), {"model": bare})()
    assert vk.ClassLabel().resolve("label", "7", context) == 7
    with pytest.raises(vk.NotFound, match=r"bare has no class names, so label cannot be 'cat'. Give an index, from 0."):
        vk.ClassLabel().resolve("label", "cat", context)


def test_a_wrong_layer_is_one_sentence_though_others_lie_in_it(space: vk.Workspace) -> None:
    assert list(sentences(space, layer="nope", channel=1, cell=(0, 0))) == ["layer"]


def test_what_lies_in_a_flat_or_absent_layer_is_refused(make_workspace: Make) -> None:
    @vk.technique("at", title="At", question="?")
    def at(
        model: vk.ModelAdapter,
        *,
        layer: Annotated[str | None, vk.Layer()] = None,
        cell: Annotated[tuple[int, int] | None, vk.Position()] = None,
    ) -> vk.Result:
        return vk.Result(vk.Note(str(cell)))

    space = make_workspace(plugin("p", models=[Blocks()], techniques=[at]))
    with pytest.raises(vk.InvalidParameter, match="cell cannot lie in 'mean': it gives 3 values without rows and columns"):
        prepare(space, "at", params={"layer": "mean", "cell": "0,0"})
    with pytest.raises(vk.InvalidParameter, match=r"cell lies in a layer, and layer is not given. Give layer too."):
        prepare(space, "at", params={"cell": "0,0"})
    assert prepare(space, "at", params={}).values == {"layer": None, "cell": None}


def test_several_mistakes_are_told_at_once_with_one_way_to_help(space: vk.Workspace) -> None:
    with pytest.raises(vk.InvalidParameter) as caught:
        prepare(space, "every", params={"count": 0, "nope": 1, "flag": "x"})
    assert set(caught.value.fields) == {"count", "nope", "flag"}
    assert str(caught.value).count("See:") == 1
    assert str(caught.value).endswith("; it must be a whole number from 1 to 64." + SEE)


def test_a_required_parameter_is_asked_for(make_workspace: Make) -> None:
    @vk.technique("needy", title="Needy", question="?")
    def needy(*, size: Annotated[int, Field(ge=2)]) -> vk.Result:
        return vk.Result(vk.Note(str(size)))

    space = make_workspace(plugin("p", techniques=[needy]))
    sentence = "needy needs size: a whole number at least 2. See: vizkit run needy --help"
    with pytest.raises(vk.InvalidParameter) as caught:
        space.run("needy")
    assert caught.value.fields == {"size": sentence}
    assert needy.signature.schema["required"] == ["size"]


# --- the command line and the schema


def test_the_flags_are_the_declaration(space: vk.Workspace) -> None:
    text = " ".join(shell(space, "--help").output.split())
    for piece in (
        "--count NUMBER How many: a whole number from 1 to 64. [default: 16]",
        "--name-of-it TEXT a text. [default: x]",
        "--way TEXT one of mean, max. [default: mean]",
        "--pair A,B,… 2 whole numbers with a comma between. [default: 1,2]",
        "--flag [TRUE|FALSE] true or false. [default: false]",
        "--layer LAYER A layer's path",
    ):
        assert piece in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--free", "-3"], "'free': -3.0"),
        (["--free=-3"], "'free': -3.0"),
        (["--weights", "-1,-2"], "'weights': (-1.0, -2.0)"),
        (["--name-of-it", "a b"], "'name_of_it': 'a b'"),
        (["--flag", "--count", "3"], "'flag': True"),
        (["--flag", "no"], "'flag': False"),
        (["--seed="], "'seed': None"),
        (["--cell", "0,1"], "'cell': (0, 1)"),
        (["--query", "squares/0004"], "squares/0004"),
    ],
)
def test_flags_reach_the_function(space: vk.Workspace, arguments: list[str], expected: str) -> None:
    found = shell(space, *arguments, "--json")
    assert expected in json.loads(found.stdout)["views"][0]["text"]


@pytest.mark.parametrize(("name", "value"), [("count", "0"), ("pair", "1"), ("way", "men"), ("free", "nan"), ("layer", "x")])
def test_the_command_line_says_what_python_says(space: vk.Workspace, name: str, value: str) -> None:
    found = shell(space, f"--{name}", value)
    assert str(found.exception) == sentences(space, **{name: value})[name]


def test_the_schema_is_the_declaration(space: vk.Workspace) -> None:
    schema = every.signature.schema
    expected = {
        "flag": {"type": "boolean", "default": False},
        "count": {"type": "integer", "minimum": 1, "maximum": 64, "description": "How many", "default": 16},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5},
        "way": {"type": "string", "enum": ["mean", "max"], "default": "mean"},
        "colour": {"enum": ["red", 2], "default": "red"},
        "pair": {"type": "array", "minItems": 2, "maxItems": 2, "default": [1, 2],
                 "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
        "seed": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
        "layer": {"type": "string"},
        "label": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "query": {"type": "string"},
    }  # fmt: skip
    assert {n: schema["properties"][n] for n in expected} == expected
    assert list(schema["properties"]) == list(every.signature.params)
    assert schema["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


def test_a_description_inside_an_optional_is_found() -> None:
    def f(*, top: Annotated[int, Field(description="How many.")] | None = None) -> vk.Result: ...

    assert Signature.of("t", f, INPUTS).params["top"].description == "How many"


# --- what cannot be declared

BAD: list[tuple[Any, Any, str]] = [
    (dict, None, "the type is dict; allowed: bool, int, float, str, Literal, Enum, tuples of these, and | None; an"),
    (list[int], None, "the type is list[int]; allowed: "),
    (int | str, 1, "the type is int | str; allowed: "),
    (Optional[dict], None, "the type is dict; allowed: "),  # noqa: UP045
    (tuple, (), "the type is tuple; allowed: "),
    (tuple[tuple[int, int], ...], (), "the type is tuple[int, int]; allowed: "),
    (tuple[Annotated[vk.ImageBatch, vk.Image()], ...], (), "the type is ImageBatch; allowed: "),
    (vk.ImageBatch, None, "the type is ImageBatch; allowed: "),
    (Literal[b"x"], b"x", "the type is Literal[b'x']; allowed: "),
    (bytes, b"", "the type is bytes; allowed: "),
    (int, 1.5, "the default is 1.5; it must be a whole number."),
    (int, "5", "the default is '5'; it must be a whole number."),
    (int, True, "the default is True; it must be a whole number."),
    (int, None, "the default is None; it must be a whole number."),
    (float, float("nan"), "the default is nan; it must be a number."),
    (Annotated[int, Field(ge=1, le=9)], 10, "the default is 10; it must be a whole number from 1 to 9."),
    (Literal["a", "b"], "c", "the default is 'c'; it must be one of a, b."),
    (tuple[int, int], (1,), "the default is (1,); it must be 2 whole numbers with a comma between."),
    (Annotated[str, vk.Layer()], None, "the default is None; it must be a layer's path."),
    (Annotated[str, Field(ge=1)], "x", "pydantic cannot check the type "),
    (Annotated[int, Field(default=5)], 5, "its default is in Field(). Write it after =, as for any function."),
    (Annotated[float, vk.Layer()], 1.0, "Layer() goes on str; the type is float."),
    (Annotated[str, vk.Image()], "x", "Image() goes on ImageBatch; the type is str."),
    (Annotated[int, vk.Position()], 1, "Position() goes on tuple[int, int]; the type is int."),
    (
        Annotated[tuple[int, int, int], vk.Position()],
        1,
        "Position() goes on tuple[int, int]; the type is tuple[int, int, int].",
    ),
    (Annotated[float, vk.Extends()], 1.0, "Extends() goes on int; the type is float."),
    (Annotated[str, vk.Layer(), vk.ClassLabel()], "x", "it carries 2 markers, and one is allowed."),
    (vk.ChannelIndex, 0, "Channel() lies in the layer that the parameter 'layer' holds, and no single layer of that name"),
]


@pytest.mark.parametrize(("annotation", "default", "rest"), BAD, ids=[r[:30] for _, _, r in BAD])
def test_a_parameter_that_no_person_could_set_is_refused(annotation: Any, default: Any, rest: str) -> None:
    def f(*, top: Any = default) -> vk.Result: ...

    f.__annotations__["top"] = annotation
    with pytest.raises(vk.VizkitError) as caught:
        vk.technique("t", title="T", question="?")(f)
    assert str(caught.value).startswith(f"technique 't', parameter 'top': {rest}")


def test_names_and_shapes_that_are_taken() -> None:
    def make(source: str) -> str:
        scope: dict[str, Any] = {"vk": vk, "Sequence": Sequence}
        exec(f"def f({source}): ...", scope)
        with pytest.raises(vk.VizkitError) as caught:
            vk.technique("t", title="T", question="?")(scope["f"])
        return str(caught.value)

    for name in ("model", "dataset", "images", "json", "out", "help", "progress", "workspace", "technique", "_x"):
        expected = f"technique 't', parameter {name!r}: the name is taken by vizkit itself. Choose another."
        assert make(f"*, {name}: int = 1") == expected
    every_parameter = "*args and **kwargs cannot be shown to a person. Name each parameter."
    assert make("*args: int") == f"technique 't', parameter 'args': {every_parameter}"
    assert make("**kwargs: int") == f"technique 't', parameter 'kwargs': {every_parameter}"
    inputs = "allowed: Dataset, ImageBatch, ModelAdapter, Progress, Runner, Sequence[ModelAdapter]."
    after = "Write the technique's own parameters after a bare *."
    assert make("top: int") == f"technique 't', parameter 'top': an input is annotated with int; {inputs} {after}"
    assert make("top") == f"technique 't', parameter 'top': an input is annotated with nothing; {inputs} {after}"
    assert "parameter 'top': the type is nothing; allowed:" in make("*, top=1")
    assert make("*, top: 'Missing' = 1") == (
        "technique 't': an annotation says 'Missing', which its module does not define when it runs."
        " Import it at the top of the module, not under `if TYPE_CHECKING`."
    )


def test_the_future_import_and_quotes_make_no_difference(tmp_path: Path) -> None:
    body = """
import enum
from typing import Annotated, Literal
from pydantic import Field
import vizkit as vk
class Colour(enum.Enum):
    RED = "red"
def f(model: {q}vk.ModelAdapter{q}, *, top: {q}Annotated[int, Field(ge=1)] | None{q} = 3, colour: {q}Colour{q} = Colour.RED,
      layers: {q}tuple[Annotated[str, vk.Layer()], ...]{q}, way: {q}Literal['a', 'b']{q} = 'a') -> {q}vk.Result{q}: ...
"""
    found = []
    for n, (head, quote) in enumerate([("", ""), ("from __future__ import annotations", ""), ("", '"')]):
        scope: dict[str, Any] = {"__name__": f"declared{n}"}
        sys.modules[f"declared{n}"] = type(sys)(f"declared{n}")
        exec(compile(head + body.format(q=quote), f"declared{n}", "exec", dont_inherit=True), scope)
        signature = Signature.of("t", scope["f"], INPUTS)
        found.append((signature.schema, signature.inputs, [p.marker for p in signature.params.values()]))
    assert found[0] == found[1] == found[2]
    assert found[0][1] == {"model": "model"}
    assert found[0][2] == [None, None, vk.Layer(), None]


# --- a Selection


def signature(function: Callable[..., Any]) -> Signature:
    return Signature.of("t", function, INPUTS)


def test_the_first_of_a_kind_binds_and_a_second_only_with_a_role() -> None:
    def f(
        *,
        against: Annotated[str, vk.Layer(role="against")],
        layer: Annotated[str, vk.Layer()],
        other: Annotated[str, vk.Layer()],
        channel: vk.ChannelIndex,
        label: vk.ClassIndex,
        query: vk.QueryImage,
        cell: vk.Cell,
        top: int = 3,
    ) -> vk.Result: ...

    chosen = vk.Selection(
        models=("m",), dataset="d", images=("d/1", "d/2"), layers=("a", "b", "c"), unit=7, classes=("cat",), position=(1, 2)
    )
    assert bind(signature(f), chosen) == {
        "layer": "a",
        "against": "b",
        "channel": 7,
        "label": "cat",
        "query": "d/1",
        "cell": (1, 2),
    }
    assert bind(signature(f), vk.Selection(layers=("a",))) == {"layer": "a"}
    assert bind(signature(f), vk.Selection()) == {}


def test_a_plural_parameter_binds_to_all_that_are_left() -> None:
    def f(*, layers: tuple[Annotated[str, vk.Layer()], ...]) -> vk.Result: ...

    def g(*, label: vk.ClassIndex, rivals: tuple[Annotated[int, vk.ClassLabel(role="against")], ...] = ()) -> vk.Result: ...

    def h(*, against: Annotated[str, vk.Layer(role="against")]) -> vk.Result: ...

    assert bind(signature(f), vk.Selection(layers=("a", "b", "c"))) == {"layers": ("a", "b", "c")}
    assert bind(signature(g), vk.Selection(classes=("x", "y", "z"))) == {"label": "x", "rivals": ("y", "z")}
    assert bind(signature(g), vk.Selection(classes=("x",))) == {"label": "x"}
    assert bind(signature(h), vk.Selection(layers=("a", "b"))) == {"against": "b"}  # the first stays the first everywhere


class Narrow(Blocks):
    """Another model: one layer fewer, one channel in the layer they share."""

    def layers(self) -> tuple[vk.LayerInfo, ...]:
        return (vk.LayerInfo("bright", "ReLU", (1, 1, 1), 0, 1, 0, False),)


def test_repair_keeps_what_is_still_valid() -> None:
    params = {"layer": "bright", "channel": 2, "cell": (1, 1), "query": "squares/0001", "count": 3, "label": "green"}
    squares = Squares()
    assert repair(every.signature, params, Blocks(), squares) == params
    # model > layer > channel: the layer is still there, its third channel and its second row are not
    narrow = Narrow("narrow")
    assert repair(every.signature, params, narrow, squares) == {
        k: v for k, v in params.items() if k not in ("channel", "cell")
    }
    # a layer that is gone: channel 0 is one of the default layer's, too
    gone = params | {"layer": "cells", "channel": 0, "cell": (0, 0)}
    assert repair(every.signature, gone, narrow, squares) == {k: v for k, v in gone.items() if k != "layer"}
    # dataset > image: a picture of the old dataset goes, an upload stays
    other = Squares(name="other")
    assert "query" not in repair(every.signature, params, Blocks(), other)
    assert "query" not in repair(every.signature, params, Blocks(), Squares(count=1))
    upload = params | {"query": "upload/abc"}
    assert repair(every.signature, upload, Blocks(), other) == upload


def test_what_is_repaired_runs(space: vk.Workspace) -> None:
    wrong = {"layer": "gone", "channel": 99, "count": 3, "query": "gone/1", "label": "dragon"}
    params = repair(every.signature, wrong, Blocks(), Squares())
    assert params == {"count": 3}
    assert resolved(space, **params)["layer"] == "bright"


def test_reading_a_declaration_loads_nothing_heavy() -> None:
    heavy = "{'tensorflow', 'keras', 'sklearn', 'scipy', 'dash', 'PIL', 'matplotlib'}"
    code = f"import sys, vizkit.cli, vizkit.selection; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
