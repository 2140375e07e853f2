"""The closed set of pictures that a `Result` can hold. A technique returns views; the app and the exports draw them.

A view is a frozen value: a title, arrays and short texts. In JSON a large array (or a long list) is named, with its shape,
dtype and scale, and travels beside the text, so that no view carries more than 64 kB inline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, TypeAdapter, WithJsonSchema
from pydantic.dataclasses import dataclass

INLINE_LIMIT = 64_000
"""Bytes of JSON that one view may carry."""
_SMALL = 2_048  # bytes above which a field leaves its view's text

_load: ContextVar[Callable[[str], NDArray[Any]] | None] = ContextVar("_load", default=None)
_sink: ContextVar[Callable[[NDArray[Any]], str] | None] = ContextVar("_sink", default=None)


def _decode(value: Any) -> NDArray[Any]:
    load = _load.get()
    if isinstance(value, Mapping) and "$array" in value and load is not None:
        return load(value["$array"])
    array = np.asarray(_gaps(value))
    if array.dtype == object:
        raise ValueError("an array of numbers or strings was expected; its rows differ in length or kind")
    return array


def _encode(array: NDArray[Any]) -> Any:
    sink = _sink.get()
    if sink is not None and (array.nbytes > _SMALL or not _plain(array)):
        return {"$array": sink(array), "shape": list(array.shape), "dtype": str(array.dtype), "scale": 1.0}
    return _finite(array.tolist())


def _plain(array: NDArray[Any]) -> bool:
    """Whether lists of numbers say all of an array: pictures, infinities and shapes without content they do not."""
    infinite = array.dtype.kind == "f" and bool(np.isinf(array).any())
    return array.ndim <= 2 and array.size > 0 and array.dtype != np.uint8 and not infinite


def _same_length(**fields: Any) -> None:
    lengths = {name: len(value) for name, value in fields.items() if value is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "one entry each is needed, but there are " + ", ".join(f"{n} {name}" for name, n in lengths.items())
        )


def _gaps(value: Any) -> Any:
    """The reverse of `_finite`, for numbers: null is NaN."""
    if isinstance(value, list | tuple):
        return [_gaps(v) for v in value]
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    """Python values as JSON may hold them: NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


Array: TypeAlias = Annotated[
    NDArray[Any],
    PlainValidator(_decode),
    PlainSerializer(_encode),
    WithJsonSchema(
        {
            "description": "numbers inline, or the name of an array that travels beside this text",
            "anyOf": [
                {"type": "array"},
                {
                    "type": "object",
                    "properties": {
                        "$array": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "dtype": {"type": "string"},
                        "scale": {"type": "number"},
                    },
                    "required": ["$array", "shape", "dtype", "scale"],
                },
            ],
        }
    ),
]
"""A NumPy array of numbers or strings."""

Picture: TypeAlias = str | Array
"""An image reference (`photos/chelsea`), or pixels: uint8 (h, w, 3)."""
ColourMap: TypeAlias = Literal["viridis", "magma", "cividis", "coolwarm"]

_CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Link:
    """Where a click leads: a patch onto the parameters of the result that shows it. `bind` names the parameter that the
    clicked element's id fills."""

    technique: str
    params: dict[str, Any] = Field(default_factory=dict)
    bind: str | None = None


@dataclass(frozen=True, eq=False, config=_CONFIG)
class GridItem:
    """One picture of an `ImageGrid`. `similarity` is a percentage, 0 to 100, and is drawn as a bar."""

    id: str
    label: str | None = None
    rank: int | None = None
    distance: float | None = None
    similarity: float | None = None
    same_class: bool | None = None


