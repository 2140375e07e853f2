"""What depends on the model or the dataset: markers that a technique puts on its parameters with `Annotated`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias, get_origin

from vizkit.errors import NotFound, NotSupported, suggestion
from vizkit.types import ImageBatch, LayerInfo, Size

if TYPE_CHECKING:
    from vizkit.models import ModelAdapter


class Context(Protocol):
    """What a marker may ask while it turns a person's value into the function's."""

    @property
    def model(self) -> ModelAdapter: ...
    @property
    def size(self) -> Size: ...
    @property
    def values(self) -> Mapping[str, Any]: ...
    def image(self, ref: str | None) -> ImageBatch: ...


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Says that a parameter's choices depend on the model or the dataset. `role` separates a second one of a kind.

    `annotates` is the type that it goes on, alone or, unless that is a tuple itself, in a tuple; `wants` says to a person
    what to give.
    """

    kind: ClassVar[str]
    annotates: ClassVar[Any]
    wants: ClassVar[str]
    role: str | None = None

    def resolve(self, name: str, value: Any, context: Context) -> Any:
        """The value that the function gets; None asks for the default. Raises a sentence where it does not fit.

        Of a tuple, where one value is no tuple itself, each is resolved."""
        if isinstance(value, tuple) and self.single:
            return tuple(self.one(name, v, context) for v in value)
        return self.one(name, value, context)

    def one(self, name: str, value: Any, context: Context) -> Any:
        """`resolve` for a single value."""
        raise NotImplementedError

    def public(self, value: Any) -> Any:
        """The value as provenance and links show it: plain JSON."""
        return value

    @property
    def single(self) -> bool:
        """Whether one value of it is no tuple, so that a tuple holds several."""
        return get_origin(self.annotates) is None


@dataclass(frozen=True, kw_only=True)
class Layer(Marker):
    """A layer's path. `spatial` asks for rows and columns, `nonnegative` for values that cannot be below zero; the
    default is the `last` or `first` of the model's curated layers that fits."""

    kind = "layer"
    annotates = str
    wants = "a layer's path"
    spatial: bool = False
    nonnegative: bool = False
    default: Literal["last", "first"] = "last"

    def fits(self, layer: LayerInfo) -> bool:
        """Whether this parameter may be that layer."""
        return not (self.spatial and not layer.spatial) and not (self.nonnegative and layer.signed)

    def one(self, name: str, value: str | None, context: Context) -> str:
        model = context.model
        layers = {layer.path: layer for layer in model.layers()}
        if value is None:
            fitting = [p for p in model.curated if p in layers and self.fits(layers[p])] or [
                p for p, layer in layers.items() if self.fits(layer)
            ]
            if not fitting:
                raise NotSupported(f"{model.name} has no layer that {name} could be: {self._wanted()}.{_see(model)}")
            return fitting[-1 if self.default == "last" else 0]
        if value not in layers:
            raise NotFound(f"{model.name} has no layer {value!r}.{suggestion(value, layers)}{_see(model)}")
        layer = layers[value]
        if not self.fits(layer):
            flat = self.spatial and not layer.spatial
            raise NotSupported(
                f"{name} cannot be {value!r}: it {_flat(layer) if flat else 'can be negative'}, and {self._wanted()} is"
                f" needed. Try {self.one(name, None, context)!r}.{_see(model)}"
            )
        return value

    def _wanted(self) -> str:
        wants = ["rows and columns"] * self.spatial + ["no negative values (a ReLU layer)"] * self.nonnegative
        return "a layer" + " with " * bool(wants) + " and ".join(wants)


@dataclass(frozen=True, kw_only=True)
class OfLayer(Marker):
    """What lies in a layer: the one that the parameter `of` holds, which has to come before this one."""

    of: str = "layer"

    def one(self, name: str, value: Any, context: Context) -> Any:
        if self.of not in context.values:  # that parameter was wrong itself, and has its own sentence
            return value
        path = context.values[self.of]
        if path is None:
            raise NotFound(f"{name} lies in a layer, and {self.of} is not given. Give {self.of} too.{_see(context.model)}")
        return self.inside(name, value, next(layer for layer in context.model.layers() if layer.path == path), context.model)

    def inside(self, name: str, value: Any, layer: LayerInfo, model: ModelAdapter) -> Any:
        """`resolve` for a single value in a known layer."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Channel(OfLayer):
    """A channel's index in the layer that the parameter `of` holds, from 0."""

    kind = "channel"
    annotates = int
    wants = "a channel's index, from 0"

    def inside(self, name: str, value: int | None, layer: LayerInfo, model: ModelAdapter) -> int:
        if value is not None and not 0 <= value < layer.channels:
            raise NotFound(
                f"{name} is {value}; {layer.path} has {layer.channels} channels, 0 to {layer.channels - 1}.{_see(model)}"
            )
        return value or 0


