"""What a model is to vizkit, and the base that makes any functional Keras model one."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import NotFound, NotSupported, suggestion
from vizkit.quiet import quiet_tensorflow
from vizkit.store import memory
from vizkit.types import Activations, ImageBatch, LayerInfo, Pool, Rule, Size, Target
from vizkit.versions import core_hash, versions

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from vizkit.graph import Plan

BATCH = 32
"""Images that go through a network at a time."""
FIRST = 8
"""Images of the first batch where there are several, so that something is seen early."""


@runtime_checkable
class ModelAdapter(Protocol):
    """A convolutional network: arrays in, arrays out; preprocessing is its own business. Tensors never leave it."""

    name: str
    title: str
    image_size: Size
    random_weights: bool
    offers: frozenset[str]
    """Of "predict", "activations", "gradients": what a technique's `needs` is checked against."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in index order; empty for a model without a head."""
        ...

    @property
    def curated(self) -> tuple[str, ...]:
        """A few telling layers, first to last; the last is the default of `Layer()`."""
        ...

    def fingerprint(self) -> str:
        """A hash of architecture, weights and preprocessing. Never loads TensorFlow for a model that is known."""
        ...

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable layer in network order. Never loads TensorFlow for a model that is known."""
        ...

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """Class logits, (n, classes): a trailing softmax or sigmoid is looked through."""
        ...

    def activations(
        self,
        images: ImageBatch,
        layers: Sequence[str],
        *,
        pool: Pool = "none",
        each: Callable[[Mapping[str, Activations]], None] | None = None,
    ) -> dict[str, Activations]:
        """One pass for all layers asked. `each` is called after every batch with all that is ready so far."""
        ...

    def backward(
        self, images: ImageBatch, target: Target, *, rule: Rule = "normal", wrt: str | None = None
    ) -> NDArray[np.float32]:
        """The target's gradient with respect to the preprocessed input (n, h, w, c), or to a layer's activations."""
        ...


@dataclass(eq=False)
class Loaded:
    """A built model with its plans and compiled functions; dropped as one."""

    model: Any
    plan: Plan
    logits: Plan
    compiled: dict[Any, Any] = field(default_factory=dict)


class KerasModel:
    """A functional Keras model. Override `build` and `preprocess`; the rest follows.

    `weight_files` names the files that the fingerprint covers, so that a known model is told apart without loading it;
    without any, the weights themselves are hashed once the model is built. `layer_table` may give a stored table of
    layers, which `save_layer_table` writes.
    """

    name = ""
    title = ""
    image_size: Size = (224, 224)
    random_weights = False
    labels: tuple[str, ...] = ()
    curated: tuple[str, ...] = ()
    offers = frozenset({"predict", "activations", "gradients"})

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: Loaded | None = None
        self._layers: tuple[LayerInfo, ...] | None = None
        self._print: str | None = None

    def build(self) -> Any:
        """The `keras.Model`, weights and all."""
        raise NotImplementedError(f"{type(self).__name__} has no build()")

    def preprocess(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels, uint8 (n, h, w, 3), as the network was trained to see them: float32 (n, h, w, c)."""
        raise NotImplementedError(f"{type(self).__name__} has no preprocess()")

    def weight_files(self) -> Sequence[Path]:
        """The files with the weights."""
        return ()

    def layer_table(self) -> Path | Traversable | None:
        """A stored table of layers, so that listing them takes no TensorFlow."""
        return None

    def keras_model(self) -> Any:
        """The built model, kept until the pool needs its memory. For techniques with a use for Keras itself."""
        return self._load().model

    def plan(self) -> Plan:
        """The model as a flat plan; see `vizkit.graph`."""
        return self._load().plan

    def fingerprint(self) -> str:
        """A hash of the name, size and weights; the code that builds it is hashed apart."""
        if self._print is None:
            digest = hashlib.sha256(f"{self.name} {self.image_size} {self.random_weights} {self.labels}\n".encode())
            files = self.weight_files()
            for path in files:
                digest.update(memory().digest(path).encode())
            if not files:
                digest.update(b"".join(weights_digest(self._load())))
            self._print = digest.hexdigest()[:40]
        return self._print

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable layer in network order, from the stored table, from memory of an earlier load, or anew."""
        known = self.known_layers()
        if known is None:
            memory().put(self._table_key(), table_text(self._measure()))
            known = self.known_layers()
        return known or ()

    def known_layers(self) -> tuple[LayerInfo, ...] | None:
        """As `layers`, or None where the model would have to be built to know them."""
        if self._layers is None:
            table = self.layer_table()
            if table is None and not self.weight_files() and self._held is None and self._print is None:
                return None  # the key under which it may be remembered is a hash of weights not yet built
            text = table.read_text("utf-8") if table is not None else memory().get(self._table_key())
            if text is None:
                return None
            self._layers = tuple(LayerInfo(**{**row, "shape": tuple(row["shape"])}) for row in json.loads(text))
        return self._layers

    def save_layer_table(self, path: Path) -> None:
        """Write the table that `layer_table` gives."""
        path.write_text(table_text(self._measure()), "utf-8")

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """Class logits, (n, classes)."""
        loaded = self._load()
        path = loaded.logits.outputs[0]
        forward = self._compiled(loaded, loaded.logits, (path,), "none", images.size)
        return np.concatenate([forward(self._input(batch.pixels))[path].numpy() for batch in images.batches(BATCH)])

    def activations(
        self,
        images: ImageBatch,
        layers: Sequence[str],
        *,
        pool: Pool = "none",
        each: Callable[[Mapping[str, Activations]], None] | None = None,
    ) -> dict[str, Activations]:
        """One pass for all layers asked, reduced inside the graph, float32."""
        known = {layer.path: layer for layer in self.layers()}
        for path in layers:
            if path not in known:
                raise no_layer(self.name, path, known)
        loaded = self._load()
        forward = self._compiled(loaded, loaded.plan, tuple(layers), pool, images.size)
        out: dict[str, NDArray[np.float32]] = {}
        done = 0
        ready: dict[str, Activations] = {}
        for batch in _batches(images):
            values = {path: tensor.numpy() for path, tensor in forward(self._input(batch.pixels)).items()}
            for path, value in values.items():
                if path not in out:
                    out[path] = np.empty((len(images), *value.shape[1:]), np.float32)
                out[path][done : done + len(batch)] = value
            done += len(batch)
            ready = {path: Activations(known[path], out[path][:done], images.refs[:done]) for path in layers}
            if each:
                each(ready)
        return ready

    def backward(
        self, images: ImageBatch, target: Target, *, rule: Rule = "normal", wrt: str | None = None
    ) -> NDArray[np.float32]:
        """The target's gradient, by a rule for rectifiers (`vizkit.rules`)."""
        from vizkit.rules import backward

        self._check(target)
        loaded = self._load()
        plan = loaded.plan if target.class_index is None else loaded.logits
        path = target.layer or plan.outputs[0]
        place = wrt or plan.inputs[0]
        found = [
            backward(plan, self._input(batch.pixels), {path: lambda t: _score(t, target)}, rule, [place]).gradients[place]
            for batch in images.batches(BATCH)
        ]
        return np.concatenate([np.asarray(g, np.float32) for g in found])

    def release(self) -> None:
        """Let go of the built model; the next call builds it again."""
        with self._lock:
            self._held = None
            if not self.weight_files():  # what is built next may have other weights
                self._print = None

    def memory(self) -> int:
        """Bytes of weights in memory now."""
        held = self._held
        return 0 if held is None else sum(4 * int(np.prod(w.shape)) for w in held.model.weights)

    def _load(self) -> Loaded:
        with self._lock:
            if self._held is None:
                with quiet_tensorflow():
                    from vizkit.graph import plan
                    from vizkit.rules import logits

                    model = self.build()
                    flat = plan(model)
                    self._held = Loaded(model, flat, logits(flat))
            return self._held

    def _check(self, target: Target) -> None:
        """Raise NotFound for a layer, channel or position that the model does not have."""
        if target.layer is None:
            return
        layers = {layer.path: layer for layer in self.layers()}
        if target.layer not in layers:
            raise no_layer(self.name, target.layer, layers)
        layer, place = layers[target.layer], target.position
        if target.channel is not None and not 0 <= target.channel < layer.channels:
            raise NotFound(f"{layer.path} has {layer.channels} channels, from 0; there is no {target.channel}.")
        if target.direction is not None and len(target.direction) != layer.channels:
            raise NotFound(f"{layer.path} has {layer.channels} channels; the direction has {len(target.direction)} numbers.")
        if place is not None and not layer.spatial:
            raise NotSupported(f"{layer.path} has no rows and columns, so it has no position {place[0]},{place[1]}.")
        if place is not None and not all(0 <= i < (n or i + 1) for i, n in zip(place, layer.shape, strict=False)):
            rows, columns = layer.shape[:2]
            raise NotFound(f"{layer.path} has {rows} rows and {columns} columns, from 0; there is no {place[0]},{place[1]}.")

    def _table_key(self) -> str:
        from vizkit.registry import source_hash

        code = source_hash(sys.modules.get(type(self).__module__) or type(self))
        return f"layers {self.fingerprint()} {core_hash()} {code} {versions()}"

    def _measure(self) -> tuple[LayerInfo, ...]:
        from vizkit.graph import layer_table

        return layer_table(self.plan(), [(*self.image_size, 3)])

    def _input(self, pixels: NDArray[np.uint8]) -> Any:
        import tensorflow as tf

        return tf.constant(np.asarray(self.preprocess(pixels), np.float32))

    def _compiled(self, loaded: Loaded, plan: Plan, paths: tuple[str, ...], pool: Pool, size: Size) -> Any:
        """One traced function for each set of layers, pooling and size; any number of images."""
        import tensorflow as tf

        from vizkit.graph import execute

        key = (plan is loaded.logits, paths, pool, size)
        if key not in loaded.compiled:
            reduce = {"mean": tf.reduce_mean, "max": tf.reduce_max}.get(pool)

            def forward(x: Any) -> Any:
                values = execute(plan, x, paths)
                if reduce:
                    values = {p: reduce(v, [1, 2]) if len(v.shape) == 4 else v for p, v in values.items()}
                return {p: tf.cast(v, tf.float32) for p, v in values.items()}

            channels = loaded.model.inputs[0].shape[-1]
            signature = [tf.TensorSpec((None, *size, channels), tf.float32)]
            loaded.compiled[key] = tf.function(forward, input_signature=signature, autograph=False)
        return loaded.compiled[key]


