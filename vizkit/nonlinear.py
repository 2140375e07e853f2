"""What one operation does to its values: whether it rectifies, ends in probabilities, or can be negative.

Functions are known by what they do, not by their name: `keras.layers.ReLU(6)`, a lambda, `tf.nn.relu6` fused into a
convolution and `keras.ops.clip(x, 0, 6)` are the same rectifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

Nonlinearity: TypeAlias = Literal["relu", "leaky", "hidden", "softmax", "sigmoid"]
"""A rectifier (with or without a ceiling or a threshold), one that lets some of the negative side through, one inside a
layer that cannot be seen into, or one of the two functions that turn logits into probabilities."""

_STEPS = 2.0 ** np.arange(-6, 4, dtype=np.float32)
_PROBE = np.concatenate([-_STEPS[::-1], [np.float32(0)], _STEPS])
_ELEMENTWISE = re.compile(r"(Leaky|P)?Re[Ll][Uu]6?|Maximum|Clip|Softmax|(Hard)?Sigmoid|Softplus|Exp|Square|Abs(olute)?")
_SHAPING = re.compile(
    r"(Global|Adaptive)?(Average|Max)Pool(ing[123]D)?|(ZeroPadding|Cropping|UpSampling|SpatialDropout)[123]D|Dropout"
    r"|Flatten|Reshape|Permute|Transpose|RepeatVector|Identity|Squeeze|ExpandDims|GetItem|Mean|Max|Sum|Conform"
)
_JOINING = re.compile(r"Add|Average|Multiply|Maximum|Minimum|Concatenate|Stack")


def nature(
    op: Any, function: Callable[..., Any] | None, rank: int, inside: Iterable[Any]
) -> tuple[Nonlinearity | None, bool]:
    """An operation's nonlinearity, and whether its output cannot be negative because of it.

    `function` is the operation as a function of its one tensor of `rank` axes, None if it takes several; `inside` are the
    layers within it. Operations that mix positions or channels are never called.
    """
    import keras

    fused = vars(op).get("activation")
    kind: Nonlinearity | None = None
    nonnegative = False
    if any(isinstance(f, keras.layers.PReLU) or getattr(f, "negative_slope", 0) for f in (op, fused)):
        kind = "leaky"
    elif callable(fused):
        kind, nonnegative = _probe(fused.call if isinstance(fused, keras.Layer) else fused, 2)
        if not type(op).__module__.startswith("keras."):  # where in its call a stranger's layer uses it is unknown
            kind, nonnegative = (kind if kind in ("relu", "leaky") else None), False
    elif function and any(_ELEMENTWISE.fullmatch(c.__name__) for c in type(op).__mro__):
        kind, nonnegative = _probe(function, rank)
    if any(nature(x, x.call, 2, ())[0] in ("relu", "leaky") for x in inside if x is not fused):
        kind = "hidden"
    return kind, nonnegative


def _probe(function: Callable[..., Any], rank: int) -> tuple[Nonlinearity | None, bool]:
    """What an elementwise function is, from its values at 0 and ±1/64 to ±8, laid along the last of `rank` axes."""
    import tensorflow as tf

    x = _PROBE
    try:
        with tf.init_scope():
            y = np.asarray(function(tf.constant(x.reshape((1,) * (rank - 1) + (-1,))))).reshape(x.shape)
    except Exception:  # anything can be an activation; what cannot take these numbers is none of the functions below
        return None, False
    rising, above, below = x[x > 0], y[x > 0], y[x < 0]
    straight = (above == rising) | (above == 0) | ((above == y.max()) & (rising >= y.max()))
    rectifies = bool(straight.all()) and (above == rising).sum() >= 2
    slope = below / x[x < 0]
    kind: Nonlinearity | None = None
    if rectifies and not below.any():
        kind = "relu"
    elif rectifies and 0 < slope[0] < 1 and np.allclose(slope, slope[0]):
        kind = "leaky"
    elif np.allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-3, atol=1e-7):
        kind = "sigmoid"
    elif np.allclose(y, np.exp(x) / np.exp(x).sum(), rtol=1e-3, atol=1e-7):
        kind = "softmax"
    return kind, bool((y >= 0).all())


def keeps_nonnegative(op: Any, signed: Sequence[bool]) -> bool:
    """Whether an operation makes something non-negative of non-negative tensors: it pools, pads, reshapes or joins."""
    if any(signed) or getattr(op, "interpolation", "nearest") not in ("nearest", "bilinear"):
        return False
    name = type(op).__name__
    return bool(_SHAPING.fullmatch(name) or (len(signed) > 1 and _JOINING.fullmatch(name)))
