"""docs/result.schema.json describes a result in JSON: it takes every view, small and large, and refuses what is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import vizkit as vk
from vizkit import views

rng = np.random.default_rng(0)
PROVENANCE = vk.Provenance(
    "search",
    "0123abcd",
    models=({"name": "net", "fingerprint": "ff"},),
    dataset={"name": "photos"},
    images=({"ref": "photos/cat", "hash": "ee"},),
    params={"top": 3, "layer": "conv"},
    versions={"numpy": "2.0"},
    created="2026-01-01T00:00:00+00:00",
    seconds=0.5,
)


def pixels(*shape: int) -> Any:
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


LINK = vk.Link("search", {"top": 5}, bind="query")
SMALL: tuple[vk.View, ...] = (
    vk.ImageGrid("grid", (vk.GridItem("photos/cat", "cat", 1, 0.25, 75.0, True), vk.GridItem("photos/dog")), link=LINK),
    vk.Heatmap("map", np.eye(3), "photos/cat", (0, 1), "magma", 0.5, (vk.Box(0, 0, 0.5, 0.5, "eye"),), unit="1"),
    vk.SimilarityOverlay("overlay", rng.normal(size=(1, 2, 2, 3)), ("photos/cat",), at=(0, 1, 1)),
    vk.CellMap("cells", "photos/cat", np.zeros((2, 2, 1), int), np.ones((2, 2, 1)), link=LINK),
    vk.Bars("bars", np.array([1.0, np.nan]), ("a", "b"), low=np.zeros(2), high=np.ones(2), unit="%"),
    vk.Lines("lines", np.arange(3), np.array([[1.0, np.nan, 3.0]]), ("one",), y_label="loss"),
    vk.Scatter("points", rng.normal(size=(3, 2)), ("p/a", "p/b", "p/c"), ("x", "y", "x")),
    vk.Tree("tree", (vk.TreeNode("a", children=True), vk.TreeNode("b", "a", "leaf", "photos/cat", 0.5)), expand=LINK),
    vk.Graph("graph", (vk.GraphNode("a"), vk.GraphNode("b", "B", 1, 2)), (vk.GraphEdge("a", "b", 0.5),)),
    vk.Table("table", ("name", "n"), (("a", 1), ("b", None), ("c", 2.5), ("d", True))),
    vk.SpriteSheet("sheet", "result/0123abcd/0", 32, 7, labels=tuple("abcdefg")),
    vk.Media("picture", "photos/cat", alt="a cat"),
    vk.Note("A sentence.", title="Mind", level="warning"),
    vk.Figure("figure", {"data": [{"type": "bar", "y": [1, 2]}], "layout": {}}),
)
LARGE: tuple[vk.View, ...] = (
    vk.ImageGrid("grid", tuple(vk.GridItem(f"photos/{i}") for i in range(2000)), images=pixels(5, 8, 8)),
    vk.Heatmap("map", rng.normal(size=(60, 60)), pixels(64, 64)),
    vk.SimilarityOverlay("overlay", rng.normal(size=(2, 7, 7, 64)), pixels(2, 32, 32)),
    vk.CellMap("cells", pixels(32, 32), np.zeros((14, 14, 4), int), np.ones((14, 14, 4)), sprites=pixels(64, 64)),
    vk.Bars("bars", rng.normal(size=4000), tuple(f"channel {i}" for i in range(4000))),
    vk.Lines("lines", np.arange(4000), rng.normal(size=(2, 4000)), ("one", "two"), low=np.zeros((2, 4000))),
    vk.Scatter("points", rng.normal(size=(4, 3000, 2)), tuple(f"p/{i}" for i in range(3000)), frames=tuple("abcd")),
    vk.Tree("tree", tuple(vk.TreeNode(str(i), image=pixels(4, 4)) for i in range(600))),
    vk.Graph("graph", tuple(vk.GraphNode(str(i), f"node {i}") for i in range(900))),
    vk.Table("table", ("n",), tuple((i,) for i in range(9000))),
    vk.SpriteSheet("sheet", pixels(64, 64), 32, 4),
    vk.Media("film", pixels(5, 16, 16)),
    vk.Note("x" * 20_000),
    vk.Figure("figure", {"data": [{"y": list(range(9000))}]}),
)
KINDS = [type(view).__name__ for view in SMALL]


@pytest.fixture(scope="module")
def validator(docs: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads((docs / "result.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def as_text(result: vk.Result) -> Any:
    """What a program gets that reads what `vizkit run --json` prints."""
    return json.loads(json.dumps(result.to_json(), allow_nan=False))


def test_the_examples_are_of_every_kind() -> None:
    assert [type(view) for view in SMALL] == list(views.VIEWS)
    assert [type(view) for view in LARGE] == list(views.VIEWS)


@pytest.mark.parametrize("view", SMALL, ids=KINDS)
def test_a_small_view_of_every_kind_is_taken(view: vk.View, validator: jsonschema.Draft202012Validator) -> None:
    data = as_text(vk.Result(view, summary="one", provenance=PROVENANCE))
    assert data["views"][0]["kind"] == view.kind
    validator.validate(data)


@pytest.mark.parametrize("view", LARGE, ids=KINDS)
def test_a_large_view_of_every_kind_is_taken(view: vk.View, validator: jsonschema.Draft202012Validator) -> None:
    data = as_text(vk.Result(vk.Section("part one", (view,)), provenance=PROVENANCE))
    assert '"$array"' in json.dumps(data)
    assert data["views"][0]["section"] == "part one"
    validator.validate(data)


def test_a_partial_result_and_one_without_provenance_are_taken(validator: jsonschema.Draft202012Validator) -> None:
    partial = as_text(vk.Result(SMALL[0], partial=True))
    assert partial["partial"] is True
    assert partial["provenance"] == {}
    validator.validate(partial)


def test_a_real_search_is_taken(workspace: vk.Workspace, validator: jsonschema.Draft202012Validator) -> None:
    data = as_text(workspace.run("search", model="efficientnet-lite0", dataset="photo-crops", top=3))
    assert data["schema"] == 1
    assert [len(v["items"]) for v in data["views"] if v["kind"] == "image-grid"] == [3]
    assert set(data["views"][0]["items"][0]) >= {"id", "label", "rank", "distance", "similarity"}
    validator.validate(data)


GRID, HEATMAP, BARS, TABLE = 0, 1, 4, 9
WRONG: dict[str, tuple[tuple[Any, ...], Any]] = {
    "another version": (("schema",), 2),
    "no summary": (("summary",), None),
    "a stranger at the top": (("extra",), 1),
    "partial is true or absent": (("partial",), False),
    "half a provenance": (("provenance",), {"technique": "search"}),
    "a number for a version": (("provenance", "versions", "numpy"), 2),
    "an unknown kind": (("views", GRID, "kind"), "picture-grid"),
    "the name of the class": (("views", GRID, "kind"), "ImageGrid"),
    "no kind": (("views", GRID, "kind"), None),
    "another's kind": (("views", GRID, "kind"), "bars"),
    "no title": (("views", GRID, "title"), None),
    "an unknown field": (("views", GRID, "colour"), "red"),
    "a similarity in words": (("views", GRID, "items", 0, "similarity"), "75 %"),
    "a rank between two": (("views", GRID, "items", 0, "rank"), 1.5),
    "an item without an id": (("views", GRID, "items", 0, "id"), None),
    "items that are none": (("views", GRID, "items"), "photos/cat"),
    "a link to nowhere": (("views", GRID, "link", "technique"), None),
    "an unknown colour map": (("views", HEATMAP, "colours"), "jet"),
    "too opaque": (("views", HEATMAP, "opacity"), 3),
    "a range of three": (("views", HEATMAP, "range"), [0, 1, 2]),
    "a box without a side": (("views", HEATMAP, "boxes", 0, "left"), None),
    "an array of objects": (("views", BARS, "values"), [{"x": 1}]),
    "an array in words": (("views", BARS, "values"), "1, 2"),
    "an array without its shape": (("views", BARS, "values"), {"$array": "v0.0", "dtype": "float64", "scale": 1.0}),
    "a negative shape": (("views", BARS, "values"), {"$array": "v0.0", "shape": [-1], "dtype": "int8", "scale": 1.0}),
    "a nested cell": (("views", TABLE, "rows", 0, 0), {"a": 1}),
    "a heading that is no text": (("views", TABLE, "section"), 1),
}


@pytest.mark.parametrize(("path", "value"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(path: tuple[Any, ...], value: Any, validator: jsonschema.Draft202012Validator) -> None:
    right = as_text(vk.Result(*SMALL, summary="all", provenance=PROVENANCE))
    validator.validate(right)
    wrong = copy.deepcopy(right)
    *way, last = path
    place = wrong
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert not validator.is_valid(wrong)


def test_the_schema_keeps_no_secret(validator: jsonschema.Draft202012Validator) -> None:
    """Every field of every view is described, and nothing refers to what is not there."""
    schema: Any = validator.schema
    for view in views.VIEWS:
        described = set(schema["$defs"][view.__name__]["properties"])
        assert described == set(view.__dataclass_fields__) | {"section"}
    used = set(json.dumps(schema).split('"#/$defs/')[1:])
    assert {ref.partition('"')[0] for ref in used} <= set(schema["$defs"])
