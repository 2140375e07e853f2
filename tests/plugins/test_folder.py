"""`folder:PATH`: what a person's own folder becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
import vizkit_folder
from PIL import Image

import vizkit as vk


@pytest.fixture
def opener() -> vk.DatasetOpener:
    (found,) = vizkit_folder.register_datasets()
    return found


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png"):
        (tmp_path / "My Pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), "red").save(tmp_path / "My Pets" / name)
    (tmp_path / "My Pets/dogs/notes.txt").write_text("good dog")
    return tmp_path / "My Pets"


def test_the_opener_is_one(opener: vk.DatasetOpener) -> None:
    assert isinstance(opener, vk.DatasetOpener)
    assert not isinstance(opener, vk.Dataset)
    assert opener.scheme == "folder"


def test_a_folder_is_called_by_its_name_and_not_by_its_path(opener: vk.DatasetOpener, pets: Path) -> None:
    dataset = opener.open(str(pets))
    assert (dataset.name, dataset.title) == ("my-pets", "My Pets")
    assert dataset.ids() == ("cats/1.png", "cats/2.png", "dogs/1.png")
    assert dataset.labels() == ("cats", "cats", "dogs")
    assert dataset.skipped() == (("dogs/notes.txt", "is not a picture of a kind that vizkit opens"),)
    batch = dataset.images(dataset.ids(), (4, 4))
    assert str(batch.refs[0]) == "my-pets/cats/1.png"
    assert not any(str(pets.parent) in text for text in (dataset.title, dataset.description, dataset.source))


def test_a_folder_may_be_given_another_name(opener: vk.DatasetOpener, pets: Path) -> None:
    assert opener.open(str(pets), "zoo").name == "zoo"
    with pytest.raises(vk.VizkitError, match=r"'The Zoo' cannot name a dataset.*Try 'the-zoo'\.$"):
        opener.open(str(pets), "The Zoo")


def test_home_and_relative_paths(opener: vk.DatasetOpener, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pets.parent))
    monkeypatch.chdir(pets)
    one, two, three = opener.open("~/My Pets"), opener.open("."), opener.open(f"{pets}/")
    assert {d.name for d in (one, two, three)} == {"my-pets"}
    assert isinstance(one, vk.ImageFolder)
    assert isinstance(two, vk.ImageFolder)
    assert one.origin == two.origin == f"folder:{pets}"
    assert one.fingerprint() == two.fingerprint() == three.fingerprint()


def test_opening_looks_at_nothing_yet(opener: vk.DatasetOpener, tmp_path: Path) -> None:
    assert opener.open(str(tmp_path / "nowhere")).name == "nowhere"


def test_what_cannot_be_opened_is_said(opener: vk.DatasetOpener, tmp_path: Path) -> None:
    with pytest.raises(vk.VizkitError, match=r"^folder: lacks a path\. Write folder:PATH"):
        opener.open(" ")
    with pytest.raises(vk.VizkitError, match="does not exist"):
        opener.open(str(tmp_path / "nowhere")).ids()
    with pytest.raises(vk.VizkitError, match="holds no pictures: it is empty"):
        opener.open(str(tmp_path)).ids()
