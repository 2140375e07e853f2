"""Semantic search: which images does this layer of the network find alike?

The idea of ConvNet Playground (Cloudera Fast Forward Labs, 2019), live: any model, any layer, any images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vizkit as vk
from vizkit_search.distance import Metric, distances


@vk.technique(
    "search",
    title="Semantic search",
    question="Which images does this layer find most like this one?",
    packages=("scipy",),
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
        Field(description="mean or max over positions; none compares position by position, as the flattened layer"),
    ] = "mean",
    p: Annotated[float, Field(ge=0.1, le=20, description="The exponent of minkowski; other metrics do not use it")] = 3.0,
) -> vk.Result:
    """Rank images by the distance of their activations to those of the query.

    Each image becomes the activation of the chosen layer, pooled over positions (or flattened, without pooling), and the
    distances are exact. The query itself is left out, and ties are broken by the images' names. The percentage is
    100 · (1 − d / d_max), where d_max is the distance of the farthest image from this query: it falls as the distance
    grows, has the same meaning for every metric and does not depend on how many results are shown.

    The search score asks how well the ranking agrees with the classes: of the K results the i-th weighs (K − i) / K, and
    the score is the weight of those of the query's class as a share of all (ConvNet Playground, 2019).
    """
    target = model.activations(query, [layer], pool=pooling)[layer].values.reshape(-1)

    def ranked(done: Mapping[str, vk.Activations]) -> vk.Result:
        found = done[layer]
        features = found.values.reshape(len(found.refs), -1)
        return _result(
            images[: len(found.refs)], query, distances(features, target, metric, p), top, layer, metric, target.size
        )

    found = model.activations(images, [layer], pool=pooling, each=lambda done: progress.partial(ranked(done)))
    return ranked(found)


def _result(
    images: vk.ImageBatch,
    query: vk.ImageBatch,
    far: NDArray[np.float64],
    top: int,
    layer: str,
    metric: str,
    dimensions: int,
) -> vk.Result:
    """The nearest `top` of the images, whose distances are `far`."""
    own, label = query.refs[0], query.labels[0]
    others = [i for i, ref in enumerate(images.refs) if ref != own]
    if not others:
        return vk.Result(
            vk.Note(f"There is no other image to compare {own} with.", title="Nothing to search", level="warning"),
            summary=f"{own} is the only image.",
        )
    farthest = max(far[i] for i in others)
    order = sorted(others, key=lambda i: (round(float(far[i]), 9), str(images.refs[i])))[:top]
    same = [None if label is None else images.labels[i] == label for i in order]
    items = tuple(
        vk.GridItem(
            id=str(images.refs[i]),
            label=images.labels[i],
            rank=rank,
            distance=float(far[i]),
            similarity=float(100 * (1 - far[i] / farthest)) if farthest else 100.0,
            same_class=same[rank - 1],
        )
        for rank, i in enumerate(order, start=1)
    )
    grid = vk.ImageGrid(
        f"Nearest in {layer}",
        items,
        link=vk.Link("search", bind="query"),
        note=f"The bar is 100 · (1 − d / {farthest:.4g}): full for the query itself, empty for the farthest of the"
        f" {len(others)} images. {metric} distance over {dimensions:,} numbers an image.",
    )
    notes = []
    if top > len(others):
        notes.append(
            vk.Note(
                f"{top} results were asked for; there are {len(others)} other images, and all are shown.", level="warning"
            )
        )
    return vk.Result(
        grid, _score(same, label), *notes, vk.Media("Query", str(own), alt=label or str(own)), summary=_summary(items, own)
    )


def _score(same: list[bool | None], label: str | None) -> vk.Note:
    """The position-weighted search score, in words."""
    count = len(same)
    if label is None:
        return vk.Note("The query has no class, so there is nothing to score.", title="Search score")
    weights = np.arange(count, 0, -1) / count
    score = 100 * float(weights @ np.array(same, float) / weights.sum())
    return vk.Note(
        f"{sum(map(bool, same))} of {count} results are in the same category ({label})."
        f" The first result counts {count} times as much as the last: place i weighs ({count} − i) / {count}, from i = 0.",
        title=f"Search score {score:.1f} %",
    )


def _summary(items: tuple[vk.GridItem, ...], own: vk.ImageRef) -> str:
    best = items[0]
    return f"Most like {own}: {best.id}" + (f" ({best.label})" if best.label else "") + f", {best.similarity:.0f} % similar."


@vk.hookimpl
def register_techniques() -> list[vk.Technique[...]]:
    """Return the search."""
    return [search]
