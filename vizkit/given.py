"""A `keras.Model` that a person has in Python, as a model for vizkit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import NotSupported
from vizkit.models import KerasModel, Loaded, weights_digest
from vizkit.store import log

_NORMALIZING = ("Rescaling", "Normalization")
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)  # ITU-R BT.601


class GivenModel(KerasModel):
    """A `keras.Model` that a person made.

    It gets pixels as they are, 0 to 255, unless `preprocess` makes something else of them: uint8 (n, h, w, 3) in, float32
    (n, h, w, c) out. Where the model has no layer that scales them and nobody said how, a warning says so once. A model of
    one channel gets their luminance.
    """

    def __init__(
        self,
        model: Any,
        *,
        preprocess: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        shape = model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4:
            raise NotSupported(
                f"{model.name} takes {shape}; a model with one image input (height, width, channels) is needed."
            )
        if preprocess is None and shape[3] not in (1, 3):
            raise NotSupported(
                f"{model.name} takes images of {shape[3]} channels. Say how to make them from RGB:"
                " vizkit.GivenModel(model, preprocess=...)."
            )
        self._said = False
        self._structure = b""
        self._model, self._preprocess, self._grey = model, preprocess, shape[3] == 1
        self.name = self.title = model.name
        self.image_size = (shape[1] or 224, shape[2] or 224)
        self.labels = tuple(labels)

    def build(self) -> Any:
        """The model itself."""
        return self._model

    def preprocess(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the person said, else as they are."""
        if self._preprocess:
            return np.asarray(self._preprocess(pixels), np.float32)
        values = pixels.astype(np.float32)
        return values @ _LUMA if self._grey else values

    def fingerprint(self) -> str:
        """Hashed anew at every run, for the person may have trained it on: layers, weights, labels, and what `preprocess`
        makes of a picture with every brightness."""
        digest = hashlib.sha256(f"{self.image_size} {self.labels}\n".encode())
        found = weights_digest(self._load())
        if found[0] != self._structure:  # the person changed a layer: what was traced is of the old one
            if self._structure:
                self.release()
                self._layers = None
            self._structure = found[0]
        digest.update(b"".join(found))
        height, width = self.image_size
        probe = np.arange(height * width * 3, dtype=np.uint64).reshape(1, height, width, 3) * 37 % 256
        digest.update(self.preprocess(probe.astype(np.uint8)).tobytes())
        return digest.hexdigest()[:40]

    def _load(self) -> Loaded:
        loaded = super()._load()
        if self._preprocess is None and not self._said:
            self._said = True
            if not any(step.kind in _NORMALIZING for step in loaded.plan.steps):
                log.warning(
                    "%s has no Rescaling or Normalization layer, so it sees pixels from 0 to 255. If it was trained on"
                    " others, say how to make them: vizkit.GivenModel(model, preprocess=lambda x: x / 127.5 - 1).",
                    self.name,
                )
        return loaded
