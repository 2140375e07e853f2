"""The one path of every run, from Python, the command line, the app or another technique: resolve, validate, look in the
cache, compute, keep."""

from __future__ import annotations

import contextlib
import datetime
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizkit.cached import CachedModel, model_code
from vizkit.errors import BadImage, InvalidParameter, NotFound, NotSupported, VizkitError
from vizkit.models import ModelAdapter
from vizkit.params import plain_value
from vizkit.progress import Arrays, Checkpointed, Progress
from vizkit.registry import source_hash
from vizkit.results import SCHEMA, Result
from vizkit.store import content_key
from vizkit.techniques import Runner, Technique
from vizkit.types import ImageBatch, ImageRef, Provenance, Size
from vizkit.versions import core_hash, versions
from vizkit.workspace import Workspace, default_workspace

if TYPE_CHECKING:
    from vizkit.datasets import Dataset

_NO_MODEL_SIZE = (224, 224)


def run(
    technique: str | Technique[Any],
    *,
    model: Any = None,
    dataset: Any = None,
    images: Any = None,
    progress: Progress | None = None,
    workspace: Workspace | None = None,
    **params: Any,
) -> Result:
    """Run a technique and return its result, from the cache where it was made before.

    `model` is an id, an adapter, a `keras.Model`, or a sequence of them; `dataset` an id, `folder:PATH` or a `Dataset`;
    `images` references, files, or pixels as uint8 (n, h, w, 3). Raises VizkitError with one sentence.
    """
    workspace = workspace or default_workspace()
    chosen = workspace.registry.technique(technique) if isinstance(technique, str) else technique
    chosen.signature.validate(params)  # before a file is kept
    if isinstance(dataset, str):
        dataset = workspace.registry.open(dataset)
    if isinstance(images, str | Path) or (isinstance(images, list | tuple) and images):
        images = [_named(workspace, image) for image in ([images] if isinstance(images, str | Path) else images)]
    for name, value in params.items():
        marker = chosen.signature.params[name].marker
        if marker and marker.kind == "image" and value is not None:
            several = isinstance(value, list | tuple)
            params[name] = [_named(workspace, v) for v in value] if several else _named(workspace, value)
    request = prepare(workspace, chosen, model=model, dataset=dataset, images=images, params=params)
    return perform(workspace, request, progress or Progress())


@dataclass(frozen=True, eq=False)
class Request:
    """A run whose every part is known and checked; nothing has been computed."""

    technique: Technique[Any]
    models: tuple[ModelAdapter, ...]
    dataset: Dataset | None
    images: ImageBatch | None
    values: Mapping[str, Any]
    public: Mapping[str, Any]
    identity: Mapping[str, Any]
    again: Callable[[], Request]

    @property
    def key(self) -> str:
        """What the result is stored under: it changes when, and only when, the result could."""
        return content_key(self.identity)

    @property
    def checkpoint_key(self) -> str:
        """What its unfinished state is stored under: totals that a run can be extended to are left out."""
        totals = {n for n, p in self.technique.signature.params.items() if p.extends}
        params = {n: v for n, v in self.identity["params"].items() if n not in totals}
        return content_key({**self.identity, "params": params})

    def _dataset(self) -> dict[str, Any] | None:
        if self.dataset is None:
            return None
        fingerprint = self.identity["dataset"] or self.identity["images"]
        return {"name": self.dataset.name, "fingerprint": fingerprint, "skipped": len(self.dataset.skipped())}

    def provenance(self, inner: Sequence[str] = (), seconds: float = 0.0) -> Provenance:
        """All of it, for the result."""
        return Provenance(
            technique=self.technique.id,
            key=self.key,
            models=tuple(
                {"name": m.name, "fingerprint": f, "random_weights": m.random_weights}
                for m, f in zip(self.models, self.identity["models"], strict=True)
            ),
            dataset=self._dataset(),
            images=tuple(
                {"ref": str(b.refs[0]), "sha256": b.hashes[0]} for value in self.values.values() for b in _batches(value)
            ),
            params=self.public,
            code=self.identity["code"],
            versions=self.identity["versions"],
            inner=tuple(inner),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
        )


