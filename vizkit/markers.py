"""What depends on the model or the dataset: markers that a technique puts on its parameters with `Annotated`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from vizkit.errors import NotFound, NotSupported, suggestion
from vizkit.types import ImageBatch, LayerInfo

if TYPE_CHECKING:
    from vizkit.models import ModelAdapter


class Context(Protocol):
    """What a marker may ask while it turns a person's value into the function's."""

    @property
    def model(self) -> ModelAdapter: ...
    @property
    def values(self) -> Mapping[str, Any]: ...
    def image(self, ref: str | None) -> ImageBatch: ...


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Says that a parameter's choices depend on the model or the dataset. `role` separates a second one of a kind."""

    kind: ClassVar[str]
    role: str | None = None

    def resolve(self, name: str, value: Any, context: Context) -> Any:
        """The value that the function gets; None asks for the default. Raises a sentence where it does not fit."""
        raise NotImplementedError

    def public(self, value: Any) -> Any:
        """The value as provenance and links show it: plain JSON."""
        return value


@dataclass(frozen=True, kw_only=True)
class Layer(Marker):
    """A layer's path. `spatial` asks for rows and columns, `nonnegative` for values that cannot be below zero; the
    default is the `last` or `first` of the model's curated layers that fits."""

    kind = "layer"
    spatial: bool = False
    nonnegative: bool = False
    default: Literal["last", "first"] = "last"

    def fits(self, layer: LayerInfo) -> bool:
        """Whether this parameter may be that layer."""
        return not (self.spatial and not layer.spatial) and not (self.nonnegative and layer.signed)

    def resolve(self, name: str, value: str | None, context: Context) -> str:
        model = context.model
        layers = {layer.path: layer for layer in model.layers()}
        if value is None:
            fitting = [p for p in model.curated if p in layers and self.fits(layers[p])] or [
                p for p, layer in layers.items() if self.fits(layer)
            ]
            if not fitting:
                raise NotSupported(f"{model.name} has no layer that {name} could be: {self._wanted()}.")
            return fitting[-1 if self.default == "last" else 0]
        if value not in layers:
            raise NotFound(
                f"{model.name} has no layer {value!r}.{suggestion(value, layers)} See: vizkit list layers {model.name}"
            )
        layer = layers[value]
        if not self.fits(layer):
            shape = " x ".join(map(str, layer.shape))
            flat = self.spatial and not layer.spatial
            has = f"gives {shape} values without rows and columns" if flat else "can be negative"
            raise NotSupported(
                f"{name} cannot be {value!r}: it {has}, and {self._wanted()} is needed."
                f" Try {self.resolve(name, None, context)!r}. See: vizkit list layers {model.name}"
            )
        return value

    def _wanted(self) -> str:
        wants = ["rows and columns"] * self.spatial + ["no negative values (a ReLU layer)"] * self.nonnegative
        return "a layer with " + " and ".join(wants)


@dataclass(frozen=True, kw_only=True)
class Channel(Marker):
    """A channel's index in the layer that the parameter `of` holds, from 0."""

    kind = "channel"
    of: str = "layer"

    def resolve(self, name: str, value: int | None, context: Context) -> int:
        path = context.values[self.of]
        channels = next(layer.channels for layer in context.model.layers() if layer.path == path)
        if value is not None and not 0 <= value < channels:
            raise NotFound(f"{name} is {value}; {path} has {channels} channels, 0 to {channels - 1}.")
        return value or 0


@dataclass(frozen=True, kw_only=True)
class ClassLabel(Marker):
    """A class, by name or index; the function gets the index."""

    kind = "class"

    def resolve(self, name: str, value: str | int | None, context: Context) -> int:
        labels = context.model.labels
        if value is None:
            return 0
        text = str(value)
        if text.isdecimal() and (int(text) < len(labels) or not labels):
            return int(text)
        if text not in labels:
            raise NotFound(
                f"{context.model.name} has no class {text!r}.{suggestion(text, labels)}"
                f" A name, or an index from 0 to {len(labels) - 1}."
            )
        return labels.index(text)


@dataclass(frozen=True, kw_only=True)
class Image(Marker):
    """An image reference; the function gets an `ImageBatch` of one, at the model's size. The default is the dataset's
    first image."""

    kind = "image"

    def resolve(self, name: str, value: str | None, context: Context) -> ImageBatch:
        return context.image(value)

    def public(self, value: ImageBatch) -> str:
        return str(value.refs[0])


@dataclass(frozen=True, kw_only=True)
class Position(Marker):
    """A cell (row, column) of the layer that the parameter `of` holds, from 0. The default is the middle."""

    kind = "position"
    of: str = "layer"

    def resolve(self, name: str, value: tuple[int, int] | None, context: Context) -> tuple[int, int]:
        path = context.values[self.of]
        shape = next(layer.shape for layer in context.model.layers() if layer.path == path)
        rows, columns = shape[0] or 1, shape[1] or 1
        if value is None:
            return rows // 2, columns // 2
        if not (0 <= value[0] < rows and 0 <= value[1] < columns):
            raise NotFound(f"{name} is {value[0]},{value[1]}; {path} has {rows} rows and {columns} columns, from 0.")
        return value


@dataclass(frozen=True, kw_only=True)
class Direction(Marker):
    """A direction in the activation space of the layer that the parameter `of` holds: one number a channel."""

    kind = "direction"
    of: str = "layer"

    def resolve(self, name: str, value: tuple[float, ...] | None, context: Context) -> tuple[float, ...]:
        path = context.values[self.of]
        channels = next(layer.channels for layer in context.model.layers() if layer.path == path)
        if value is None or len(value) != channels:
            given = "missing" if value is None else f"{len(value)} numbers"
            raise NotFound(f"{name} is {given}; {path} has {channels} channels and wants one number for each.")
        return value


@dataclass(frozen=True)
class Extends:
    """Marks a total, such as steps: a run can be continued to a larger one, so a checkpoint's key leaves it out."""


LayerName: TypeAlias = Annotated[str, Layer()]
ChannelIndex: TypeAlias = Annotated[int, Channel()]
ClassIndex: TypeAlias = Annotated[int, ClassLabel()]
QueryImage: TypeAlias = Annotated[ImageBatch, Image()]
Cell: TypeAlias = Annotated[tuple[int, int], Position()]