class ModelPool:
    """The models in memory, bounded; the one used longest ago is let go first, and builds itself again when asked."""

    def __init__(self, limit: int = 4_000_000_000) -> None:
        self.limit = limit
        self._used: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, model: Any) -> None:
        """Note that a model is about to compute, and let go of others where all together are above the bound."""
        with self._lock:
            self._used[id(model)] = model
            self._used.move_to_end(id(model))
            for other in list(self._used.values())[:-1]:
                if sum(_memory(m) for m in self._used.values()) <= self.limit:
                    break
                del self._used[id(other)]
                getattr(other, "release", lambda: None)()

    def loaded(self) -> list[str]:
        """Names of the models in memory, the one used last at the end."""
        with self._lock:
            return [m.name for m in self._used.values() if _memory(m)]


def table_text(layers: Sequence[LayerInfo]) -> str:
    """A table of layers as JSON, a line a layer."""
    rows = ",\n".join(json.dumps(asdict(layer)) for layer in layers)
    return f"[\n{rows}\n]\n"


def _memory(model: Any) -> int:
    return int(getattr(model, "memory", lambda: 0)())


def _batches(images: ImageBatch) -> Iterator[ImageBatch]:
    """In pieces of `BATCH`; where that is more than one, a small one first."""
    first = FIRST if len(images) > BATCH else BATCH
    yield from images[:first].batches(BATCH)
    yield from images[first:].batches(BATCH)


