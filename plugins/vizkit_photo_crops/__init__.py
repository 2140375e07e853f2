"""`photo-crops`: 202 square pieces of 13 photographs at two scales. Find the pieces that come from one photograph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import vizkit as vk

if TYPE_CHECKING:
    from PIL import Image

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the photograph, from 0; the last two are not included."""

MAX_IOU = 1 / 3
"""No two crops of one photograph share more than this part of their union."""
SCALES = {"s1": (0.66, 0.5), "s2": (0.37, 0.8)}
"""Of each scale: a crop's side as a part of the photograph's short side, and the least step between two, in sides."""
_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
PHOTOS = {
    "chelsea": ("cat", "skimage", "data/chelsea.png"),
    "coffee": ("espresso", "skimage", "data/coffee.png"),
    "rocket": ("rocket", "skimage", "data/rocket.jpg"),
    "astronaut": ("astronaut", "skimage", "data/astronaut.png"),
    "flower": ("dahlia", "sklearn", "datasets/images/flower.jpg"),
    "china": ("pavilion", "sklearn", "datasets/images/china.jpg"),
    "motorcycle": ("motorcycle", "skimage", "data/motorcycle_left.png"),
    "tissue": ("stained tissue", "skimage", "data/ihc.png"),
    "camera": ("photographer", "skimage", "data/camera.png"),
    "coins": ("coins", "skimage", "data/coins.png"),
    "brick": ("brick wall", "skimage", "data/brick.png"),
    "gravel": ("gravel", "skimage", "data/gravel.png"),
    "grass": ("grass", "skimage", "data/grass.png"),
}


class PhotoCrops(vk.DatasetBase):
    """Square pieces of photographs, labelled with what the photograph shows."""

    name = "photo-crops"
    rank = 0  # the default: the only one here with classes of everyday things
    title = "Pieces of photographs"
    description = (
        "202 square crops of 13 of the photographs, large ones (s1, two thirds of the short side) and small ones (s2, "
        "three eighths), the middle of each photograph first. The label is the photograph, so a search has found "
        "something when the pieces of one photograph come together. Crops of one photograph overlap by an IoU of at most "
        "1/3. The retina, the galaxies and the moon are left out, since most of their pieces show next to nothing, and so "
        "is the motorcycle's second view."
    )
    source = "crops of the photographs in the installed scikit-image and scikit-learn"
    licence = (
        "as the photographs: public domain, CC0 or without known restrictions; flower (vultilion) and china "
        "(danielbuechele) are CC BY 2.0; motorcycle is from the Middlebury 2014 stereo benchmark (Scharstein and others)"
    )
    geometry = vk.Geometry("stretch")  # a crop is square already, and is shown whole

    def __init__(self) -> None:
        self._whole: dict[str, Image.Image] = {}  # photographs once decoded: 13 of them take 10 MB

    def ids(self) -> Sequence[str]:
        """`PHOTO-SCALE-NUMBER`, numbered from 01 outwards from the middle of the photograph."""
        return tuple(self._crops)

    def labels(self) -> Sequence[str | None]:
        """What the photograph shows."""
        return tuple(PHOTOS[photo][0] for photo, _ in self._crops.values())

    def content(self, id: str) -> Path:
        """The file of the whole photograph."""
        return _file(self._crops[id][0])

    def open(self, id: str) -> Image.Image:
        """The crop, in the photograph's own pixels."""
        photo, box = self._crops[id]
        if photo not in self._whole:
            self._whole[photo] = super().open(id)
        return self._whole[photo].crop(box)

    def digest(self, id: str) -> str:
        """A hash of the photograph's file and the box."""
        return f"{super().digest(id)} {self._crops[id][1]}"

    def box(self, id: str) -> Box:
        """Where in its photograph a crop lies."""
        return self._crops[id][1]

    @cached_property
    def _crops(self) -> dict[str, tuple[str, Box]]:
        return {
            f"{photo}-{scale}-{number:02d}": (photo, box)
            for photo in PHOTOS
            for scale, (side, step) in SCALES.items()
            for number, box in enumerate(_boxes(*_size(_file(photo)), side, step), start=1)
        }


def _boxes(width: int, height: int, part: float, step: float) -> list[Box]:
    """A grid of squares over a photograph from edge to edge, as dense as the least step allows, the middle ones first."""
    side = round(part * min(width, height))
    boxes = [(x, y, x + side, y + side) for y in _starts(height, side, step) for x in _starts(width, side, step)]
    return sorted(boxes, key=lambda b: ((b[0] + b[2] - width) ** 2 + (b[1] + b[3] - height) ** 2, b[1], b[0]))


def _starts(length: int, side: int, step: float) -> Iterator[int]:
    room = length - side
    count = 1 + int(room / (step * side))
    return (round(i * room / (count - 1)) for i in range(count))


def _file(photo: str) -> Path:
    _, package, path = PHOTOS[photo]
    return vk.package_file(package, path, distribution=_DISTRIBUTIONS[package])


def _size(file: Path) -> tuple[int, int]:
    """Width and height from the file's header."""
    from PIL import Image

    with Image.open(file) as image:
        return image.size


@vk.hookimpl
def register_datasets() -> Iterable[vk.Dataset]:
    """`photo-crops`."""
    return [PhotoCrops()]
