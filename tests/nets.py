"""Small networks with known weights: plain functions that build a `keras.Model`, the same one every time.

Weights come from NumPy seeds, never from Keras's global state, and every call builds new layers in the caller's process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Relu = Literal["layer", "activation", "op", "fused"]
"""Where a rectifier sits: a ReLU layer, an Activation layer, a `keras.ops` operation, or inside the layer before it."""

TOY_IMAGE: NDArray[np.float32] = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


def seeded(model: Any, seed: int = 0, *, bias: bool = True) -> Any:
    """Give every weight a normal value that depends on the seed and its place alone; `bias=False` makes biases 0."""
    rng = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        value = rng.normal(size=tuple(variable.shape)).astype(np.float32)
        if len(variable.shape) > 1:
            value /= np.sqrt(np.prod(variable.shape[:-1]))
        elif "variance" in variable.path or "gamma" in variable.path:
            value = 0.5 + np.abs(value)
        elif not bias:
            value *= 0
        values.append(value)
    model.set_weights(values)
    return model


def relu_after(relu: Relu, make: Callable[..., Any], *, name: str, max_value: float | None = None) -> Callable[[Any], Any]:
    """A layer (made by `make(activation=, name=)`) followed by a rectifier, as a function of a symbolic tensor."""
    import keras

    def rectified(x: Any) -> Any:
        return keras.activations.relu(x, max_value=max_value)

    if relu == "fused":
        return make(activation="relu" if max_value is None else rectified, name=name)  # type: ignore[no-any-return]
    layer = make(activation=None, name=name)
    if relu == "layer":
        return lambda x: keras.layers.ReLU(max_value, name=f"{name}_relu")(layer(x))
    if relu == "activation":
        return lambda x: keras.layers.Activation("relu" if max_value is None else rectified, name=f"{name}_relu")(layer(x))
    return lambda x: rectified(layer(x))


def toy_net(relu: Relu = "fused", depth: int = 0, *, last_relu: bool = True) -> Any:
    """Captum's one-convolution net, whose gradients are known exactly; (4, 4, 1) -> (1,), 54 for `TOY_IMAGE`.

    Convolution 3x3 of ones with two channels and biases -50 and -75, ReLU, eight weights, ReLU. `depth` puts it inside that
    many models. Its convolution is `conv`, its output `score`.
    """
    import keras

    layers = keras.layers
    image = keras.Input((4, 4, 1), name="image")
    x = relu_after(relu, lambda **kw: layers.Conv2D(2, 3, **kw), name="conv")(image)
    x = layers.Flatten(name="flat")(x)
    dense = relu_after(relu, lambda **kw: layers.Dense(1, **kw), name="score")
    if not last_relu:
        dense = layers.Dense(1, name="score")
    model = keras.Model(image, dense(x), name="toy")
    first, second = (np.ones(4, np.float32), np.array([1, -1, -1, -1], np.float32))
    model.set_weights(
        [
            np.ones((3, 3, 1, 2), np.float32),
            np.array([-50, -75], np.float32),
            np.stack([first, second], axis=1).reshape(8, 1),  # rows by channel, columns by position: NCHW made NHWC
            np.zeros(1, np.float32),
        ]
    )
    for level in range(depth):
        outer = keras.Input((4, 4, 1), name="image")
        model = keras.Model(outer, model(outer), name=f"wrap{level}")
    return model


def backbone(relu: Relu = "layer", name: str = "backbone") -> Any:
    """A small CNN with batch norm, dropout, ReLU6 and pooling; (8, 8, 3) -> (3, 3, 5)."""
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3), name="pixels")
    x = relu_after(relu, lambda **kw: layers.Conv2D(4, 3, padding="same", **kw), name="stem")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    make = lambda **kw: layers.DepthwiseConv2D(2, **kw)  # noqa: E731
    x = relu_after(relu, make, name="depthwise", max_value=6)(x)
    x = relu_after(relu, lambda **kw: layers.Conv2D(5, 1, **kw), name="point")(x)
    return seeded(keras.Model(image, x, name=name), 1)


def nested_net(relu: Relu = "layer", *, bias: bool = True) -> Any:
    """A backbone inside a model inside a model, as transfer learning leaves it; (8, 8, 3) -> (2,), softmax fused."""
    import keras

    image = keras.Input((8, 8, 3), name="image")
    features = keras.Sequential([backbone(relu), keras.layers.GlobalAveragePooling2D(name="gap")], name="features")
    middle = keras.Model(image, features(image), name="middle")
    outer = keras.Input((8, 8, 3), name="image")
    scores = keras.layers.Dense(2, activation="softmax", name="scores")(middle(outer))
    return seeded(keras.Model(outer, scores, name="nested"), 2, bias=bias)


def branching_net() -> Any:
    """Three branches of one, three and six convolutions in all: `a`, `b` of two, `c` of three; outputs (4,) each."""
    import keras

    layers = keras.layers
    image = keras.Input((6, 6, 3), name="image")

    def branch(name: str, length: int) -> Any:
        x = image
        for i in range(length):
            x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"{name}{i}")(x)
        return x

    a, b, c = branch("a", 1), branch("b", 2), branch("c", 3)
    ab = layers.Add(name="ab")([a, b])
    out = layers.GlobalMaxPooling2D(name="out")(layers.Concatenate(name="abc")([ab, c]))
    return seeded(keras.Model(image, out, name="branching"), 3)


def shared_layer_net() -> Any:
    """One layer called twice, and one model called twice; (6, 6, 3) -> (6, 6, 3)."""
    import keras

    layers = keras.layers
    inner = keras.Input((6, 6, 3), name="inner")
    tower = keras.Model(inner, layers.Conv2D(3, 3, padding="same", name="conv")(inner), name="tower")
    image = keras.Input((6, 6, 3), name="image")
    conv = layers.Conv2D(3, 1, activation="relu", name="shared")
    x = tower(conv(conv(image)))
    # The second call comes first in the sum: calls are numbered in the order they were made.
    return seeded(keras.Model(image, layers.Subtract(name="minus")([tower(x), x]), name="sharing"), 4)


def sequential_net(seed: int = 5) -> Any:
    """A Sequential of unnamed layers; (6, 6, 3) -> (3,)."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3),
            layers.ReLU(),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )
    return seeded(model, seed)


