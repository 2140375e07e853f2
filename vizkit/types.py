"""What flows between models, datasets and techniques: plain, frozen values over NumPy arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import VizkitError

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""
Position: TypeAlias = tuple[int, int]
"""Row and column of a cell, from 0."""
Pool: TypeAlias = Literal["none", "mean", "max"]
"""How `activations` reduces the two spatial axes."""
Rule: TypeAlias = Literal["normal", "deconv", "guided"]
"""What a rectifier does to the gradient that comes back through it."""


@dataclass(frozen=True, order=True)
class ImageRef:
    """The one name of an image, in Python, on the command line, in URLs and in JSON.

    `DATASET/ID` for a dataset's image, `upload/SHA` for one that a person gave, `result/KEY/N` for one that vizkit made.
    """

    source: str
    id: str

    def __str__(self) -> str:
        return f"{self.source}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read `source/id`; the id may hold further slashes."""
        source, slash, id = text.partition("/")
        if not (source and slash and id):
            raise VizkitError(
                f"{text!r} is not an image reference. It looks like photos/chelsea, upload/SHA or result/KEY/0."
            )
        return cls(source, id)


class ImageBatch:
    """Images of one size as a person sees them, decoded only when their pixels are asked for.

    `refs`, `labels` and `hashes` have one entry an image; a hash covers the file's content and how it was cropped, so two
    batches with the same `fingerprint` hold the same pixels. Indexing with a slice or a list of positions gives a batch.
    """

    def __init__(
        self,
        refs: Sequence[ImageRef],
        size: Size,
        load: Callable[[Sequence[int]], NDArray[np.uint8]],
        hashes: Sequence[str],
        labels: Sequence[str | None] | None = None,
        at: Callable[[Size], ImageBatch] | None = None,
    ) -> None:
        self.refs = tuple(refs)
        self.size = size
        self.hashes = tuple(hashes)
        self.labels: tuple[str | None, ...] = tuple(labels) if labels is not None else (None,) * len(self.refs)
        self._load = load
        self._at = at
        if not len(self.refs) == len(self.hashes) == len(self.labels):
            raise ValueError(f"{len(self.refs)} refs, {len(self.hashes)} hashes and {len(self.labels)} labels")

    @classmethod
    def from_pixels(
        cls,
        pixels: NDArray[np.uint8],
        refs: Sequence[ImageRef] | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> ImageBatch:
        """A batch over pixels that are in memory already: uint8, (n, h, w, 3)."""
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
            raise VizkitError(
                f"Images in memory are a uint8 array of shape (n, h, w, 3); got {pixels.dtype} {pixels.shape}."
                " Convert with numpy: (255 * x).astype('uint8'), or x[None] for a single picture."
            )
        hashes = [hashlib.sha256(p.tobytes()).hexdigest() for p in pixels]
        names = refs if refs is not None else [ImageRef("array", h[:16]) for h in hashes]
        return cls(names, (pixels.shape[1], pixels.shape[2]), lambda rows: pixels[list(rows)], hashes, labels)

    @classmethod
    def concat(cls, batches: Sequence[ImageBatch]) -> ImageBatch:
        """The images of several batches of one size, in order."""
        if len({b.size for b in batches}) != 1:
            raise ValueError(f"batches of sizes {sorted({b.size for b in batches})} cannot be joined")
        where = [(b, i) for b in batches for i in range(len(b))]
        return cls(
            [b.refs[i] for b, i in where],
            batches[0].size,
            lambda rows: np.concatenate([where[r][0][[where[r][1]]].pixels for r in rows]),
            [b.hashes[i] for b, i in where],
            [b.labels[i] for b, i in where],
            (lambda size: cls.concat([b.at(size) for b in batches])) if all(b.follows for b in batches) else None,
        )

    @property
    def follows(self) -> bool:
        """Whether each model frames these images to its own size; so it is for the images of a run. What `at` gives, and
        pixels from memory, keep their size whatever the model's."""
        return self._at is not None

    def at(self, size: Size) -> ImageBatch:
        """The same images framed to another size (height, width), and kept at it."""
        if self._at is None:
            raise VizkitError(f"These images are {self.size[0]} x {self.size[1]} pixels and cannot be framed anew.")
        return self._at(size)

    def following(self, at: Callable[[Size], ImageBatch]) -> ImageBatch:
        """The same batch, which each model frames to its own size by `at`."""
        return ImageBatch(self.refs, self.size, self._load, self.hashes, self.labels, at)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded images, uint8 (n, h, w, 3). Kept, so ask a slice of a large batch: it keeps only its own."""
        if not self.refs:
            return np.zeros((0, *self.size, 3), np.uint8)
        pixels = self._load(range(len(self)))
        if pixels.shape != (len(self), *self.size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"loader gave {pixels.dtype} {pixels.shape}, promised uint8 {(len(self), *self.size, 3)}")
        return pixels

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every image's content, crop, name and label, in order."""
        rows = (f"{r}\0{h}\0{label}\n" for r, h, label in zip(self.refs, self.hashes, self.labels, strict=True))
        return hashlib.sha256(f"{self.size}\n{''.join(rows)}".encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """A hash of the pixels alone, in order: what a model's activations depend on."""
        return hashlib.sha256(f"{self.size}\n{' '.join(self.hashes)}".encode()).hexdigest()

    def index(self, ref: ImageRef) -> int | None:
        """Where an image is in this batch, or None."""
        return self.refs.index(ref) if ref in self.refs else None

    def batches(self, n: int) -> Iterator[ImageBatch]:
        """The batch in pieces of at most n images; each decodes (and forgets) its own."""
        return (self[i : i + n] for i in range(0, len(self), n))

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, rows: slice | Sequence[int]) -> ImageBatch:
        picked = range(len(self))[rows] if isinstance(rows, slice) else [range(len(self))[r] for r in rows]
        return ImageBatch(
            [self.refs[i] for i in picked],
            self.size,
            lambda inner: self._load([picked[i] for i in inner]),
            [self.hashes[i] for i in picked],
            [self.labels[i] for i in picked],
            (lambda size: self.at(size)[picked]) if self.follows else None,
        )

    def __repr__(self) -> str:
        return f"<ImageBatch {len(self)} x {self.size[0]} x {self.size[1]}>"


@dataclass(frozen=True)
class LayerInfo:
    """One addressable tensor of a model, in network order.

    `path` addresses it at any depth (`backbone/block_3_expand_relu`, `name@1` for a shared layer's second call); `shape`
    is without the batch axis, None where a model takes any size; `signed` is False where values cannot be negative.
    """

    path: str
    kind: str
    shape: tuple[int | None, ...]
    params: int
    channels: int
    index: int
    signed: bool

    @property
    def spatial(self) -> bool:
        """Whether it keeps rows and columns, (h, w, c)."""
        return len(self.shape) == 3


@dataclass(frozen=True, eq=False)
class Activations:
    """What a layer gave for a batch: float32 (n, h, w, c), or (n, c) after pooling or where the layer has no space."""

    layer: LayerInfo
    values: NDArray[np.float32]
    refs: tuple[ImageRef, ...]

    def __getitem__(self, rows: slice | Sequence[int]) -> Activations:
        picked = range(len(self.refs))[rows] if isinstance(rows, slice) else rows
        return Activations(self.layer, self.values[list(picked)], tuple(self.refs[i] for i in picked))


@dataclass(frozen=True)
class Target:
    """What a gradient is taken of, one number an image: a class's logit, or a layer's channel, position or direction.

    With a layer alone it is the sum over the layer; with a channel its sum over positions; with a position that cell.
    """

    layer: str | None = None
    channel: int | None = None
    position: Position | None = None
    class_index: int | None = None
    direction: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.layer is None) == (self.class_index is None):
            raise ValueError("a target has either a layer or a class")
        if self.direction is not None and self.channel is not None:
            raise ValueError("a target has either a channel or a direction")