@dataclass(frozen=True, kw_only=True)
class ClassLabel(Marker):
    """A class, by name or index; the function gets the index. The default is class 0."""

    kind = "class"
    annotates = int
    wants = "a class, by name or index"

    def one(self, name: str, value: str | int | None, context: Context) -> int:
        model, labels = context.model, context.model.labels
        if value is None:
            return 0
        text = str(value).strip()
        if text.isdecimal() and len(text) < 10 and (int(text) < len(labels) or not labels):
            return int(text)
        if not labels:
            raise NotFound(f"{model.name} has no class names, so {name} cannot be {text!r}. Give an index, from 0.")
        found = [i for i, label in enumerate(labels) if label == text]
        if not found:
            near = "" if text.removeprefix("-").isdecimal() else suggestion(text, labels)
            raise NotFound(
                f"{model.name} has no class {text!r}.{near} {name} is a name, or an index from 0 to {len(labels) - 1}."
            )
        if len(found) > 1:
            which = " or ".join(map(str, found))
            raise NotFound(f"{model.name} has {len(found)} classes named {text!r}. Give {name} as an index: {which}.")
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Image(Marker):
    """An image reference; the function gets an `ImageBatch` of one, at the model's size. The default is the dataset's
    first image."""

    kind = "image"
    annotates = ImageBatch
    wants = "an image: DATASET/ID, upload/SHA, result/KEY/N or a file"

    def one(self, name: str, value: str | ImageBatch | None, context: Context) -> ImageBatch:
        if isinstance(value, ImageBatch):  # from Python, or from a technique that runs another
            return value if value.size == context.size else context.image(str(value.refs[0]))
        return context.image(value)

    def public(self, value: ImageBatch) -> str:
        return str(value.refs[0])


@dataclass(frozen=True, kw_only=True)
class Position(OfLayer):
    """A cell (row, column) of the layer that the parameter `of` holds, from 0. The default is the middle."""

    kind = "position"
    annotates = tuple[int, int]
    wants = "a row and a column, such as 3,4"

    def inside(self, name: str, value: tuple[int, int] | None, layer: LayerInfo, model: ModelAdapter) -> tuple[int, int]:
        if not layer.spatial:
            raise NotSupported(f"{name} cannot lie in {layer.path!r}: it {_flat(layer)}. Choose another layer.{_see(model)}")
        rows, columns = layer.shape[0] or 1, layer.shape[1] or 1
        if value is None:
            return rows // 2, columns // 2
        if not (0 <= value[0] < rows and 0 <= value[1] < columns):
            raise NotFound(
                f"{name} is {value[0]},{value[1]}; {layer.path} has {rows} rows and {columns} columns, from 0.{_see(model)}"
            )
        return value


@dataclass(frozen=True, kw_only=True)
class Direction(OfLayer):
    """A direction in the activation space of the layer that the parameter `of` holds: one number a channel."""

    kind = "direction"
    annotates = tuple[float, ...]
    wants = "numbers with commas between, one a channel"

    def inside(self, name: str, value: tuple[float, ...] | None, layer: LayerInfo, model: ModelAdapter) -> tuple[float, ...]:
        if value is None or len(value) != layer.channels:
            given = "missing" if value is None else f"{len(value)} numbers"
            raise NotFound(
                f"{name} is {given}; {layer.path} has {layer.channels} channels and wants a number for each.{_see(model)}"
            )
        return value


@dataclass(frozen=True)
class Extends:
    """Marks a total, such as steps: a run can be continued to a larger one, so a checkpoint's key leaves it out."""


LayerName: TypeAlias = Annotated[str, Layer()]
ChannelIndex: TypeAlias = Annotated[int, Channel()]
ClassIndex: TypeAlias = Annotated[int, ClassLabel()]
QueryImage: TypeAlias = Annotated[ImageBatch, Image()]
Cell: TypeAlias = Annotated[tuple[int, int], Position()]


def _see(model: ModelAdapter) -> str:
    return f" See: vizkit list layers {model.name}"


def _flat(layer: LayerInfo) -> str:
    return f"gives {' x '.join(map(str, layer.shape))} values without rows and columns"
