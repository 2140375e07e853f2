"""The one path of every run, from Python, the command line, the app or another technique: resolve, validate, look in the
cache, compute, keep."""

from __future__ import annotations

import contextlib
import datetime
import io
import time
import zipfile
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
        totals = self._totals()
        params = {n: v for n, v in self.identity["params"].items() if n not in totals}
        return content_key({**self.identity, "params": params})

    @property
    def steps(self) -> int | None:
        """The least of the totals, beyond which a checkpoint is of no use; None where there is none."""
        return min(self._totals().values(), default=None)

    def _totals(self) -> dict[str, int]:
        """The parameters marked `Extends`, such as steps."""
        return {n: self.values[n] for n, p in self.technique.signature.params.items() if p.extends}

    def _own_images(self) -> list[ImageBatch]:
        """Those that a person named one by one; a dataset stands for its own."""
        named = [self.images] if self.images is not None and self.dataset is None else []
        return [*named, *(b for value in self.values.values() for b in _batches(value))]

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
                {"ref": str(ref), "sha256": sha}
                for b in self._own_images()
                for ref, sha in zip(b.refs, b.hashes, strict=True)
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

    def _at(self, ref: str) -> Callable[[Size], ImageBatch]:
        return lambda size: self.workspace.image(ref, size)

    def image(self, ref: str | None) -> ImageBatch:
        if ref is not None:
            found = self.images.index(ImageRef.parse(ref)) if self.images is not None and "/" in ref else None
            if found is not None and self.images is not None:
                return self.images[[found]]
            own = self.workspace.image(ref, self.size)
            return own if self.images is not None and not self.images.follows else own.following(self._at(ref))
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
    if batch is not None and not batch.follows:
        size = batch.size  # pixels from memory keep their size, and what is compared with them has it too
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
        "versions": versions(_packages(workspace, chosen)),
        "models": [m.fingerprint() for m in models],
        "names": [m.name for m in models],
        "dataset": opened.fingerprint() if opened is not None and chosen.takes("dataset") else None,
        "images": batch.fingerprint if batch is not None and chosen.takes("images") else None,
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
        save=lambda step, arrays: workspace.attempt(lambda: store.write_blob("checkpoints", place, _npz(step, arrays))),
        load=lambda: _from_npz(store.read_blob("checkpoints", place), request.steps),
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
    if workspace.attempt(lambda: store.put("results", request.key, data, arrays)) is None:
        return finished
    return workspace.result(request.key) or finished  # as it will be from now on: its arrays mapped, not in memory


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
        given: dict[str, Any] = {k: arguments.pop(k) for k in ("model", "dataset", "images") if k in arguments}
        self._check_own(given)
        wanted = self._workspace.registry.technique(technique)
        if "model" not in given and self._outer.models:
            given["model"] = self._outer.models if wanted.takes("models") else self._outer.models[0]
        if "dataset" not in given and "images" not in given:
            given |= {"dataset": self._outer.dataset, "images": self._outer.images}
        request = prepare(self._workspace, wanted, **given, params=arguments)
        result = perform(self._workspace, request, self._progress, self._chain, self._job)
        self._made.append(request.key)
        return result

    def _check_own(self, given: Mapping[str, Any]) -> None:
        """The outer key stands for the outer run's inputs; what came from elsewhere would not change it."""
        outer, model = self._outer, given.get("model")
        models = [_bare(m) for m in (model if isinstance(model, list | tuple) else [model]) if m is not None]
        if not (
            all(m in outer.models or m in [o.name for o in outer.models] for m in models)
            and (given.get("dataset") is None or given["dataset"] in (outer.dataset, outer.dataset and outer.dataset.name))
            and (given.get("images") is None or isinstance(given["images"], ImageBatch))
        ):
            raise VizkitError(
                f"{outer.technique.id} runs another technique on inputs that are not its own. Take a model, dataset or"
                " images as inputs of the technique itself, and pass those on."
            )


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


def _packages(workspace: Workspace, technique: Technique[Any]) -> set[str]:
    """The libraries that a technique declares, and all that it uses."""
    used = (_packages(workspace, workspace.registry.technique(u)) for u in technique.uses)
    return set(technique.packages).union(*used)


def _models(workspace: Workspace, technique: Technique[Any], given: Any) -> tuple[ModelAdapter, ...]:
    if technique.takes("models"):
        several = given if isinstance(given, list | tuple) and given else [given]
        return tuple(workspace.model(_bare(m)) for m in several)
    if technique.takes("model"):
        if isinstance(given, list | tuple):
            if len(given) != 1:
                raise VizkitError(f"{technique.id} takes one model; {len(given)} were given.")
            given = given[0]
        return (workspace.model(_bare(given)),)
    return ()


def _bare(model: Any) -> Any:
    """The adapter itself, where a technique passes on the model that it was given."""
    return model.adapter if isinstance(model, CachedModel) else model


def _images(
    workspace: Workspace, technique: Technique[Any], dataset: Any, images: Any, size: Size
) -> tuple[Dataset | None, ImageBatch | None]:
    if images is not None:
        opened = workspace.dataset(dataset) if dataset is not None else None
        return opened, workspace.images(images, size)
    if not (technique.takes("dataset") or technique.takes("images") or _wants_image(technique, dataset)):
        return None, None
    opened = workspace.dataset(dataset)
    ids = opened.ids()
    return opened, opened.images(ids, size).following(lambda other: opened.images(ids, other))


def _wants_image(technique: Technique[Any], dataset: Any) -> bool:
    """Whether a dataset has a say only as the place of a parameter's default image."""
    markers = (p.marker for p in technique.signature.params.values())
    return dataset is not None and any(m is not None and m.kind == "image" for m in markers)


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    return tuple(map(function, value)) if isinstance(value, tuple) and _batches(value) else function(value)


def _batches(value: Any) -> list[ImageBatch]:
    """The images in a parameter's value: one, several or none."""
    return [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, ImageBatch)]


def _named(workspace: Workspace, image: Any) -> Any:
    return workspace.reference(image) if isinstance(image, str | Path) else image


def _npz(step: int, arrays: Arrays) -> bytes:
    """A checkpoint: the technique's arrays after so many steps."""
    plain = {f"array.{name}": np.asarray(value) for name, value in arrays.items()}
    if any(value.dtype == object for value in plain.values()):
        raise VizkitError("A checkpoint holds arrays of numbers or texts, not of objects.")
    out = io.BytesIO()
    np.savez(out, step=np.asarray(step), **plain)  # type: ignore[arg-type]
    return out.getvalue()


def _from_npz(data: bytes | None, steps: int | None) -> dict[str, NDArray[Any]] | None:
    """The arrays of a checkpoint; None where there is none, where it is damaged, or where it is beyond these steps."""
    try:
        with np.load(io.BytesIO(data or b""), allow_pickle=False) as stored:
            if steps is not None and int(stored["step"]) > steps:
                return None
            return {name.removeprefix("array."): stored[name] for name in stored.files if name.startswith("array.")}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        return None
