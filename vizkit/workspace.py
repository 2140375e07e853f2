"""Everything one process works with: what is installed, the two places on disk, the models in memory, the lane."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizkit.datasets import Dataset, DatasetBase
from vizkit.errors import NotFound, VizkitError, suggestion
from vizkit.given import GivenModel
from vizkit.lane import Flights, Lane
from vizkit.models import ModelAdapter, ModelPool
from vizkit.registry import Registry
from vizkit.results import Result
from vizkit.store import Home, Store, content_key, log
from vizkit.types import ImageBatch, ImageRef, Size

_LOOK = (224, 224)
_GIVEN = 4  # models given in Python that are remembered


class Workspace:
    """The registry, the store and the models that runs share. Make one to be apart from the default: tests do, and a
    host application may."""

    def __init__(
        self,
        registry: Registry | None = None,
        store: Store | None = None,
        home: Home | None = None,
        pool: ModelPool | None = None,
    ) -> None:
        self.registry = registry or Registry()
        self.store = store or Store()
        self.home = home or Home()
        self.pool = pool or ModelPool()
        self.lane = Lane()
        self._given: dict[int, GivenModel] = {}
        self.flights = Flights()
        for alias, spec in self.home.sources().items():
            try:
                self.registry.open(spec, alias, look=False)  # a large folder takes seconds to list; most commands use none
            except VizkitError as error:
                log.warning("The dataset %s was left out: %s", alias, error)

    def model(self, given: Any = None) -> ModelAdapter:
        """A model by id, an adapter, or a `keras.Model`; without one, the first that is installed."""
        if given is None:
            if not self.registry.models:
                raise NotFound("No model is installed. See: vizkit plugins")
            return min(self.registry.models.values(), key=rank)
        if isinstance(given, str):
            return self.registry.model(given)
        if isinstance(given, ModelAdapter):
            return given
        if hasattr(given, "get_weights") and hasattr(given, "inputs"):
            return self._given_model(given)
        raise VizkitError(f"A model is an id, a ModelAdapter or a keras.Model; got {type(given).__name__}.")

    def _given_model(self, model: Any) -> GivenModel:
        """The adapter of a `keras.Model`: the same one as last time, for it keeps what it has traced."""
        adapter = self._given.pop(id(model), None)
        if adapter is None or adapter.keras_model() is not model:
            adapter = GivenModel(model)
        self._given[id(model)] = adapter
        while len(self._given) > _GIVEN:
            self._given.pop(next(iter(self._given)))
        return adapter

    def dataset(self, given: Any = None) -> Dataset:
        """A dataset by id, or a `Dataset`; without one, the first installed. Opens no folder: that is `Registry.open`."""
        if given is None:
            if not self.registry.datasets:
                raise NotFound("No dataset is installed. See: vizkit plugins")
            return min(self.registry.datasets.values(), key=rank)
        return self.registry.dataset(given) if isinstance(given, str) else given

    def images(self, given: Any, size: Size) -> ImageBatch:
        """A batch of images: references, or pixels as a uint8 array (n, h, w, 3), framed to a size."""
        if isinstance(given, ImageBatch):
            return given.at(size).following(given.at) if given.follows and given.size != size else given
        if isinstance(given, np.ndarray):
            pixels = given[None] if given.ndim == 3 else given
            batch = ImageBatch.from_pixels(pixels)
            if batch.size == size:
                return batch
            names = [f"{i}-{h[:16]}" for i, h in enumerate(batch.hashes)]  # a picture given twice stays two
            return _Loose("array", dict(zip(names, pixels, strict=True))).batch(size)
        listed = [given] if isinstance(given, str | ImageRef) else list(given)
        if listed and all(isinstance(one, np.ndarray) for one in listed):
            return ImageBatch.concat([self.images(one, size) for one in listed])
        if not listed:
            raise NotFound("No images were given.")
        refs = [ref if isinstance(ref, ImageRef) else ImageRef.parse(ref) for ref in listed]
        return self._framed(refs, size).following(lambda other: self._framed(refs, other))

    def _framed(self, refs: Sequence[ImageRef], size: Size) -> ImageBatch:
        return ImageBatch.concat([self.image(ref, size) for ref in refs])

    def image(self, given: str | ImageRef, size: Size) -> ImageBatch:
        """One image, as a batch, by its reference. No reference is ever a path: a URL may hold one."""
        ref = given if isinstance(given, ImageRef) else ImageRef.parse(given)
        if ref.source == "upload":
            path = self.home.upload(ref.id)
            if path is None:
                raise NotFound(f"There is no upload {ref.id!r}: it was removed, or made on another machine.")
            return _Loose(ref.source, {ref.id: path}).batch(size)
        if ref.source == "result":
            key, _, n = ref.id.rpartition("/")
            result = self.result(key)
            pictures = result.pictures if result else ()
            if not n.isdecimal() or len(n) > 9 or int(n) >= len(pictures):
                raise NotFound(f"There is no picture {ref}: its result is no longer in the cache. Run it again.")
            return _Loose(ref.source, {ref.id: np.asarray(pictures[int(n)])}).batch(size)
        return self.registry.dataset(ref.source).images([ref.id], size)

    def reference(self, given: str | Path | ImageRef) -> str:
        """The reference of an image that a person names here, in Python or on the command line: a reference as it is; a file
        is read, checked and kept, as an upload would be."""
        if isinstance(given, ImageRef):
            return str(given)
        path = Path(given)
        source = str(given).partition("/")[0]
        known = source in self.registry.datasets or source in ("upload", "result")
        if isinstance(given, str) and known and not path.is_file():
            return str(ImageRef.parse(given))
        if path.is_file():
            return self.keep(path.read_bytes())
        if known or "/" not in str(given) or path.is_absolute():
            raise NotFound(f"There is no image {str(given)!r}. Give a file, or a reference such as photos/chelsea.")
        raise NotFound(f"There is no dataset {source!r}.{suggestion(source, self.registry.datasets)}")

    def keep(self, data: bytes) -> str:
        """Check and keep a picture's bytes; its reference. Raises BadImage for what is no picture."""
        from vizkit.images import open_image

        open_image(data)
        return f"upload/{self.home.save_upload(data)}"

    def thumbnail(self, ref: ImageRef, side: int) -> bytes:
        """A small square picture as WebP, framed as a network would see it; made once for each image and side."""
        from vizkit.images import encode_thumbnail

        full = max(side, *_LOOK)
        batch = self.image(ref, (full, full))
        key = content_key([batch.content, side])
        data = self.store.read_blob("thumbnails", key)
        if data is None:
            data = encode_thumbnail(batch.pixels[0], side)
            self.attempt(functools.partial(self.store.write_blob, "thumbnails", key, data))
        return data

    def pixels(self, ref: str) -> NDArray[np.uint8]:
        """An image at a size good to look at: uint8 (224, 224, 3), framed as a network would see it."""
        pixels: NDArray[np.uint8] = self.image(ref, _LOOK).pixels[0]
        return pixels

    def result(self, key: str) -> Result | None:
        """A result from the cache by its key, or None."""
        entry = self.store.get("results", key) if key.isalnum() else None
        try:
            return Result.unpack(entry.json(), entry.array) if entry else None
        except (OSError, ValueError, KeyError, TypeError):  # damaged, or written by another version
            self.store.drop("results", key)
            return None

    def attempt(self, write: Callable[[], Any]) -> Any:
        """Do a write that is only for later; a disk that is full or read-only costs the cache, not the result."""
        try:
            return write()
        except OSError as error:
            log.warning("Not kept in the cache: %s. Free some space, or set VIZKIT_CACHE to another folder.", error.strerror)
            return None

    def run(self, technique: str, **arguments: Any) -> Result:
        """As `vizkit.run`, with this workspace."""
        from vizkit.runs import run

        return run(technique, workspace=self, **arguments)


class _Loose(DatasetBase):
    """Pictures that belong to no dataset, by id."""

    def __init__(self, name: str, contents: Mapping[str, Path | NDArray[np.uint8]]) -> None:
        self.name = name
        self._contents = contents

    def ids(self) -> Sequence[str]:
        return list(self._contents)

    def content(self, id: str) -> Path | NDArray[np.uint8]:
        return self._contents[id]

    def batch(self, size: Size) -> ImageBatch:
        """All of them."""
        return self.images(self.ids(), size)


@functools.cache
def default_workspace() -> Workspace:
    """The one that `vizkit.run` uses, made on first use. What is wrong with a plugin is said once, in the log."""
    workspace = Workspace()
    for problem in workspace.registry.problems:
        log.warning("%s", problem)
    return workspace


def rank(thing: Any) -> tuple[int, str]:
    """The place in a list: a lower `rank` comes first, then the name; the first is the default."""
    return getattr(thing, "rank", 100), thing.name
