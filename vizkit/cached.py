"""A model as a technique sees it: every activation is computed once, kept, and refused where it would not fit."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import TooLarge, VizkitError, gigabytes
from vizkit.models import ModelAdapter, no_layer
from vizkit.progress import Progress
from vizkit.registry import source_hash
from vizkit.store import content_key
from vizkit.types import Activations, ImageBatch, LayerInfo, Pool, Rule, Target
from vizkit.versions import core_hash, versions

if TYPE_CHECKING:
    from vizkit.workspace import Workspace

MEMORY = 256_000_000
"""Bytes of activations that are kept in memory; more are streamed to a memory-mapped file."""
LITTLE = 32_000_000
"""Bytes that are computed even where the disk has no room for them."""
BLOCK = 128
"""Images whose activations are kept together while a larger number is computed."""


def model_code(workspace: Workspace, model: ModelAdapter) -> str:
    """The hash of the plugin that a model came from, or of its class."""
    return workspace.registry.source_of("models", model.name) or source_hash(type(model))


class CachedModel:
    """A model as a technique sees it: the same protocol, with activations and predictions cached, and the lane taken
    only while something is computed."""

    def __init__(self, workspace: Workspace, model: ModelAdapter, progress: Progress, job: object) -> None:
        self.adapter = model
        self._workspace, self._progress, self._job = workspace, progress, job

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "model": self.adapter.fingerprint(),
            "code": [core_hash(), model_code(self._workspace, self.adapter)],
            "versions": versions(),
        }

    def _own(self, images: ImageBatch) -> ImageBatch:
        """The images at this model's size, where they are the run's: several models may share them."""
        return images.at(self.adapter.image_size) if images.follows and images.size != self.adapter.image_size else images

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """As the adapter's, cached."""
        images = self._own(images)
        key = content_key({**self._identity, "predict": images.content})
        known = self._workspace.store.array("activations", key, "logits")
        if known is not None:
            return known
        with self._computing():
            logits = self.adapter.predict(images)
        logits.setflags(write=False)
        self._workspace.attempt(lambda: self._workspace.store.put("activations", key, {}, {"logits": logits}))
        return logits

    def backward(
        self, images: ImageBatch, target: Target, *, rule: Rule = "normal", wrt: str | None = None
    ) -> NDArray[np.float32]:
        """As the adapter's, on the lane."""
        images = self._own(images)
        with self._computing():
            return self.adapter.backward(images, target, rule=rule, wrt=wrt)

    def activations(
        self,
        images: ImageBatch,
        layers: Sequence[str],
        *,
        pool: Pool = "none",
        each: Callable[[Mapping[str, Activations]], None] | None = None,
    ) -> dict[str, Activations]:
        """As the adapter's, each layer cached; what is missing is computed in one pass, and refused beforehand with its
        size where it is above the bound."""
        images = self._own(images)
        known = {layer.path: layer for layer in self.adapter.layers()}
        for path in layers:
            if path not in known:
                raise no_layer(self.adapter.name, path, known)
        found = self._kept(images, [known[p] for p in layers], pool)
        missing = [known[p] for p in layers if p not in found]
        if not missing:
            return found

        def merged(computed: Mapping[str, Activations]) -> None:
            n = min(len(a.refs) for a in computed.values())
            if each:
                each({p: (computed[p] if p in computed else found[p])[:n] for p in layers})

        ready = found | self._compute(images, missing, pool, merged)
        return {p: ready[p] for p in layers}

    def _key(self, images: ImageBatch, path: str, pool: Pool) -> str:
        return content_key({**self._identity, "layer": path, "pool": pool, "images": images.content})

    def _kept(self, images: ImageBatch, layers: Sequence[LayerInfo], pool: Pool) -> dict[str, Activations]:
        """Those of the layers that are in the cache for these images."""
        store = self._workspace.store
        found = {n: store.array("activations", self._key(images, n.path, pool), "values") for n in layers}
        return {n.path: Activations(n, a, images.refs) for n, a in found.items() if a is not None}

    def _compute(
        self,
        images: ImageBatch,
        layers: Sequence[LayerInfo],
        pool: Pool,
        each: Callable[[Mapping[str, Activations]], None],
    ) -> dict[str, Activations]:
        size = 4 * len(images) * sum(_numbers(layer, pool) for layer in layers)
        room = self._workspace.store.room()
        if size > max(room, LITTLE):
            names = ", ".join(layer.path for layer in layers)
            raise TooLarge(
                f"The activations of {names} for {len(images)} images take {gigabytes(size)}, more than the"
                f" {gigabytes(room)} there is room for. Use pooling mean or max, or fewer images."
            )

        def batch_done(ready: Mapping[str, Activations]) -> None:
            done = len(next(iter(ready.values())).refs)
            if len(images) > 1:  # a single one is no work to report, such as the query of a search
                self._progress.report(done, len(images), text="looking at the images")
            each(ready)

        return (self._stream if size > MEMORY else self._in_blocks)(images, layers, pool, batch_done)

    def _in_blocks(
        self,
        images: ImageBatch,
        layers: Sequence[LayerInfo],
        pool: Pool,
        each: Callable[[Mapping[str, Activations]], None],
    ) -> dict[str, Activations]:
        """In blocks that are kept as they come: a run that was stopped goes on from there, and so does another on the same
        images."""
        rows: dict[str, NDArray[np.float32]] = {}
        start = shown = 0
        due = 0.0

        def ready(n: int) -> dict[str, Activations]:
            return {layer.path: Activations(layer, rows[layer.path][:n], images.refs[:n]) for layer in layers}

        def show(part: Mapping[str, Activations]) -> None:
            """Take over the first rows of the present block."""
            nonlocal shown, due
            for path, a in part.items():
                if path not in rows:
                    rows[path] = np.empty((len(images), *a.values.shape[1:]), np.float32)
                rows[path][start : start + len(a.refs)] = a.values
                n = start + len(a.refs)
            if n > shown and (n == len(images) or time.monotonic() >= due):
                shown, began = n, time.monotonic()
                each(ready(n))
                due = time.monotonic() + 5 * (time.monotonic() - began)  # what is shown meanwhile takes a sixth at most

        blocks = list(images.batches(BLOCK))
        for block in blocks:
            found = self._kept(block, layers, pool)
            if len(found) < len(layers):
                with self._computing():
                    found = self._kept(block, layers, pool)  # made by another run while this one waited
                    if len(found) < len(layers):
                        found = self.adapter.activations(block, [n.path for n in layers], pool=pool, each=show)
                        self._put(found, block, pool)
            show(found)
            start += len(block)
        for values in rows.values():
            values.setflags(write=False)
        whole = ready(len(images))
        if len(blocks) > 1:
            self._put(whole, images, pool)
            for block in blocks:
                for layer in layers:
                    self._workspace.store.drop("activations", self._key(block, layer.path, pool))
        return whole

    def _stream(
        self,
        images: ImageBatch,
        layers: Sequence[LayerInfo],
        pool: Pool,
        each: Callable[[Mapping[str, Activations]], None],
    ) -> dict[str, Activations]:
        """One layer after another, batch by batch into a file: memory holds one batch."""
        out = {}
        for layer in layers:
            key = self._key(images, layer.path, pool)
            try:
                with self._workspace.store.writing("activations", key, {}) as folder:
                    rows = ArrayFile(folder / "values.npy", len(images))
                    for batch in images.batches(32):
                        with self._computing():
                            rows.append(self.adapter.activations(batch, [layer.path], pool=pool)[layer.path].values)
                        self._progress.report(rows.rows, len(images), text=f"looking at the images: {layer.path}")
                    rows.close()
            except OSError as error:
                raise VizkitError(
                    f"The activations of {layer.path} could not be written to {self._workspace.store.root}:"
                    f" {error.strerror}."
                    " Free some space, or set VIZKIT_CACHE to another folder."
                ) from error
            values = self._workspace.store.array("activations", key, "values")
            if values is None:
                raise VizkitError(f"The activations of {layer.path} vanished from the cache while in use. Run it again.")
            out[layer.path] = Activations(layer, values, images.refs)
        each(out)
        return out

    def _put(self, computed: Mapping[str, Activations], images: ImageBatch, pool: Pool) -> None:
        store = self._workspace.store
        for path, a in computed.items():
            key = self._key(images, path, pool)
            self._workspace.attempt(functools.partial(store.put, "activations", key, {}, {"values": a.values}))

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        self._progress.check()
        with self._workspace.lane.held_by(self._job, self._progress.check):
            self._workspace.pool.use(self.adapter)
            yield


class ArrayFile:
    """A `.npy` file of known length written row by row, with plain writes: a full disk is an error, never a crash."""

    def __init__(self, path: Path, rows: int) -> None:
        self._path, self._total = path, rows
        self._file: Any = None
        self.rows = 0

    def append(self, values: NDArray[np.float32]) -> None:
        """The next rows, (n, ...)."""
        if self._file is None:
            self._file = self._path.open("wb")
            header = {"descr": "<f4", "fortran_order": False, "shape": (self._total, *values.shape[1:])}
            np.lib.format.write_array_header_1_0(self._file, header)
        self._file.write(np.ascontiguousarray(values, "<f4").data)
        self.rows += len(values)

    def close(self) -> None:
        """The file is whole now."""
        self._file.close()


def _numbers(layer: LayerInfo, pool: Pool) -> int:
    if pool != "none" or not layer.spatial:
        return layer.channels
    return int(np.prod([n or 1 for n in layer.shape]))
