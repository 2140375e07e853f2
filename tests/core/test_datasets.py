"""Datasets: what is listed, in which order, under which hash, and what is said of files that are no pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

import vizkit.datasets as datasets
from vizkit.datasets import (
    Dataset,
    DatasetBase,
    ImageFolder,
    package_file,
    slug,
    thumbnail_side,
)
from vizkit.errors import BadImage, NotFound, VizkitError
from vizkit.images import Geometry
from vizkit.types import ImageRef


def put(path: Path, colour: tuple[int, int, int] | None = None, side: int = 8, seed: int = 0) -> Path:
    """A picture file: of one colour, or noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    (Image.fromarray(noise) if colour is None else Image.new("RGB", (side, side), colour)).save(path)
    return path


class Two(DatasetBase):
    """Two pictures in memory, red and blue."""

    name, title, description, source, licence = "two", "Two", "Red and blue.", "made here", "CC0"

    def __init__(self, labels: Sequence[str | None] = ("warm", "cold"), geometry: Geometry | None = None) -> None:
        self._labels = labels
        if geometry:
            self.geometry = geometry
        self.red = np.full((4, 4, 3), (255, 0, 0), np.uint8)

    def ids(self) -> Sequence[str]:
        return ("red", "blue")

    def labels(self) -> Sequence[str | None]:
        return self._labels

    def content(self, id: str) -> NDArray[np.uint8]:
        return self.red if id == "red" else np.full((4, 4, 3), (0, 0, 255), np.uint8)


def test_a_stranger_s_dataset_satisfies_the_protocol() -> None:
    two: Dataset = Two()
    assert isinstance(two, Dataset)
    batch = two.images(["blue", "red"], (2, 3))
    assert batch.refs == (ImageRef("two", "blue"), ImageRef("two", "red"))
    assert batch.labels == ("cold", "warm")
    expected = np.stack([np.full((2, 3, 3), colour, np.uint8) for colour in ((0, 0, 255), (255, 0, 0))])
    np.testing.assert_array_equal(batch.pixels, expected)


def test_content_may_be_a_file_its_bytes_or_pixels(tmp_path: Path) -> None:
    file = put(tmp_path / "a.png", seed=3)
    held: dict[str, Path | bytes | NDArray[np.uint8]] = {
        "file": file,
        "bytes": file.read_bytes(),
        "pixels": np.asarray(Image.open(file)),
        "grey": np.full((8, 8), 7, np.uint8),
    }

    class Held(Two):
        def ids(self) -> Sequence[str]:
            return tuple(held)

        def labels(self) -> Sequence[str | None]:
            return DatasetBase.labels(self)

        def content(self, id: str) -> Path | bytes | NDArray[np.uint8]:  # type: ignore[override]
            return held[id]

    batch = Held().images(tuple(held), (8, 8))
    assert batch.labels == (None,) * 4
    assert batch.hashes[0] == batch.hashes[1]
    np.testing.assert_array_equal(batch.pixels[0], batch.pixels[1])
    np.testing.assert_array_equal(batch.pixels[0], batch.pixels[2])
    np.testing.assert_array_equal(batch.pixels[3], np.full((8, 8, 3), 7, np.uint8))


def test_an_unknown_id_has_a_suggestion() -> None:
    with pytest.raises(NotFound, match=r"^two has no image 'blu'\. Did you mean 'blue'\?$"):
        Two().images(["red", "blu"], (8, 8))
    with pytest.raises(VizkitError, match="at least 1 x 1 pixels; 0 x 8"):
        Two().images(["red"], (0, 8))


def test_a_fingerprint_covers_labels_order_content_and_framing() -> None:
    class Reversed(Two):
        def ids(self) -> Sequence[str]:
            return ("blue", "red")

    changed = Two()
    changed.red = changed.red.copy()
    changed.red[0, 0, 0] -= 1
    sets = [Two(), Two(("cold", "warm")), Two((None, None)), Two(geometry=Geometry("stretch")), Reversed(), changed]
    sets.append(Two(geometry=Geometry(margin=31)))
    assert len({s.fingerprint() for s in sets}) == len(sets)
    assert Two().fingerprint() == Two().fingerprint()


def test_an_image_s_hash_covers_content_framing_and_size_but_not_its_label() -> None:
    def hashed(dataset: Two, size: tuple[int, int] = (8, 8)) -> str:
        return dataset.images(["red"], size).hashes[0]

    assert hashed(Two()) == hashed(Two(("x", "y")))
    assert len({hashed(Two()), hashed(Two(), (8, 9)), hashed(Two(geometry=Geometry(margin=0)))}) == 3


