"""Files and uploads into right-looking RGB pixels, safely; and pixels into the frame that a model sees."""

from __future__ import annotations

import io
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import BadImage
from vizkit.types import Size

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What vizkit opens, as Pillow names it. None of them is a program (PostScript) or calls one."""
MAX_PIXELS = 80_000_000
"""The largest picture that is decoded, width x height. A decoded pixel takes three bytes."""
ALLOWED = f"vizkit opens JPEG, PNG, WebP, BMP, TIFF and GIF of at most {MAX_PIXELS // 1_000_000} million pixels"

_EXTREME = 16  # a picture whose long side is this many times what the frame needs is cut to it before it is resized
_UPRIGHT = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
            7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
_LOCK = threading.Lock()  # warnings.catch_warnings changes the whole process, so only one of ours at a time


class Unreadable(BadImage):
    """A picture that cannot be opened. `reason` is the middle of the sentence, such as 'is empty'."""

    def __init__(self, what: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{what} {reason}. {ALLOWED}; save it again as one of these, or choose another picture.")


@dataclass(frozen=True)
class Geometry:
    """How a picture of any shape becomes (h, w) pixels. `str()` of it is stable and enters every hash.

    - `crop`: resized until it covers (h + margin, w + margin), keeping its shape, and the centre (h, w) cut out: for a
      square, the short side becomes size + margin. This is how the ImageNet validation pictures are framed.
    - `stretch`: resized to exactly (h, w), whatever its shape; the margin is not used.
    """

    rule: Literal["crop", "stretch"] = "crop"
    margin: int = 32
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise ValueError(f"a margin is 0 pixels or more, not {self.margin}")

    def __str__(self) -> str:
        return f"stretch {self.resampling}" if self.rule == "stretch" else f"crop +{self.margin} {self.resampling}"


IMAGENET_FRAME = Geometry()
"""Short side to size + 32 by bicubic resampling, then the centre."""


def open_image(source: Path | bytes) -> Image.Image:
    """The picture in a file, or in the bytes of one, as an upright RGB image; BadImage where there is none to be had.

    Of an animation it is the first frame, of several pages the first. Orientation is taken from EXIF. Transparent parts
    lie on white. Grey of 12 or 16 bits is scaled to 8, not clipped. CMYK is converted without its colour profile, and
    no other profile is applied either, since no network was trained with one. The size is read and judged before any
    pixel is decoded. Damaged metadata are no reason to refuse: the picture is then taken as it lies.
    """
    with _explained(source), _header(source) as image:
        image.load()
        orientation = _orientation(image)
        rgb = _rgb(image)
    return rgb.transpose(_transposition(orientation)) if orientation in _UPRIGHT else rgb


def fault(path: Path) -> str | None:
    """Why a file cannot be opened as a picture, or None: as surely as can be known without decoding every picture.

    The header is read always and a PNG's checksums too. Of other formats the end is looked at, and a file that does not
    end as it should is decoded to see. What is left is damage inside a file that is complete, which decoding may meet.
    """
    try:
        with _explained(path), _header(path) as image:
            if image.format == "PNG":
                image.verify()
            elif not _complete(image, path):
                image.load()
    except Unreadable as error:
        return error.reason
    return None


def fit(image: Image.Image, size: Size, geometry: Geometry = IMAGENET_FRAME) -> NDArray[np.uint8]:
    """An RGB image in a frame of (height, width) pixels: uint8 (h, w, 3). A picture of one pixel fills the frame."""
    from PIL import Image

    height, width = size
    resampling = Image.Resampling[geometry.resampling.upper()]
    if geometry.rule == "stretch":
        return np.asarray(image.resize((width, height), resampling))
    image = _without_far_ends(image, size)
    scale = max((height + geometry.margin) / image.height, (width + geometry.margin) / image.width)
    wide, high = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    left, top = (wide - width) // 2, (high - height) // 2
    resized = image.resize((wide, high), resampling) if (wide, high) != image.size else image
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def encode_thumbnail(pixels: NDArray[np.uint8], side: int | None = None) -> bytes:
    """Pixels, uint8 (h, w, 3), as a small WebP file, of side x side where that is given: equal pixels give equal bytes."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if side is not None and image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82, method=4)
    return file.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's remarks on metadata do not reach a person; its warning of a decompression bomb is an error."""
    from PIL import Image

    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _header(source: Path | bytes) -> Iterator[Image.Image]:
    """The undecoded image, of an allowed format and size."""
    from PIL import Image

    if isinstance(source, Path) and stat.S_ISDIR(source.stat().st_mode):
        raise _Fault("is a folder")
    if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
        raise _Fault("is not a file but a device or pipe")
    if (source.stat().st_size if isinstance(source, Path) else len(source)) == 0:
        raise _Fault("is empty")
    with _quiet():
        image = Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS)
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _Fault(f"has {image.width * image.height:,} pixels ({image.width} x {image.height})")
        if image.width * image.height == 0:
            raise _Fault("has no pixels")
        yield image