@dataclass(eq=False)
class _Context:
    """What the markers ask while parameters are resolved."""

    workspace: Workspace
    models: tuple[ModelAdapter, ...]
    images: ImageBatch | None
    dataset: Dataset | None
    size: Size
    technique: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> ModelAdapter:
        if not self.models:
            raise NotSupported(f"{self.technique} has a parameter that depends on a model but takes none.")
        return self.models[0]

    def image(self, ref: str | None) -> ImageBatch:
        if ref is not None:
            found = self.images.index(ImageRef.parse(ref)) if self.images is not None and "/" in ref else None
            if found is not None and self.images is not None:
                return self.images[[found]]
            return self.workspace.image(ref, self.size)
        if self.images is None or not len(self.images):
            raise NotFound(f"{self.technique} needs an image. Give a file, or a reference such as photos/chelsea.")
        return self.images[[0]]


def prepare(
    workspace: Workspace,
    technique: str | Technique[Any],
    *,
    model: Any = None,
    dataset: Any = None,
    images: Any = None,
    params: Mapping[str, Any],
) -> Request:
    """Resolve and check everything that a run needs, without computing. Raises VizkitError with one sentence.

    Here a dataset is a name and an image a reference: nothing that a URL can hold opens a file. `run` opens them.
    """
    chosen = workspace.registry.technique(technique) if isinstance(technique, str) else technique
    _check_uses(workspace, chosen, ())
    models = _models(workspace, chosen, model)
    for m in models:
        if reason := chosen.refusal(m):
            raise NotSupported(reason)
    size = models[0].image_size if models else _NO_MODEL_SIZE
    opened, batch = _images(workspace, chosen, dataset, images, size)
    values = chosen.signature.validate(params)
    context = _Context(workspace, models, batch, opened, size, chosen.id)
    wrong: dict[str, str] = {}
    for name, param in chosen.signature.params.items():
        value = values[name]
        if param.marker and (value is not None or not param.optional):
            try:
                value = param.marker.resolve(name, value, context)
            except VizkitError as error:
                wrong[name] = str(error)
                continue
        context.values[name] = value
    if wrong:
        raise InvalidParameter(wrong)
    public, exact = {}, {}
    for name, value in context.values.items():
        marker = chosen.signature.params[name].marker
        public[name] = plain_value(_each(marker.public, value) if marker and value is not None else value)
        exact[name] = [public[name], [batch.fingerprint for batch in _batches(value)]]
    identity = {
        "schema": SCHEMA,
        "technique": chosen.id,
        "code": {
            "technique": _technique_code(workspace, chosen),
            "models": ",".join(model_code(workspace, m) for m in models),
            "core": core_hash(),
        },
        "versions": versions(chosen.packages),
        "models": [m.fingerprint() for m in models],
        "names": [m.name for m in models],
        "dataset": opened.fingerprint() if opened is not None and chosen.takes("dataset") else None,
        "images": batch.fingerprint if batch is not None else None,
        "params": exact,
    }

    def again() -> Request:
        return prepare(workspace, technique, model=model, dataset=dataset, images=images, params=params)

    return Request(chosen, models, opened, batch, context.values, public, identity, again)


def perform(
    workspace: Workspace, request: Request, progress: Progress, chain: tuple[str, ...] = (), job: object = None
) -> Result:
    """The result of a prepared run: from the cache, or computed once however many ask at the same time."""
    key = request.key
    if key in chain:
        raise VizkitError(f"{request.technique.id} asks for its own result with the same parameters.")
    # A job that holds the lane does not wait for another's flight: that one may be waiting for the lane.
    alone = contextlib.nullcontext() if workspace.lane.is_held_by(job) else workspace.flights.of(key, progress.check)
    with alone:
        if cached := workspace.result(key):
            return cached
        try:
            return _compute(workspace, request, progress, (*chain, key), job if job is not None else object())
        except BadImage:
            fresh = request.again()  # a damaged file found while decoding: its dataset goes on without it
            if fresh.key == key:
                raise
    return perform(workspace, fresh, progress, chain, job)


def _compute(workspace: Workspace, request: Request, progress: Progress, chain: tuple[str, ...], job: object) -> Result:
    started, inner = time.monotonic(), list[str]()

    def finish(result: Result) -> Result:
        return result.replace(provenance=request.provenance(inner, time.monotonic() - started))

    store, place = workspace.store, request.checkpoint_key
    own = Checkpointed(
        progress,
        save=lambda arrays: workspace.attempt(lambda: store.write_blob("checkpoints", place, _npz(arrays))),
        load=lambda: _from_npz(store.read_blob("checkpoints", place)),
        finish=finish,
        shown=len(chain) == 1,
    )
    models = [CachedModel(workspace, m, own, job) for m in request.models]

    fill: dict[str, Callable[[], Any]] = {
        "model": lambda: models[0],
        "models": lambda: models,
        "dataset": lambda: request.dataset,
        "images": lambda: request.images,
        "progress": lambda: own,
        "runner": lambda: _InnerRunner(workspace, request, own, chain, job, inner),
    }
    inputs = [fill[kind]() for kind in request.technique.signature.inputs.values()]
    result = request.technique.function(*inputs, **request.values)
    if not isinstance(result, Result):
        raise VizkitError(f"{request.technique.id} returned {type(result).__name__}; a technique returns a vizkit.Result.")
    progress.check()
    finished = finish(result).replace(partial=False)
    data, arrays = finished.pack()
    workspace.attempt(lambda: store.put("results", request.key, data, arrays))
    return finished