def no_layer(model: str, path: str, known: Iterable[str]) -> NotFound:
    """The sentence for a layer that a model does not have."""
    return NotFound(f"{model} has no layer {path!r}.{suggestion(path, known)} See: vizkit list layers {model}")


def weights_digest(loaded: Loaded) -> tuple[bytes, bytes]:
    """Hashes of a model's layers, whatever numbers Keras gave the unnamed ones, and of its weights."""
    from vizkit.graph import description

    layers = hashlib.sha256(json.dumps(description(loaded.plan), sort_keys=True, default=str).encode())
    digest = hashlib.sha256()
    for weight in loaded.model.weights:
        values = np.ascontiguousarray(weight)
        digest.update(f"{values.dtype} {values.shape}\n".encode() + values.tobytes())
    return layers.digest(), digest.digest()


def _score(tensor: Any, target: Target) -> Any:
    """What the target asks of a layer's tensor, (n,)."""
    import tensorflow as tf

    if target.class_index is not None:
        return tensor[..., target.class_index]
    if target.position is not None:
        tensor = tensor[:, target.position[0] : target.position[0] + 1, target.position[1] : target.position[1] + 1]
    if target.channel is not None:
        tensor = tensor[..., target.channel : target.channel + 1]
    if target.direction is not None:
        tensor = tensor * tf.constant(target.direction, tensor.dtype)
    return tf.reduce_sum(tensor, list(range(1, len(tensor.shape))))
