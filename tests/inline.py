"""A small network in NumPy and small datasets, for tests of the core that need no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vizkit as vk


class Blocks:
    """A model adapter: `cells` is the mean colour of each 8 x 8 block (signed: minus 0.5), `bright` their ReLU, `mean` its
    global mean. Its activations can be checked by hand. It counts what it is asked to compute."""

    name = "blocks"
    title = "Blocks"
    image_size = (16, 16)
    random_weights = False
    offers = frozenset({"predict", "activations"})
    labels = ("red", "green", "blue")
    curated = ("cells", "bright")

    def __init__(self, name: str = "blocks", gain: float = 1.0) -> None:
        self.name, self.gain = name, gain
        self.passes = 0
        self.seen = 0

    def fingerprint(self) -> str:
        return f"blocks {self.gain}"

    def layers(self) -> tuple[vk.LayerInfo, ...]:
        return (
            vk.LayerInfo("cells", "Mean", (2, 2, 3), 0, 3, 0, True),
            vk.LayerInfo("bright", "ReLU", (2, 2, 3), 0, 3, 1, False),
            vk.LayerInfo("mean", "GlobalMean", (3,), 0, 3, 2, False),
        )

    def compute(self, pixels: NDArray[np.uint8], layer: str) -> NDArray[np.float32]:
        """What a layer gives for some pixels."""
        n, h, w, _ = pixels.shape
        cells = pixels.reshape(n, h // 8, 8, w // 8, 8, 3).mean((2, 4)) / 255 * self.gain - 0.5
        values = {"cells": cells, "bright": np.maximum(cells, 0), "mean": np.maximum(cells, 0).mean((1, 2))}[layer]
        return values.astype(np.float32)

    def predict(self, images: vk.ImageBatch) -> NDArray[np.float32]:
        self.passes += 1
        return self.compute(images.pixels, "mean")

    def activations(
        self,
        images: vk.ImageBatch,
        layers: Sequence[str],
        *,
        pool: str = "none",
        each: Callable[[Mapping[str, vk.Activations]], None] | None = None,
    ) -> dict[str, vk.Activations]:
        self.passes += 1
        known = {layer.path: layer for layer in self.layers()}
        out: dict[str, list[NDArray[np.float32]]] = {p: [] for p in layers}
        done = 0
        ready: dict[str, vk.Activations] = {}
        for batch in images.batches(4):
            self.seen += len(batch)
            done += len(batch)
            for p in layers:
                values = self.compute(batch.pixels, p)
                if pool != "none" and values.ndim == 4:
                    values = values.mean((1, 2)) if pool == "mean" else values.max((1, 2))
                out[p].append(values)
            ready = {p: vk.Activations(known[p], np.concatenate(out[p]), images.refs[:done]) for p in layers}
            if each:
                each(ready)
        return ready

    def backward(self, images: vk.ImageBatch, target: vk.Target, **_: Any) -> NDArray[np.float32]:
        raise vk.NotSupported("blocks has no gradients")


class Squares(vk.DatasetBase):
    """`count` pictures of one colour each, red growing with the number; the label is even or odd."""

    title = "Squares"

    def __init__(self, count: int = 10, name: str = "squares", shift: int = 0) -> None:
        self.name, self.count, self.shift = name, count, shift

    def ids(self) -> Sequence[str]:
        return [f"{i:04d}" for i in range(self.count)]

    def labels(self) -> Sequence[str | None]:
        return ["odd" if i % 2 else "even" for i in range(self.count)]

    def content(self, id: str) -> NDArray[np.uint8]:
        picture = np.zeros((16, 16, 3), np.uint8)
        picture[..., 0] = (int(id) * 7 + self.shift) % 256
        picture[..., 1] = 100
        return picture


def plugin(name: str, *, models: Sequence[Any] = (), datasets: Sequence[Any] = (), techniques: Sequence[Any] = ()) -> Any:
    """An object with hooks that returns these."""

    class Inline:
        __name__ = name

        @vk.hookimpl
        def register_models(self) -> Sequence[Any]:
            return models

        @vk.hookimpl
        def register_datasets(self) -> Sequence[Any]:
            return datasets

        @vk.hookimpl
        def register_techniques(self) -> Sequence[Any]:
            return techniques

    return Inline()