class _Fault(Exception):
    """A reason on its way to become an Unreadable."""


@contextmanager
def _explained(source: Path | bytes) -> Iterator[None]:
    """Whatever a decoder raises, as one sentence about this file."""
    from PIL import Image, UnidentifiedImageError

    what = source.name if isinstance(source, Path) else "This upload"
    try:
        yield
    except MemoryError:
        raise
    except _Fault as error:
        raise Unreadable(what, str(error)) from None
    except UnidentifiedImageError:
        raise Unreadable(what, "is not a picture of a kind that vizkit opens") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        raise Unreadable(what, f"has {int(pixels[0]):,} pixels" if pixels else "has too many pixels") from error
    except FileNotFoundError as error:
        raise Unreadable(what, "is no longer there") from error
    except PermissionError as error:
        raise Unreadable(what, "may not be read by you") from error
    except Exception as error:  # a decoder that meets a hostile file raises nearly anything
        detail = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(what, f"is cut short or damaged ({detail})") from error


def _complete(image: Image.Image, path: Path) -> bool:
    """Whether a file ends where its format says that it ends. False means: not known, decode it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(max(0, size - 64))
        tail = file.read().rstrip(b"\0")
    if image.format in ("JPEG", "MPO"):
        return tail.endswith(b"\xff\xd9")
    if image.format == "GIF":
        return tail.endswith(b";")
    if image.format == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    return False


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation of a decoded image, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        with _quiet():
            return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata, of which the pixels know nothing
        return 1


def _transposition(orientation: int) -> Image.Transpose:
    from PIL import Image

    return Image.Transpose[_UPRIGHT[orientation]]


def _rgb(image: Image.Image) -> Image.Image:
    """A decoded image of any mode in RGB."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _deep_grey(image).convert("RGB")
    if image.mode in ("I", "F"):
        raise _Fault(f"holds numbers ({image.mode}, 32 bits a pixel) with no agreed black and white")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of up to 16 bits, black to white, in 8 bits: round(255 * value / largest)."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})  # a TIFF's: 258 bits a sample, 262 the photometric interpretation
    largest = 2 ** int(np.ravel(tags.get(258, 16))[0]) - 1
    values = np.asarray(image).astype(np.uint32)
    grey = ((values * 255 + largest // 2) // largest).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(262) == 0 else grey)


def _without_far_ends(image: Image.Image, size: Size) -> Image.Image:
    """A very long and thin picture without the ends that a crop never reaches, which resizing would blow up."""
    height, width = size
    scale = max(height / image.height, width / image.width)
    keep_w = min(image.width, max(1, round(_EXTREME * width / scale)))
    keep_h = min(image.height, max(1, round(_EXTREME * height / scale)))
    if (keep_w, keep_h) == image.size:
        return image
    left, top = (image.width - keep_w) // 2, (image.height - keep_h) // 2
    return image.crop((left, top, left + keep_w, top + keep_h))