def test_a_folder_has_subfolders_as_labels_in_natural_order(tmp_path: Path) -> None:
    names = ["10.png", "9.png", "cats/tom 2.png", "cats/tom 10.png", "Cats/a.png", "dogs/small/rex.png", "zoë/ü_1#2%3.png"]
    for k, name in enumerate(names):
        put(tmp_path / name, seed=k)
    put(tmp_path / ".hidden.png")
    put(tmp_path / ".thumbnails/a.png")
    folder = ImageFolder(tmp_path, "pets")
    assert dict(zip(folder.ids(), folder.labels(), strict=True)) == {
        "9.png": None,
        "10.png": None,
        "Cats/a.png": "Cats",
        "cats/tom 2.png": "cats",
        "cats/tom 10.png": "cats",
        "dogs/small/rex.png": "dogs",
        "zoë/ü_1#2%3.png": "zoë",
    }
    assert list(folder.ids())[:2] == ["9.png", "10.png"]
    assert list(folder.ids()).index("cats/tom 2.png") < list(folder.ids()).index("cats/tom 10.png")
    assert folder.skipped() == ()
    batch = folder.images(folder.ids(), (8, 8))
    assert ImageRef.parse(str(batch.refs[-1])) == ImageRef("pets", "zoë/ü_1#2%3.png")
    np.testing.assert_array_equal(
        folder.images(["zoë/ü_1#2%3.png"], (8, 8)).pixels[0],
        np.asarray(Image.open(tmp_path / "zoë/ü_1#2%3.png").resize((40, 40), Image.Resampling.BICUBIC))[16:24, 16:24],
    )


def test_files_that_are_no_pictures_are_skipped_with_their_reason(tmp_path: Path) -> None:
    put(tmp_path / "good.png")
    (tmp_path / "notes.txt").write_text("buy milk")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(put(tmp_path / "x.png", side=64).read_bytes()[:5000])
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "new\nline.png").write_bytes((tmp_path / "good.png").read_bytes())
    os.mkfifo(tmp_path / "pipe")
    folder = ImageFolder(tmp_path, "mixed")
    assert folder.ids() == ("good.png", "x.png")
    reasons = dict(folder.skipped())
    assert reasons.pop("cut.png").startswith("is cut short or damaged (")
    assert reasons == {
        "notes.txt": "is not a picture of a kind that vizkit opens",
        "empty.jpg": "is empty",
        "link.png": "is a link to nothing",
        "round": "is a link to a folder",
        "'new\\nline.png'": "has control characters or broken letters in its name",
        "pipe": "is not a file but a device or pipe",
    }
    with pytest.raises(BadImage, match=r"^mixed/empty\.jpg is empty\."):
        folder.images(["empty.jpg"], (8, 8))


def test_a_folder_with_nothing_to_show_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(VizkitError, match=r"^The folder .*gone does not exist\. Name a folder of pictures"):
        ImageFolder(tmp_path / "gone", "gone").ids()
    with pytest.raises(VizkitError, match=r"holds no pictures: it is empty\. Put JPEG, PNG, .* files there\.$"):
        ImageFolder(tmp_path, "empty").ids()
    (tmp_path / "notes.txt").write_text("buy milk")
    with pytest.raises(VizkitError, match=r"none among its 1 files can be opened \(notes\.txt is not a picture"):
        ImageFolder(tmp_path, "words").fingerprint()
    with pytest.raises(VizkitError, match=r"notes\.txt is a file, not a folder"):
        ImageFolder(tmp_path / "notes.txt", "file").ids()


def test_a_folder_of_one(tmp_path: Path) -> None:
    put(tmp_path / "only.png", (1, 2, 3), side=1)
    folder = ImageFolder(tmp_path, "one")
    assert (folder.ids(), folder.labels()) == (("only.png",), (None,))
    np.testing.assert_array_equal(folder.images(["only.png"], (5, 6)).pixels, np.full((1, 5, 6, 3), (1, 2, 3), np.uint8))


def test_a_name_is_fit_for_a_url() -> None:
    assert [slug(t) for t in ("My Cats!", "Zoë_2", "../..", "猫", "a.b-c")] == [
        "my-cats",
        "zoe_2",
        "images",
        "images",
        "a.b-c",
    ]
    with pytest.raises(VizkitError, match=r"'My Cats' cannot name a dataset.*Try 'my-cats'"):
        ImageFolder(".", "My Cats")