@dataclass(frozen=True, eq=False, config=_CONFIG)
class ImageGrid:
    """Pictures in reading order, each with an optional rank, distance and similarity bar. Without `images` an item's id
    is the reference of its picture; with `images`, uint8 (n, h, w, 3), they are shown in order."""

    title: str
    items: tuple[GridItem, ...]
    images: Array | None = None
    link: Link | None = None
    note: str = ""
    kind: Literal["image-grid"] = Field("image-grid", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Box:
    """A rectangle in image coordinates, 0 to 1 from the top left."""

    top: float
    left: float
    bottom: float
    right: float
    label: str = ""


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Heatmap:
    """Numbers (h, w) as colours, laid over a picture where there is one. `range` fixes the ends of the legend."""

    title: str
    values: Array
    image: Picture | None = None
    range: tuple[float, float] | None = None
    colours: ColourMap = "viridis"
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.7
    boxes: tuple[Box, ...] = ()
    unit: str = ""
    note: str = ""
    kind: Literal["heatmap"] = Field("heatmap", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class SimilarityOverlay:
    """Features (n, h, w, c) of n pictures: point at a patch and every patch shows its cosine to it. `images` are n
    references, or pixels (n, H, W, 3). `signed` features have cosines from -1, others from 0. `at` is the patch shown
    first: (image, row, column)."""

    title: str
    features: Array
    images: Annotated[tuple[str, ...] | Array, Field(union_mode="left_to_right")]
    signed: bool = True
    at: tuple[int, int, int] = (0, 0, 0)
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.7
    note: str = ""
    kind: Literal["similarity-overlay"] = Field("similarity-overlay", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class CellMap:
    """For each cell of a picture its strongest channels: `channels` and `values` are (h, w, k), strongest first.
    `sprites` is a sheet of square tiles, `tile` pixels wide, in reading order: tile n shows channel n."""

    title: str
    image: Picture
    channels: Array
    values: Array
    sprites: Picture | None = None
    tile: int = 0
    link: Link | None = None
    note: str = ""
    kind: Literal["cell-map"] = Field("cell-map", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Bars:
    """One bar a label; `low` and `high` are the ends of an interval round each value."""

    title: str
    values: Array
    labels: tuple[str, ...]
    low: Array | None = None
    high: Array | None = None
    unit: str = ""
    link: Link | None = None
    note: str = ""
    kind: Literal["bars"] = Field("bars", init=False)

    def __post_init__(self) -> None:
        _same_length(labels=self.labels, values=self.values, low=self.low, high=self.high)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Lines:
    """Curves over a common x (m,): `values` (series, m) with one name each; `low` and `high` (series, m) are bands.
    NaN is a gap."""

    title: str
    x: Array
    values: Array
    names: tuple[str, ...]
    low: Array | None = None
    high: Array | None = None
    x_label: str = ""
    y_label: str = ""
    note: str = ""
    kind: Literal["lines"] = Field("lines", init=False)

    def __post_init__(self) -> None:
        _same_length(names=self.names, values=self.values, low=self.low, high=self.high)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Scatter:
    """Points (n, 2), or one arrangement a frame, (frames, n, 2). `ids` are image references, `labels` colour them."""

    title: str
    points: Array
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    link: Link | None = None
    note: str = ""
    kind: Literal["scatter"] = Field("scatter", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class TreeNode:
    """A node of a `Tree`. `weight` is that of the edge to its parent; `children` says whether it can be expanded."""

    id: str
    parent: str | None = None
    label: str = ""
    image: Picture | None = None
    weight: float | None = None
    children: bool = False


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Tree:
    """A rooted tree of pictures, expanded where a person clicks: `expand` is run with the node's id."""

    title: str
    nodes: tuple[TreeNode, ...]
    expand: Link | None = None
    note: str = ""
    kind: Literal["tree"] = Field("tree", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class GraphNode:
    """A node of a `Graph`; `row` and `column` place it, from the top left."""

    id: str
    label: str = ""
    row: float = 0
    column: float = 0


@dataclass(frozen=True, eq=False, config=_CONFIG)
class GraphEdge:
    """A directed edge; `weight` is drawn as its width."""

    source: str
    target: str
    weight: float = 1


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Graph:
    """Nodes at given places, joined by directed edges."""

    title: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...] = ()
    link: Link | None = None
    note: str = ""
    kind: Literal["graph"] = Field("graph", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Table:
    """Rows of texts and numbers under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]
    note: str = ""
    kind: Literal["table"] = Field("table", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class SpriteSheet:
    """Many square tiles in one picture, in reading order; tile n is unit n. The last row may be ragged."""

    title: str
    sheet: Picture
    tile: int
    count: int
    labels: tuple[str, ...] = ()
    link: Link | None = None
    note: str = ""
    kind: Literal["sprite-sheet"] = Field("sprite-sheet", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Media:
    """One picture, or frames (t, h, w, 3) shown one after another."""

    title: str
    image: Picture
    seconds: float = 0.1
    alt: str = ""
    note: str = ""
    kind: Literal["media"] = Field("media", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Note:
    """A sentence or two that a person reads."""

    text: str
    title: str = ""
    level: Literal["info", "warning"] = "info"
    note: str = ""
    kind: Literal["note"] = Field("note", init=False)


@dataclass(frozen=True, eq=False, config=_CONFIG)
class Figure:
    """The way out: a plotly figure as JSON, for what no other view says."""

    title: str
    figure: dict[str, Any]
    note: str = ""
    kind: Literal["figure"] = Field("figure", init=False)


View: TypeAlias = (
    ImageGrid
    | Heatmap
    | SimilarityOverlay
    | CellMap
    | Bars
    | Lines
    | Scatter
    | Tree
    | Graph
    | Table
    | SpriteSheet
    | Media
    | Note
    | Figure
)
VIEWS: tuple[type[Any], ...] = get_args(View)
_by_kind = {v.__dataclass_fields__["kind"].default.default: v for v in VIEWS}
_adapters: dict[str, TypeAdapter[Any]] = {}


def pack(view: View, name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """A view as plain JSON values. What is too large to stand inline goes into `arrays` under a name that begins with
    `name`: arrays as they are, long lists as UTF-8 JSON in bytes."""

    def keep(array: NDArray[Any]) -> str:
        key = f"{name}.{len(arrays)}"
        arrays[key] = array
        return key

    token = _sink.set(keep)
    try:
        data: dict[str, Any] = _finite(_adapter(view.kind).dump_python(view, exclude_none=True))
    finally:
        _sink.reset(token)
    for field, value in data.items():
        if isinstance(value, str | list) or (isinstance(value, dict) and "$array" not in value):
            text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
            if len(text) > INLINE_LIMIT // 4:
                blob = np.frombuffer(text, np.uint8)
                data[field] = {"$array": keep(blob), "shape": [blob.size], "dtype": "json", "scale": 1.0}
    return {"kind": data.pop("kind")} | data


def unpack(data: Mapping[str, Any], load: Callable[[str], NDArray[Any]]) -> View:
    """The reverse of `pack`; `load` gives an array by its name, and is called for large ones only."""
    fields = {
        k: json.loads(load(v["$array"]).tobytes()) if isinstance(v, Mapping) and v.get("dtype") == "json" else v
        for k, v in data.items()
        if k != "kind"
    }
    token = _load.set(load)
    try:
        view: View = _adapter(data["kind"]).validate_python(fields)
        return view
    finally:
        _load.reset(token)


def pictures(view: View) -> Sequence[NDArray[np.uint8]]:
    """The pictures that a view carries as pixels, uint8 (h, w, 3) each, in order: the N of `result/KEY/N`."""
    match view:
        case ImageGrid(images=np.ndarray() as images) | SimilarityOverlay(images=np.ndarray() as images):
            return list(images)
        case Media(image=np.ndarray() as image):
            return list(image) if image.ndim == 4 else [image]
        case Heatmap(image=np.ndarray() as image) | CellMap(image=np.ndarray() as image):
            return [image]
        case SpriteSheet(sheet=np.ndarray() as sheet):
            return [sheet]
        case Tree(nodes=nodes):
            return [n.image for n in nodes if isinstance(n.image, np.ndarray)]
        case _:
            return []


def json_schema() -> dict[str, Any]:
    """The JSON schema of one view, any kind: what `vizkit run --json` prints under `views`."""
    return TypeAdapter(Annotated[View, Field(discriminator="kind")]).json_schema(mode="serialization")


def _adapter(kind: str) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(_by_kind[kind])
    return _adapters[kind]