class _InnerRunner(Runner):
    """Runs one technique from inside another."""

    def __init__(
        self,
        workspace: Workspace,
        outer: Request,
        progress: Progress,
        chain: tuple[str, ...],
        job: object,
        made: list[str],
    ) -> None:
        self._workspace, self._outer, self._progress = workspace, outer, progress
        self._chain, self._job, self._made = chain, job, made

    def __call__(self, technique: str, **arguments: Any) -> Result:
        if technique not in self._outer.technique.uses:
            raise VizkitError(
                f"{self._outer.technique.id} runs {technique!r} but does not declare it: uses={{{technique!r}}}."
            )
        given = {k: arguments.pop(k) for k in ("model", "dataset", "images") if k in arguments}
        wanted = self._workspace.registry.technique(technique)
        if "model" not in given and self._outer.models:
            given["model"] = self._outer.models if wanted.takes("models") else self._outer.models[0]
        if "dataset" not in given and "images" not in given:
            given |= {"dataset": self._outer.dataset, "images": self._outer.images}
        request = prepare(self._workspace, wanted, **given, params=arguments)
        result = perform(self._workspace, request, self._progress, self._chain, self._job)
        self._made.append(request.key)
        return result


def _check_uses(workspace: Workspace, technique: Technique[Any], above: tuple[str, ...]) -> None:
    for used in sorted(technique.uses):
        if used in above:
            raise VizkitError(
                f"{technique.id} uses {used!r}, which uses {technique.id!r}: techniques cannot use each other."
            )
        if used not in workspace.registry.techniques:
            raise NotSupported(
                f"{technique.title} uses the technique {used!r}, which is not installed."
                " Install the plugin that adds it. See: vizkit plugins"
            )
        _check_uses(workspace, workspace.registry.techniques[used], (*above, technique.id))


def _technique_code(workspace: Workspace, technique: Technique[Any]) -> str:
    """The source of the technique's plugin and of all that it uses."""
    own = workspace.registry.source_of("techniques", technique.id) or source_hash(technique.function)
    used = [_technique_code(workspace, workspace.registry.technique(u)) for u in sorted(technique.uses)]
    return ",".join([own, *used])


def _models(workspace: Workspace, technique: Technique[Any], given: Any) -> tuple[ModelAdapter, ...]:
    if technique.takes("models"):
        several = given if isinstance(given, list | tuple) else [given]
        return tuple(_bare(workspace.model(m)) for m in several)
    if technique.takes("model"):
        if isinstance(given, list | tuple):
            if len(given) != 1:
                raise VizkitError(f"{technique.id} takes one model; {len(given)} were given.")
            given = given[0]
        return (_bare(workspace.model(given)),)
    return ()


def _bare(model: Any) -> ModelAdapter:
    """The adapter itself, where a technique passes on the model that it was given."""
    unwrapped: ModelAdapter = model.adapter if isinstance(model, CachedModel) else model
    return unwrapped


def _images(
    workspace: Workspace, technique: Technique[Any], dataset: Any, images: Any, size: Size
) -> tuple[Dataset | None, ImageBatch | None]:
    if images is not None:
        opened = workspace.dataset(dataset) if dataset is not None else None
        return opened, workspace.images(images, size)
    if not (technique.takes("dataset") or technique.takes("images")) and dataset is None:
        return None, None
    opened = workspace.dataset(dataset)
    ids = opened.ids()
    return opened, opened.images(ids, size).following(lambda other: opened.images(ids, other))


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    return tuple(map(function, value)) if isinstance(value, tuple) and _batches(value) else function(value)


def _batches(value: Any) -> list[ImageBatch]:
    """The images in a parameter's value: one, several or none."""
    return [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, ImageBatch)]


def _named(workspace: Workspace, image: Any) -> Any:
    return workspace.reference(image) if isinstance(image, str | Path) else image


def _npz(arrays: Arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    return out.getvalue()


def _from_npz(data: bytes | None) -> dict[str, NDArray[Any]] | None:
    if data is None:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