def test_touching_a_file_changes_no_fingerprint_and_changing_a_byte_does(tmp_path: Path) -> None:
    file = put(tmp_path / "a.bmp")
    folder = ImageFolder(tmp_path, "f")
    before = folder.fingerprint()
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert folder.fingerprint() == before
    assert ImageFolder(tmp_path, "another-name").fingerprint() == before
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert folder.fingerprint() != before
    data[-1] ^= 1
    file.write_bytes(data)
    assert folder.fingerprint() == before


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    file = put(tmp_path / "a.bmp", (1, 1, 1))
    folder, now = ImageFolder(tmp_path, "f"), time.time_ns()
    os.utime(file, ns=(now, now))
    before = folder.images(["a.bmp"], (8, 8)).hashes
    put(file, (2, 2, 2))
    os.utime(file, ns=(now, now))  # the same size and time as before
    assert folder.images(["a.bmp"], (8, 8)).hashes != before


def test_a_moved_file_or_another_folder_name_changes_labels_and_fingerprint(tmp_path: Path) -> None:
    put(tmp_path / "one/cats/a.png")
    put(tmp_path / "two/dogs/a.png")
    one, two = ImageFolder(tmp_path / "one", "f"), ImageFolder(tmp_path / "two", "f")
    assert one.fingerprint() != two.fingerprint()
    assert one.images(one.ids(), (8, 8)).content == two.images(two.ids(), (8, 8)).content


def test_hashing_decodes_nothing_and_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(20):
        put(tmp_path / f"{k}.jpg", seed=k)
    time.sleep(0.06)  # what is known of a brand-new file is not kept
    decoded: list[object] = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image) or load(image))
    hashed: list[Path] = []
    monkeypatch.setattr(datasets, "_sha256", lambda path, sha256=datasets._sha256: hashed.append(path) or sha256(path))
    folder = ImageFolder(tmp_path, "lazy")
    batch = folder.images(folder.ids(), (32, 32))
    assert batch.fingerprint == folder.images(folder.ids(), (32, 32)).fingerprint
    folder.fingerprint()
    assert (len(decoded), len(hashed)) == (0, 20)
    assert batch[3:5].pixels.shape == (2, 32, 32, 3)
    assert len(set(map(id, decoded))) == 2


def test_pixels_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for k in range(12):
        put(tmp_path / f"{k}.png", (k, k, k))
    folder = ImageFolder(tmp_path, "f")
    ids = [f"{k}.png" for k in (7, 3, 3, 11, 0)]
    assert folder.images(ids, (4, 4)).pixels[:, 0, 0, 0].tolist() == [7, 3, 3, 11, 0]


def test_damage_that_only_decoding_meets_is_named_and_then_left_out(tmp_path: Path) -> None:
    for k in range(4):
        put(tmp_path / f"{k}.webp", seed=k, side=64)
    folder = ImageFolder(tmp_path, "f")
    batch = folder.images(folder.ids(), (8, 8))
    before = folder.fingerprint()
    for name in ("1.webp", "2.webp"):  # whole when listed, damaged now
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:900])
    with pytest.raises(BadImage, match=r"^f/1\.webp is (cut short|not a picture).*; save it again"):
        _ = batch.pixels
    assert folder.ids() == ("0.webp", "3.webp")
    assert [name for name, _ in folder.skipped()] == ["1.webp", "2.webp"]
    assert folder.images(folder.ids(), (8, 8)).pixels.shape == (2, 8, 8, 3)
    assert folder.fingerprint() != before


def test_a_file_that_goes_away_is_named_and_then_left_out(tmp_path: Path) -> None:
    put(tmp_path / "cats/a.png")
    put(tmp_path / "dogs/a.png")
    folder = ImageFolder(tmp_path, "f")
    batch = folder.images(folder.ids(), (8, 8))
    (tmp_path / "dogs/a.png").unlink()
    with pytest.raises(BadImage, match=r"^f/dogs/a\.png is no longer there\. vizkit opens"):
        folder.fingerprint()
    assert (folder.ids(), folder.skipped()) == (("cats/a.png",), (("dogs/a.png", "is no longer there"),))
    with pytest.raises(BadImage, match=r"^f/dogs/a\.png is no longer there"):
        _ = batch.pixels


def test_a_file_of_an_installed_package_is_found_without_importing_it() -> None:
    assert package_file("pytest", "py.typed").read_bytes() == b""
    with pytest.raises(VizkitError, match=r"no-such is not installed\. Install it with: pip install no-such$"):
        package_file("nosuch", "a.png", distribution="no-such")
    with pytest.raises(VizkitError, match=r"pytest carries no file a\.png here\. .*--force-reinstall pytest$"):
        package_file("pytest", "a.png")


@pytest.mark.parametrize(("wanted", "side"), [(1, 64), (64, 64), (65, 96), (200, 224), (225, 448), (4000, 448)])
def test_thumbnails_come_in_a_few_sizes(wanted: int, side: int) -> None:
    assert thumbnail_side(wanted) == side
