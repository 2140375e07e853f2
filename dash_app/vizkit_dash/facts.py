"""What controls show about models and datasets. Some of it takes long (a model that nobody has opened yet, a folder of
ten thousand pictures), so it is found out in threads, and asked for without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vizkit import BadImage, Dataset, ImageRef, LayerInfo, ModelAdapter, Workspace
from vizkit.workspace import rank
from vizkit_dash.jobs import sentence

T = TypeVar("T")
_PATIENCE = 0.05  # seconds that a request waits for what is usually there at once
_DAMAGED = 50  # files of one folder that may turn out to be damaged while it is listed


@dataclass(frozen=True)
class Fact(Generic[T]):
    """A value, or None with the sentence why there is none, or None without one: not known yet."""

    value: T | None = None
    error: str = ""

    @property
    def pending(self) -> bool:
        """Whether it is still being found out."""
        return self.value is None and not self.error


@dataclass(frozen=True)
class Picture:
    """One picture of a dataset: its reference, label, and a few letters of its content's hash, for the address."""

    ref: str
    label: str | None
    version: str


class Facts:
    """Facts by name, each found out once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        # One thread for models, since they load one after another, so that datasets never stand in that queue.
        self._models = ThreadPoolExecutor(1, thread_name_prefix="vizkit-models")
        self._datasets = ThreadPoolExecutor(2, thread_name_prefix="vizkit-datasets")
        self._known: dict[tuple[str, str], Future[Any]] = {}
        self._lock = threading.Lock()

    def models(self) -> list[ModelAdapter]:
        """Every model, the default first."""
        return sorted(self.workspace.registry.models.values(), key=rank)

    def datasets(self) -> list[Dataset]:
        """Every dataset, the default first."""
        return sorted(self.workspace.registry.datasets.values(), key=rank)

    def layers(self, model: ModelAdapter) -> Fact[tuple[LayerInfo, ...]]:
        """A model's layers."""
        return self._ask(self._models, ("layers", model.name), model.layers)

    def known_layers(self, model: ModelAdapter) -> Fact[tuple[LayerInfo, ...]]:
        """A model's layers if they can be told without loading it, else nothing."""
        asked = self._known.get(("layers", model.name))
        if asked is not None and asked.done() and not asked.exception():
            return Fact(asked.result())
        known: Callable[[], tuple[LayerInfo, ...] | None] | None = getattr(model, "known_layers", None)
        return self._ask(self._datasets, ("known layers", model.name), lambda: (known() if known else None) or ())

    def size(self, dataset: Dataset) -> Fact[tuple[int, int]]:
        """How many pictures a dataset has, and how many classes, from its list alone: no picture is read."""

        def count() -> tuple[int, int]:
            return len(dataset.ids()), len({label for label in dataset.labels() if label is not None})

        return self._ask(self._datasets, ("size", dataset.name), count)

    def left_out(self, dataset: Dataset) -> tuple[tuple[str, str], ...]:
        """What a listed dataset leaves out: (file, reason). Nothing while it is still being listed."""
        asked = self._known.get(("pictures", dataset.name))
        return tuple(dataset.skipped()) if asked and asked.done() and not asked.exception() else ()

    def pictures(self, dataset: Dataset) -> Fact[tuple[Picture, ...]]:
        """A dataset's pictures, in order."""
        return self._ask(self._datasets, ("pictures", dataset.name), lambda: _pictures(dataset))

    def picture(self, ref: str) -> Picture | None:
        """One picture of a dataset that has been opened, or None."""
        source = ref.partition("/")[0]
        asked = self._known.get(("by ref", source))
        dataset = self.workspace.registry.datasets.get(source)
        if asked is None and dataset is not None:
            found = self.pictures(dataset)
            if found.value is None:
                return None
            asked = Future()
            asked.set_result({p.ref: p for p in found.value})
            self._known["by ref", source] = asked
        found_picture: Picture | None = asked.result().get(ref) if asked else None
        return found_picture

    def close(self) -> None:
        """Find out nothing more."""
        self._models.shutdown(wait=False, cancel_futures=True)
        self._datasets.shutdown(wait=False, cancel_futures=True)

    def _ask(self, pool: ThreadPoolExecutor, key: tuple[str, str], find: Callable[[], T]) -> Fact[T]:
        with self._lock:
            asked = self._known.get(key)
            if asked is None:
                asked = self._known[key] = pool.submit(find)
        wait([asked], _PATIENCE)
        if not asked.done():
            return Fact()
        failed = asked.exception()
        return Fact(error=sentence(failed)) if failed else Fact(asked.result())


def _pictures(dataset: Dataset) -> tuple[Picture, ...]:
    for attempt in range(_DAMAGED):
        try:
            ids = dataset.ids()
            batch = dataset.images(ids, (224, 224))
            break
        except BadImage:  # a folder leaves out a file that turns out to be damaged, and goes on without it
            if attempt == _DAMAGED - 1:
                raise
    rows = zip(ids, batch.labels, batch.hashes, strict=True)
    return tuple(Picture(str(ImageRef(dataset.name, id)), label, digest[:12]) for id, label, digest in rows)
