"""`photo-crops`: a retrieval task in which no crop gives another away."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import vizkit_photo_crops
from vizkit_photo_crops import MAX_IOU, Box, PhotoCrops

import vizkit as vk


@pytest.fixture(scope="module")
def crops() -> PhotoCrops:
    (dataset,) = vizkit_photo_crops.register_datasets()
    assert isinstance(dataset, PhotoCrops)
    return dataset


def iou(a: Box, b: Box) -> float:
    """Counted pixel by pixel along each axis, unlike any formula in the plugin."""
    wide = len(set(range(a[0], a[2])) & set(range(b[0], b[2])))
    high = len(set(range(a[1], a[3])) & set(range(b[1], b[3])))
    area = sum((r - l) * (t - u) for l, u, r, t in (a, b))  # noqa: E741
    return wide * high / (area - wide * high)


def test_the_first_is_the_cat_s_face(crops: PhotoCrops) -> None:
    first = crops.ids()[0]
    left, top, right, bottom = crops.box(first)
    assert first == "chelsea-s1-01"
    for x, y in ((172, 110), (300, 120)):  # the eyes, as found by hand in the photograph of 451 x 300
        assert left < x < right
        assert top < y < bottom


def test_labels_are_the_photographs(crops: PhotoCrops) -> None:
    counts = Counter(crops.labels())
    assert len(crops.ids()) == len(set(crops.ids())) == sum(counts.values()) == 202
    assert counts["cat"] == counts["motorcycle"] == 18
    assert counts["coins"] == 16
    assert counts["grass"] == 13
    assert len(counts) == 13
    assert all(count >= 13 for count in counts.values())
    named = {id.rsplit("-", 2)[0]: label for id, label in zip(crops.ids(), crops.labels(), strict=True)}
    assert len(named) == 13  # one photograph a label, so one motorcycle only
    assert named["flower"] == "dahlia"


def test_crops_of_one_photograph_share_little(crops: PhotoCrops) -> None:
    by_photo: dict[str, list[Box]] = {}
    for id in crops.ids():
        by_photo.setdefault(id.rsplit("-", 2)[0], []).append(crops.box(id))
    worst = max(iou(a, b) for boxes in by_photo.values() for a, b in combinations(boxes, 2))
    assert MAX_IOU == 1 / 3
    assert 0.3 < worst <= MAX_IOU


def test_there_are_two_scales_and_all_crops_are_squares_inside_their_photograph(crops: PhotoCrops) -> None:
    from PIL import Image

    for id in crops.ids():
        with Image.open(crops.content(id)) as whole:
            left, top, right, bottom = crops.box(id)
            side = {"s1": 0.66, "s2": 0.37}[id.split("-")[1]] * min(whole.size)
            assert right - left == bottom - top == round(side)
            assert 0 <= left < right <= whole.width
            assert 0 <= top < bottom <= whole.height


def test_pixels_are_cut_from_the_photograph(crops: PhotoCrops) -> None:
    from skimage import data

    left, top, right, bottom = crops.box("chelsea-s2-05")
    expected = data.chelsea()[top:bottom, left:right]
    np.testing.assert_array_equal(np.asarray(crops.open("chelsea-s2-05")), expected)
    side = right - left
    np.testing.assert_array_equal(crops.images(["chelsea-s2-05"], (side, side)).pixels[0], expected)


def test_hashing_opens_no_photograph_and_tells_crops_apart(crops: PhotoCrops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vizkit.datasets.open_image", lambda source: pytest.fail("decoded"))
    fresh = PhotoCrops()
    assert len(set(fresh.images(fresh.ids(), (224, 224)).hashes)) == 202
    assert fresh.fingerprint() == crops.fingerprint()


def test_an_unknown_crop_has_a_suggestion(crops: PhotoCrops) -> None:
    with pytest.raises(vk.NotFound, match=r"photo-crops has no image 'chelsea-s1-7'\. Did you mean 'chelsea-s"):
        crops.images(["chelsea-s1-7"], (224, 224))
