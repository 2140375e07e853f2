"""`digits` and `digits-200` against scikit-learn's own loader."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import vizkit_digits
from sklearn.datasets import load_digits

import vizkit as vk


@pytest.fixture(scope="module")
def both() -> list[vk.Dataset]:
    return list(vizkit_digits.register_datasets())


def test_all_digits_with_their_labels_in_the_file_s_order(both: list[vk.Dataset]) -> None:
    digits, known = both[0], load_digits()
    assert (digits.name, len(digits.ids())) == ("digits", 1797)
    assert (digits.ids()[0], digits.ids()[-1]) == ("0000", "1796")
    assert [int(label or -1) for label in digits.labels()] == known.target.tolist()
    pixels = digits.images(digits.ids()[:50], (8, 8)).pixels
    np.testing.assert_array_equal(pixels[..., 0], (known.images[:50] * 255 // 16).astype(np.uint8))
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_twenty_of_each_in_the_order_of_the_digits(both: list[vk.Dataset]) -> None:
    few, known = both[1], load_digits().target
    assert few.name == "digits-200"
    assert few.labels() == tuple(str(digit) for digit in range(10) for _ in range(20))
    assert set(Counter(few.labels()).values()) == {20}
    assert few.ids()[:3] == ("0000", "0010", "0020")
    assert [str(known[int(id)]) for id in few.ids()] == list(few.labels())


def test_a_digit_is_the_same_picture_in_both_and_enlarged_smoothly(both: list[vk.Dataset]) -> None:
    a, b = (dataset.images(["0020"], (224, 224)) for dataset in both)
    assert a.hashes == b.hashes
    np.testing.assert_array_equal(a.pixels, b.pixels)
    steps = np.abs(np.diff(a.pixels[0, :, :, 0].astype(int), axis=1)).max()
    assert 0 < steps < 30  # repeated squares would step by up to 255 at once


def test_fingerprints_differ_and_stay(both: list[vk.Dataset]) -> None:
    again = list(vizkit_digits.register_datasets())
    assert [d.fingerprint() for d in both] == [d.fingerprint() for d in again]
    assert both[0].fingerprint() != both[1].fingerprint()
