"""`digits` and `digits-200`: the handwritten digits that scikit-learn carries, of 8 x 8 pixels each."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

import vizkit as vk

_ABOUT = (
    "8 x 8 pixels in 17 greys, white ink on black, from 43 writers. They are enlarged by bicubic resampling, which gives "
    "smooth strokes: the edges of enlarged squares would be what a network sees first."
)


class Digits(vk.DatasetBase):
    """All 1,797 digits in the order of scikit-learn's file; `0007` is row 7 of it, from 0."""

    name = "digits"
    rank = 30
    title = "Handwritten digits"
    description = f"1,797 handwritten digits, {_ABOUT}"
    source = "scikit-learn's digits.csv.gz: the test set of 'Optical Recognition of Handwritten Digits' (UCI, 1998)"
    licence = "CC BY 4.0 (E. Alpaydin, C. Kaynak; UCI Machine Learning Repository)"
    geometry = vk.Geometry("stretch")

    def rows(self) -> Sequence[int]:
        """Which rows of the file, in the order of display."""
        return range(len(_table()))

    def ids(self) -> Sequence[str]:
        """Row numbers of four digits."""
        return tuple(f"{row:04d}" for row in self.rows())

    def labels(self) -> Sequence[str | None]:
        """`0` to `9`."""
        return tuple(str(_table()[row, 64]) for row in self.rows())

    def content(self, id: str) -> NDArray[np.uint8]:
        """Ink from 0 to 255, (8, 8)."""
        ink = _table()[int(id), :64].reshape(8, 8).astype(np.uint16)
        return (ink * 255 // 16).astype(np.uint8)


class Digits200(Digits):
    """The first twenty of each digit, in the order of the digits: small enough for every technique."""

    name = "digits-200"
    rank = 20
    title = "Handwritten digits, 20 of each"
    description = f"The first 20 of each of the ten digits in `digits`, {_ABOUT}"

    def rows(self) -> Sequence[int]:
        """Twenty rows of each class, in class order; ids are those of `digits`."""
        classes = _table()[:, 64]
        return [int(row) for digit in range(10) for row in np.flatnonzero(classes == digit)[:20]]


@cache
def _table() -> NDArray[np.uint8]:
    """The file: uint8 (1797, 65), 64 values of ink from 0 to 16 and the class."""
    file = vk.package_file("sklearn", "datasets/data/digits.csv.gz", distribution="scikit-learn")
    with gzip.open(file, "rt") as text:
        return np.loadtxt(text, delimiter=",", dtype=np.uint8)


@vk.hookimpl
def register_datasets() -> Iterable[vk.Dataset]:
    """`digits` and `digits-200`."""
    return [Digits(), Digits200()]