def two_input_net() -> Any:
    """Two images of different size; (6, 6, 3) and (3, 3, 3) -> (3, 3, 2)."""
    import keras

    layers = keras.layers
    large, small = keras.Input((6, 6, 3), name="large"), keras.Input((3, 3, 3), name="small")
    x = layers.AveragePooling2D(2, name="shrink")(large)
    x = layers.Concatenate(name="both")([x, layers.Conv2D(2, 1, name="embed")(small)])
    return seeded(keras.Model([large, small], layers.Conv2D(2, 1, name="mix")(x), name="two_inputs"), 6)


def two_output_net() -> Any:
    """A dictionary of two outputs, one of them from an operation that makes several tensors; (6, 6, 4)."""
    import keras

    layers = keras.layers
    image = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    left, right = keras.ops.split(x, 2, axis=-1)
    outputs = {"right": layers.Conv2D(1, 1, name="head")(right), "left": left}
    return seeded(keras.Model(image, outputs, name="two_outputs"), 7)


def dict_input_net() -> Any:
    """A dictionary of two inputs, handed on to a nested model that takes a list in the other order; -> (2,)."""
    import keras

    layers = keras.layers
    p, q = keras.Input((3,), name="q"), keras.Input((3,), name="p")
    inner = keras.Model([p, q], layers.Dense(2, name="mix")(layers.Concatenate(name="join")([p, q])), name="inner")
    a, b = keras.Input((3,), name="p"), keras.Input((3,), name="q")
    return seeded(keras.Model({"p": a, "q": b}, inner({"p": a, "q": b}), name="dict_inputs"), 8)


def unnamed_net() -> Any:
    """Nothing in it has a name, it branches, and an operation and a nested model are unnamed too; (6, 6, 3) -> (2,)."""
    import keras

    layers = keras.layers
    image = keras.Input((6, 6, 3))
    inner = keras.Input((6, 6, 4))
    block = keras.Model(inner, layers.ReLU()(layers.Conv2D(4, 3, padding="same")(inner)))
    x = layers.Conv2D(4, 1)(image)
    x = keras.ops.relu(x + layers.Conv2D(4, 3, padding="same")(image))
    x = layers.GlobalAveragePooling2D()(block(block(x)))
    return seeded(keras.Model(image, layers.Dense(2)(x)), 9)


def linear_net() -> Any:
    """No nonlinearity at all; (4, 4, 2) -> (3,)."""
    import keras

    layers = keras.layers
    image = keras.Input((4, 4, 2), name="image")
    x = layers.Flatten(name="flat")(layers.Conv2D(3, 2, name="conv")(image))
    return seeded(keras.Model(image, layers.Dense(3, name="score")(x), name="linear"), 10)
