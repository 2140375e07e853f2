"""`photos`: the photographs that scikit-image and scikit-learn carry in their wheels. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import vizkit as vk

_SKIMAGE = ("skimage", "scikit-image", "data")
_SKLEARN = ("sklearn", "scikit-learn", "datasets/images")


@dataclass(frozen=True)
class _Photo:
    """One photograph: what it shows, and its file in an installed package."""

    label: str
    file: str
    home: tuple[str, str, str] = _SKIMAGE

    @property
    def path(self) -> Path:
        package, distribution, folder = self.home
        return vk.package_file(package, f"{folder}/{self.file}", distribution=distribution)


PHOTOS = {
    # everyday things, in colour
    "chelsea": _Photo("cat", "chelsea.png"),
    "coffee": _Photo("espresso", "coffee.png"),
    "rocket": _Photo("rocket", "rocket.jpg"),
    "astronaut": _Photo("astronaut", "astronaut.png"),
    "flower": _Photo("dahlia", "flower.jpg", _SKLEARN),
    "china": _Photo("pavilion", "china.jpg", _SKLEARN),
    "motorcycle": _Photo("motorcycle", "motorcycle_left.png"),
    # through instruments, in colour
    "retina": _Photo("retina", "retina.jpg"),
    "tissue": _Photo("stained tissue", "ihc.png"),
    "galaxies": _Photo("galaxies", "hubble_deep_field.jpg"),
    # in grey
    "camera": _Photo("photographer", "camera.png"),
    "coins": _Photo("coins", "coins.png"),
    "brick": _Photo("brick wall", "brick.png"),
    "gravel": _Photo("gravel", "gravel.png"),
    "grass": _Photo("grass", "grass.png"),
    "moon": _Photo("moon", "moon.png"),
}
LEFT_OUT = {
    "drawings and computed pictures": ("horse", "logo", "color", "phantom", "cell"),
    "patterns": ("chessboard_GRAY", "chessboard_RGB"),
    "text": ("page", "text"),
    "nearly another one": ("motorcycle_right",),
    "blurred or too small to tell": (
        "clock_motion",
        "microaneurysms",
        "no_time_for_that_tiny",
        "multipage",
        "multipage_rgb",
    ),
}


class Photos(vk.DatasetBase):
    """Sixteen photographs, one of each thing; everyday ones in colour come first."""

    name = "photos"
    rank = 10
    title = "Photographs"
    description = (
        f"{len(PHOTOS)} photographs that scikit-image and scikit-learn bring along, everyday things in colour first. "
        "Their other pictures are left out: "
        + "; ".join(f"{why} ({', '.join(names)})" for why, names in LEFT_OUT.items())
        + "."
    )
    source = "the data folders of the installed scikit-image and scikit-learn; see skimage.data for each picture's story"
    licence = (
        "free to share: public domain, CC0 or without known restrictions; flower (vultilion) and china (danielbuechele) "
        "are CC BY 2.0; motorcycle is from the Middlebury 2014 stereo benchmark (Scharstein and others)"
    )

    def ids(self) -> Sequence[str]:
        """Short names, the cat's first."""
        return tuple(PHOTOS)

    def labels(self) -> Sequence[str | None]:
        """What is to be seen."""
        return tuple(photo.label for photo in PHOTOS.values())

    def content(self, id: str) -> Path:
        """The file in the installed package."""
        return PHOTOS[id].path


@vk.hookimpl
def register_datasets() -> Iterable[vk.Dataset]:
    """`photos`."""
    return [Photos()]