@dataclass(frozen=True)
class Selection:
    """What a person has chosen, shared by all panels of a page. Every kind is plural; a single-valued parameter binds to
    the first of its kind, and a second parameter of a kind binds only where it carries a role, to the next one."""

    models: tuple[str, ...] = ()
    dataset: str | None = None
    images: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    unit: int | None = None
    classes: tuple[str, ...] = ()
    position: Position | None = None

    def of(self, kind: str) -> tuple[Any, ...]:
        """All chosen values of a kind: `model`, `dataset`, `image`, `layer`, `channel`, `class` or `position`."""
        plural = {"model": self.models, "image": self.images, "layer": self.layers, "class": self.classes}
        single = {"dataset": self.dataset, "channel": self.unit, "position": self.position}
        if kind in plural:
            return plural[kind]
        return () if single[kind] is None else (single[kind],)


@dataclass(frozen=True)
class Provenance:
    """How a result was made, complete enough to make it again. Filled in by `run()`; JSON through `to_json`."""

    technique: str
    key: str
    models: tuple[Mapping[str, Any], ...] = ()
    dataset: Mapping[str, Any] | None = None
    images: tuple[Mapping[str, str], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    inner: tuple[str, ...] = ()
    created: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists, ready for json.dumps."""
        plain = dict(self.__dict__)
        return {k: [dict(m) for m in v] if k in ("models", "images") else v for k, v in plain.items()} | {
            "inner": list(self.inner)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Provenance:
        """The reverse of `to_json`."""
        tuples = {k: tuple(data.get(k, ())) for k in ("models", "images", "inner")}
        return cls(**{**data, **tuples})
