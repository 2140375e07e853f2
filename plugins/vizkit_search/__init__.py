"""Semantic search: which images does this layer of the network find alike?

The idea of ConvNet Playground (Cloudera Fast Forward Labs, 2019), live: any model, any layer, any images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vizkit as vk
from vizkit_search.distance import Index, Metric


@vk.technique(
    "search",
    title="Semantic search",
    question="Which images does this layer find most like this one?",
)
def search(
    model: vk.ModelAdapter,
    images: vk.ImageBatch,
    progress: vk.Progress,
    *,
    query: Annotated[vk.ImageBatch, vk.Image(), Field(description="The image to find others like")],
    layer: Annotated[str, vk.Layer(), Field(description="The layer whose activations are compared")],
    metric: Annotated[Metric, Field(description="How far apart two activations are")] = "cosine",
    top: Annotated[int, Field(ge=1, le=1000, description="How many results")] = 15,
    pooling: Annotated[
        Literal["mean", "max", "none"],
        Field(
            description="mean or max over positions; none compares position by position, as the flattened layer",
            json_schema_extra={"advanced": True},
        ),
    ] = "mean",
    p: Annotated[
        float,
        Field(
            ge=0.1,
            le=20,
            description="The exponent of minkowski; other metrics do not use it",
            json_schema_extra={"advanced": True},
        ),
    ] = 3.0,
) -> vk.Result:
    """Rank images by the distance of their activations to those of the query.

    Each image becomes the activation of the chosen layer, pooled over positions (or flattened, without pooling), and the
    distances are exact. The query itself is left out, and ties are broken by the images' names. The percentage is
    100 · (1 − d / d_max), where d_max is the distance of the farthest image from this query: it falls as the distance
    grows, has the same meaning for every metric and does not depend on how many results are shown.

    The search score asks how well the ranking agrees with the classes: of the K results the i-th weighs (K − i) / K, and
    the score is the weight of those of the query's class as a share of all (ConvNet Playground, 2019).
    """
    compared = _compared(model, images, layer, pooling)
    progress.report(0, len(images), text=compared)
    place = images.hashes.index(query.hashes[0]) if query.hashes[0] in images.hashes else None
    apart: list[NDArray[np.float32]] = []

    def target(features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The query's activation: as one of the images, or computed by itself where it is not (yet) among them."""
        if place is not None and place < len(features):
            own: NDArray[np.float32] = features[place]
            return own
        if not apart:
            apart.append(model.activations(query, [layer], pool=pooling)[layer].values.reshape(-1))
        return apart[0]

    def ranked(done: Mapping[str, vk.Activations]) -> vk.Result:
        features = done[layer].values.reshape(len(done[layer].refs), -1)
        return _result(images[: len(features)], query, Index(features, metric, p), target(features), top, layer, compared)

    return ranked(model.activations(images, [layer], pool=pooling, each=lambda done: progress.partial(ranked(done))))


def score(same: Sequence[bool | None]) -> float:
    """The search score of results in order, 0 to 100: place i of K, from 0, weighs (K − i) / K; None is no match."""
    weights = np.arange(len(same), 0, -1)
    return 100 * float(weights @ np.array([bool(s) for s in same], float) / weights.sum())


def _result(
    images: vk.ImageBatch,
    query: vk.ImageBatch,
    index: Index,
    target: NDArray[np.float32],
    top: int,
    layer: str,
    compared: str,
) -> vk.Result:
    """The nearest `top` of the images to a query whose activation is `target`."""
    own, label = query.refs[0], query.labels[0]
    others = len(images) - images.refs.count(own)
    if not others:
        return _nothing(f"There is no other image to compare {own} with.", f"{own} is the only image.")
    if not np.isfinite(target).all():
        return _nothing(f"The activations of {own} in {layer} are not all finite numbers, so nothing is near or far.", "")
    found = zip(*index.ends(target, top + len(images) - others), strict=True)
    ends = [(float(d), str(images.refs[i]), int(i)) for i, d in found if images.refs[i] != own]
    near = sorted(end for end in ends if np.isfinite(end[0]))
    unusable = len(ends) - len(near)
    if not near:
        return _nothing(f"The activations of the other images in {layer} are not all finite numbers.", "")
    farthest = near[-1][0]
    items = tuple(
        vk.GridItem(
            id=name,
            label=images.labels[i],
            rank=rank,
            distance=d,
            similarity=100 * (1 - d / farthest) if farthest else 100.0,
            same_class=None if label is None or images.labels[i] is None else images.labels[i] == label,
        )
        for rank, (d, name, i) in enumerate(near[:top], start=1)
    )
    grid = vk.ImageGrid(
        f"Nearest in {layer}",
        items,
        link=vk.Link("search", bind="query"),
        note=f"The bar is 100 · (1 − d / {farthest:.4g}): full for the query itself, empty for the farthest of the"
        f" {others - unusable:,} images. d is the {index.metric} distance. {compared}",
    )
    notes = []
    if unusable:
        notes.append(f"Left out: {unusable:,} of the images, whose activations in {layer} are not all finite numbers.")
    if top > others - unusable:
        notes.append(f"{top:,} results were asked for; there are {others - unusable:,} other images, and all are shown.")
    return vk.Result(
        grid,
        _scored([item.same_class for item in items], label),
        *(vk.Note(text, level="warning") for text in notes),
        vk.Media("Query", str(own), alt=label or str(own)),
        summary=_summary(items[0], own),
    )


def _nothing(text: str, summary: str) -> vk.Result:
    return vk.Result(vk.Note(text, title="Nothing to search", level="warning"), summary=summary or text)


def _scored(same: Sequence[bool | None], label: str | None) -> vk.Note:
    """The position-weighted search score, in words."""
    count = len(same)
    if label is None:
        return vk.Note("The query has no class, so there is nothing to score.", title="Search score")
    return vk.Note(
        f"{sum(map(bool, same))} of {count} results are in the same category ({label})."
        f" The first result counts {count} times as much as the last: place i weighs ({count} − i) / {count}, from i = 0.",
        title=f"Search score {score(same):.1f} %",
    )


def _compared(model: vk.ModelAdapter, images: vk.ImageBatch, layer: str, pooling: str) -> str:
    """What is compared, with its size, known before anything is computed."""
    info = next(known for known in model.layers() if known.path == layer)
    sides = [n or 1 for n in info.shape]
    if len(sides) < 2 or (info.spatial and pooling != "none"):
        return f"{info.channels:,} numbers an image are compared."
    numbers = math.prod(sides)
    product, size = " × ".join(f"{n:,}" for n in sides), f"{4e-6 * numbers * len(images):,.1f} MB"
    return f"{product} = {numbers:,} numbers an image are compared, {size} for {len(images):,} images."


def _summary(best: vk.GridItem, own: vk.ImageRef) -> str:
    return f"Most like {own}: {best.id}" + (f" ({best.label})" if best.label else "") + f", {best.similarity:.0f} % similar."


@vk.hookimpl
def register_techniques() -> list[vk.Technique[...]]:
    """Return the search."""
    return [search]
