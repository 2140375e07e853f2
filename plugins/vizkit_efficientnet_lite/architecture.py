"""EfficientNet-Lite as Keras models, with the ImageNet weights of a PyTorch checkpoint.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in the Lite form that the
TPU team published in 2020: no squeeze-and-excitation, ReLU6 for swish, and a stem and head that keep their width when
the network is scaled. Dropout and drop-connect, which do nothing after training, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizkit import VizkitError

if TYPE_CHECKING:
    import keras

STEM, HEAD, CLASSES = 32, 1280, 1000


@dataclass(frozen=True)
class Stage:
    """Inverted-residual blocks of one width. `stride` is the first block's, `expansion` the factor of the wide middle."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


_LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """The stages of a larger sibling: widths to the nearest 8, repeats (but the first and last) rounded up."""
    first, *middle, last = (
        Stage(s.repeats, s.kernel, s.stride, s.expansion, int(s.width * width + 4) // 8 * 8) for s in _LITE0
    )
    deeper = (Stage(math.ceil(s.repeats * depth), s.kernel, s.stride, s.expansion, s.width) for s in middle)
    return (first, *deeper, last)


STAGES: Mapping[str, tuple[Stage, ...]] = {
    "lite0": _LITE0,
    "lite1": scaled(width=1.0, depth=1.1),
    "lite2": scaled(width=1.1, depth=1.2),
}


def build(variant: str, weights: Mapping[str, NDArray[Any]]) -> keras.Model:
    """A `keras.Model` of "lite0", "lite1" or "lite2": images (n, h, w, 3) as (x - 127) / 128 in, logits (n, 1000) out.

    It takes images of any height and width from 32 pixels up. Layers are named
    `stem_{conv,bn,relu}`, `block{i}_{expand,dw}_{conv,bn,relu}`, `block{i}_project_{conv,bn}`, `block{i}_add`,
    `head_{conv,bn,relu}`, `avg_pool` and `logits`, with i from 0. A block has `expand` where its middle is wider than
    its input (all but the first) and `add` where input and output have one shape. VizkitError if `weights`, named as in
    the PyTorch checkpoint, are not exactly the ones that this network needs.
    """
    model = _network(STAGES[variant], f"efficientnet_{variant}")
    _load(model, weights)
    return model


def _network(stages: tuple[Stage, ...], name: str) -> keras.Model:
    """The network with all weights zero, which is quicker than drawing random ones."""
    import keras
    from keras import layers

    def conv(x: Any, name: str, filters: int, kernel: int = 1, stride: int = 1) -> Any:
        layer = layers.Conv2D(
            filters, kernel, stride, "same", use_bias=False, kernel_initializer="zeros", name=f"{name}_conv"
        )
        return norm(layer(x), name)

    def depthwise(x: Any, name: str, kernel: int, stride: int) -> Any:
        layer = layers.DepthwiseConv2D(
            kernel, stride, "same", use_bias=False, depthwise_initializer="zeros", name=f"{name}_conv"
        )
        return norm(layer(x), name)

    def norm(x: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)

    def relu(x: Any, name: str) -> Any:
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    image = keras.Input((None, None, 3), name="image")
    x = relu(conv(image, "stem", STEM, 3, 2), "stem")
    blocks = [(s, s.stride if first else 1) for s in stages for first in [True] + [False] * (s.repeats - 1)]
    for i, (stage, stride) in enumerate(blocks):
        block, width = f"block{i}", x.shape[-1]
        inner = x
        if stage.expansion > 1:
            inner = relu(conv(inner, f"{block}_expand", width * stage.expansion), f"{block}_expand")
        inner = relu(depthwise(inner, f"{block}_dw", stage.kernel, stride), f"{block}_dw")
        inner = conv(inner, f"{block}_project", stage.width)
        joins = stride == 1 and width == stage.width
        x = layers.Add(name=f"{block}_add")([x, inner]) if joins else inner
    x = relu(conv(x, "head", HEAD), "head")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(CLASSES, kernel_initializer="zeros", name="logits")(x)
    return keras.Model(image, x, name=name)


# Which tensor of the checkpoint a Keras weight is, and the order of its axes in Keras.
_LAYERS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dw_conv": "_depthwise_conv",
    "dw_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "logits": "_fc",
}
_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_UNUSED = "num_batches_tracked"  # a counter that only training reads


def tensor_name(layer: str, weight: str) -> str:
    """The checkpoint's name of a Keras weight.

    >>> tensor_name("block3_dw_bn", "gamma")
    '_blocks.3._bn1.weight'
    """
    block, _, part = layer.partition("_")
    prefix = f"_blocks.{block.removeprefix('block')}.{_LAYERS[part]}" if block.startswith("block") else _LAYERS[layer]
    return f"{prefix}.{_WEIGHTS[weight]}"


def _load(model: keras.Model, weights: Mapping[str, NDArray[Any]]) -> None:
    """Give every weight its tensor; each tensor must be used, once, and have the shape that its place asks for."""
    places = {tensor_name(layer.name, w.name): (layer, w) for layer in model.layers for w in layer.weights}
    given = {name for name in weights if not name.endswith(_UNUSED)}
    if given != places.keys():
        odd = sorted(given ^ places.keys())
        raise VizkitError(
            f"The checkpoint does not fit {model.name}: {odd[0]} is {'too much' if odd[0] in given else 'missing'}"
            f" (tensors that differ: {len(odd)}). Install the package that carries the weights again."
        )
    for name, (layer, weight) in places.items():
        value = _in_keras_order(weights[name], depthwise=layer.name.endswith("dw_conv"))
        if value.shape != tuple(weight.shape):
            raise VizkitError(
                f"The checkpoint does not fit {model.name}: {name} has shape {weights[name].shape}, which gives"
                f" {value.shape} where {tuple(weight.shape)} belongs. Install the package that carries the weights again."
            )
        weight.assign(value)


def _in_keras_order(tensor: NDArray[Any], depthwise: bool) -> NDArray[np.float32]:
    """A tensor with its axes as Keras has them: (out, in, h, w) to (h, w, in, out), (out, in) to (in, out)."""
    axes = {4: (2, 3, 0, 1) if depthwise else (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim)
    return np.ascontiguousarray(tensor if axes is None else tensor.transpose(axes), np.float32)
