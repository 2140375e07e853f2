"""Every kind of view as JSON and back: nothing lost, nothing large inline, the promised schema."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from vizkit import views as v
from vizkit.results import Result, Section
from vizkit.types import Provenance

PIXELS = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
NAN = math.nan
HOSTILE = "<script>alert('x')</script> & \"猫\" Ünï $\\frac{1}{$ =1+1"

EVERY: dict[str, v.View] = {
    "image-grid": v.ImageGrid(
        "Alike",
        (v.GridItem("photos/a", HOSTILE, 1, 0.25, 75.0, True), v.GridItem("photos/b", None, 2, 0.5, 50.0, False)),
        link=v.Link("search", {"metric": "cosine", "position": None}, "query"),
        note=HOSTILE,
    ),
    "heatmap": v.Heatmap("Heat", np.array([[0.0, 1.0], [NAN, 0.25]]), "photos/a", (0, 1), boxes=(v.Box(0, 0, 1, 0.5, "b"),)),
    "similarity-overlay": v.SimilarityOverlay("Overlay", np.eye(4, dtype=np.float32).reshape(1, 2, 2, 4), PIXELS[None]),
    "cell-map": v.CellMap("Cells", "photos/a", np.array([[[3, 1]], [[2, 0]]]), np.array([[[0.9, 0.1]], [[0.5, NAN]]])),
    "bars": v.Bars("Bars", np.array([0.5, NAN]), ("a", HOSTILE), np.array([0.4, NAN]), np.array([0.6, NAN]), "%"),
    "lines": v.Lines("Lines", np.array([0.0, 1.0, 2.0]), np.array([[1.0, NAN, 3.0], [2.0, 2.0, 2.0]]), ("_a", HOSTILE)),
    "scatter": v.Scatter("Points", np.array([[[0.0, 1.0], [2.0, NAN]]]), ("photos/a", "photos/b"), ("x", HOSTILE), ("f",)),
    "tree": v.Tree("Tree", (v.TreeNode("r", None, HOSTILE, PIXELS), v.TreeNode("c", "r", "", "photos/a", -0.5, True))),
    "graph": v.Graph("Graph", (v.GraphNode("a", HOSTILE), v.GraphNode("b", "", 1, 0.5)), (v.GraphEdge("a", "b", 2.5),)),
    "table": v.Table("Table", ("name", HOSTILE), ((HOSTILE, 1), (None, 0.5), (True, -2))),
    "sprite-sheet": v.SpriteSheet("Sprites", PIXELS, 2, 8, ("=0", "one")),
    "media": v.Media("Media", np.stack([PIXELS, 255 - PIXELS]), 0.25, HOSTILE),
    "note": v.Note(HOSTILE, "Title", "warning"),
    "figure": v.Figure("Figure", {"data": [{"type": "bar", "x": [1, None], "y": [2, 3]}], "layout": {"title": None}}),
}
PROVENANCE = Provenance(
    "search", "ab" * 32, ({"id": "m"},), {"id": "photos"}, ({"ref": "photos/a", "hash": "h"},), {"top": 15, "q": HOSTILE}
)


def around(view: v.View) -> tuple[v.View, dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    data = json.loads(json.dumps(v.pack(view, "v0", arrays), allow_nan=False))
    return v.unpack(data, arrays.__getitem__), data, arrays


def same(a: Any, b: Any) -> bool:
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        numbers = a.dtype.kind == "f"
        return isinstance(b, np.ndarray) and a.shape == b.shape and np.array_equal(a, b, equal_nan=numbers)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    alike = isinstance(a, bool) == isinstance(b, bool)  # 1 and 1.0 are one number, True is none
    return alike and bool(a == b or (a != a and b != b))


def test_there_is_an_example_of_every_kind() -> None:
    assert list(EVERY) == [k.__dataclass_fields__["kind"].default.default for k in v.VIEWS]


@pytest.mark.parametrize("kind", EVERY)
def test_nothing_is_lost_on_the_way_to_json_and_back(kind: str) -> None:
    back, data, _ = around(EVERY[kind])
    assert data["kind"] == kind
    assert same(EVERY[kind], back)


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_keeps_to_the_schema(kind: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    _, data, _ = around(EVERY[kind])
    jsonschema.validate(data, v.json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"kind": "pie"}, v.json_schema())


def test_gaps_are_null_in_json_and_nan_again() -> None:
    back, data, _ = around(EVERY["bars"])
    assert data["values"] == [0.5, None]
    assert isinstance(back, v.Bars)
    assert np.isnan(back.values[1])


def test_a_large_array_is_named_with_its_shape_and_keeps_its_type() -> None:
    features = np.random.default_rng(0).normal(size=(2, 7, 7, 320)).astype(np.float32)
    back, data, arrays = around(v.SimilarityOverlay("t", features, np.zeros((2, 8, 8, 3), np.uint8)))
    assert features.nbytes > v.INLINE_LIMIT
    name = data["features"]["$array"]
    assert data["features"] == {"$array": name, "shape": [2, 7, 7, 320], "dtype": "float32", "scale": 1.0}
    assert name.startswith("v0.")
    assert isinstance(back, v.SimilarityOverlay)
    assert back.features.dtype == np.float32
    assert arrays[name] is features


def test_a_grid_of_ten_thousand_is_not_inline() -> None:
    items = tuple(v.GridItem(f"photos/{i}", f"Katze № {i}", i + 1, i / 7, 100 - i / 100, i % 2 == 0) for i in range(10_000))
    back, data, _ = around(v.ImageGrid("t", items))
    assert len(json.dumps(data)) < 1_000
    assert isinstance(back, v.ImageGrid)
    assert same(items, back.items)


LARGE: dict[str, v.View] = {
    "bars": v.Bars("t", np.arange(20_000.0), tuple(f"channel {i}" for i in range(20_000))),
    "lines": v.Lines("t", np.arange(5_000.0), np.zeros((4, 5_000)), tuple("abcd")),
    "heatmap": v.Heatmap("t", np.zeros((300, 300)), np.zeros((300, 300, 3), np.uint8)),
    "scatter": v.Scatter("t", np.zeros((9_000, 2)), tuple(map(str, range(9_000))), tuple(map(str, range(9_000)))),
    "tree": v.Tree("t", tuple(v.TreeNode(f"n{i}", image=np.zeros((16, 16, 3), np.uint8)) for i in range(900))),
    "graph": v.Graph("t", tuple(v.GraphNode(f"n{i}") for i in range(3_000)), (v.GraphEdge("n0", "n1"),) * 3_000),
    "table": v.Table("t", ("a", "b"), ((0.1234567, "word"),) * 9_000),
    "figure": v.Figure("t", {"data": [{"y": list(range(30_000))}]}),
}


@pytest.mark.parametrize("kind", LARGE)
def test_no_view_carries_more_than_its_share_inline(kind: str) -> None:
    back, data, _ = around(LARGE[kind])
    assert len(json.dumps(data, ensure_ascii=False).encode()) < v.INLINE_LIMIT
    assert same(LARGE[kind], back)


def test_arrays_are_loaded_only_when_named() -> None:
    def never(name: str) -> Any:
        raise AssertionError(name)

    assert isinstance(v.unpack(json.loads(json.dumps(v.pack(EVERY["bars"], "v0", {}))), never), v.Bars)


def test_pictures_are_counted_in_order() -> None:
    result = Result(EVERY["media"], EVERY["tree"], EVERY["heatmap"], EVERY["sprite-sheet"])
    assert [p.shape for p in result.pictures] == [(6, 6, 3)] * 4
    assert np.array_equal(result.pictures[1], 255 - PIXELS)


def test_a_result_comes_back_with_sections_summary_and_provenance() -> None:
    table, note = EVERY["table"], EVERY["note"]
    result = Result(note, Section("One", (table, note)), summary=HOSTILE, partial=True, provenance=PROVENANCE)
    data, arrays = result.pack()
    back = Result.unpack(json.loads(json.dumps(data, allow_nan=False)), arrays.__getitem__)
    assert [(s.title, [x.kind for x in s.views]) for s in back.sections] == [("", ["note"]), ("One", ["table", "note"])]
    assert (back.summary, back.partial, back.provenance) == (HOSTILE, True, PROVENANCE)


def test_the_names_of_arrays_differ_between_views() -> None:
    result = Result(*[v.Heatmap("t", np.full((40, 40), float(i))) for i in range(12)])
    data, arrays = result.pack()
    names = [x["values"]["$array"] for x in data["views"]]
    assert len(set(names)) == 12
    assert [float(arrays[n][0, 0]) for n in names] == [float(i) for i in range(12)]


NUMBERS: dict[str, v.View] = {
    "a distance": v.ImageGrid("t", (v.GridItem("photos/a", distance=NAN),)),
    "a cell of a table": v.Table("t", ("a",), ((NAN,), (math.inf,))),
    "a weight": v.Tree("t", (v.TreeNode("r", weight=NAN),)),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_a_number_that_is_none_is_no_obstacle(what: str) -> None:
    _, data, _ = around(NUMBERS[what])
    assert "NaN" not in json.dumps(data)


def test_references_stay_references() -> None:
    back, _, _ = around(v.SimilarityOverlay("t", np.zeros((2, 1, 1, 3)), ("photos/a", "photos/b")))
    assert isinstance(back, v.SimilarityOverlay)
    assert back.images == ("photos/a", "photos/b")
    assert v.pictures(back) == []


def test_a_long_text_is_not_inline() -> None:
    view = v.Note("word " * 30_000)
    back, data, _ = around(view)
    assert len(json.dumps(data)) < v.INLINE_LIMIT
    assert same(view, back)
