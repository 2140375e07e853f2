"""`photos`: which pictures, in which order, and that listing them costs nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import vizkit_photos
from PIL import Image

import vizkit as vk


@pytest.fixture
def photos() -> vk.Dataset:
    (dataset,) = vizkit_photos.register_datasets()
    return dataset


def test_the_cat_comes_first_then_everyday_colour_pictures(photos: vk.Dataset) -> None:
    assert (photos.name, len(photos.ids())) == ("photos", 16)
    assert photos.ids()[:7] == ("chelsea", "coffee", "rocket", "astronaut", "flower", "china", "motorcycle")
    assert photos.labels()[:4] == ("cat", "espresso", "rocket", "astronaut")
    assert len(set(photos.labels())) == 16
    assert photos.skipped() == ()


def test_pictures_in_colour_come_before_grey_ones(photos: vk.Dataset) -> None:
    pixels = photos.images(photos.ids(), (64, 64)).pixels.astype(int)
    grey = (np.ptp(pixels, axis=3).max(axis=(1, 2)) == 0).tolist()
    assert grey == [False] * 10 + [True] * 6


def test_the_pixels_are_those_of_scikit_image_and_scikit_learn(photos: vk.Dataset) -> None:
    from skimage import data
    from sklearn.datasets import load_sample_image

    expected = {"chelsea": data.chelsea(), "rocket": data.rocket(), "china": load_sample_image("china.jpg")}
    assert isinstance(photos, vk.DatasetBase)
    for id, pixels in expected.items():
        np.testing.assert_array_equal(np.asarray(photos.open(id)), pixels)
        whole = Image.fromarray(pixels)
        short = min(whole.size)
        resized = whole.resize(
            (round(whole.width * 256 / short), round(whole.height * 256 / short)), Image.Resampling.BICUBIC
        )
        left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
        framed = np.asarray(resized)[top : top + 224, left : left + 224]
        np.testing.assert_array_equal(photos.images([id], (224, 224)).pixels[0], framed)


def test_every_picture_of_the_packages_is_either_taken_or_named_as_left_out() -> None:
    folders = [
        vk.package_file("skimage", "data/chelsea.png").parent,
        vk.package_file("sklearn", "datasets/images/china.jpg").parent,
    ]
    kinds = (".png", ".jpg", ".gif", ".tif")
    there = {file.stem for folder in folders for file in folder.iterdir() if file.suffix in kinds}
    taken = {Path(photo.file).stem for photo in vizkit_photos.PHOTOS.values()}
    left_out = {stem for stems in vizkit_photos.LEFT_OUT.values() for stem in stems}
    assert taken | left_out >= there - {"eagle"}
    assert not taken & left_out
    assert "motorcycle_right" in vizkit_photos.Photos.description


@pytest.mark.parametrize("plugin", ["vizkit_photos", "vizkit_photo_crops", "vizkit_digits", "vizkit_folder"])
def test_registering_imports_and_reads_nothing_heavy(plugin: str) -> None:
    path: Sequence[str] = [*sys.path, "."]
    code = (
        f"import sys; sys.path[:] = {path!r}; import {plugin}; import builtins; before = set(sys.modules)\n"
        f"builtins.open = None\n{plugin}.register_datasets()\n"
        "print(sorted({'PIL', 'skimage', 'sklearn', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_missing_package_is_one_sentence(photos: vk.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vizkit.datasets.find_spec", lambda name: None)
    vk.package_file.cache_clear()
    with pytest.raises(vk.VizkitError, match=r"^The package scikit-image is not installed\. Install it with: pip install"):
        photos.fingerprint()
