"""Every mistake a person can make: one clear line with what was wrong, what is allowed and the next step; nothing lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from PIL import Image
from pydantic import Field

import vizkit as vk
from tests.inline import Blocks, Squares, plugin
from vizkit.cli import main

Make = Callable[..., vk.Workspace]
Shell = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-c", "from vizkit.cli import entry; entry()"]


@vk.technique("look", title="Look", question="What is there?")
def look(
    model: vk.ModelAdapter,
    images: vk.ImageBatch,
    *,
    layer: Annotated[str, vk.Layer(spatial=True)],
    query: vk.QueryImage,
    label: vk.ClassIndex,
    top: Annotated[int, Field(ge=1, le=50)] = 5,
) -> vk.Result:
    """The mean of a layer, and the first names."""
    values = model.activations(images, [layer], pool="mean")[layer].values.mean(0)
    return vk.Result(vk.Bars("Mean", values, [f"channel {c}" for c in range(len(values))]), summary=f"{len(images)} images")


@vk.technique("steep", title="Steepness", question="How steep?", needs={"gradients"})
def steep(model: vk.ModelAdapter, images: vk.ImageBatch) -> vk.Result:
    return vk.Result(vk.Note("steep"))


@pytest.fixture
def space(make_workspace: Make) -> vk.Workspace:
    import vizkit_folder

    return make_workspace(plugin("p", models=[Blocks()], datasets=[Squares()], techniques=[look, steep]), vizkit_folder)


@pytest.fixture
def shell(space: vk.Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("vizkit.workspace.Workspace", lambda: space)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def left_behind(space: vk.Workspace) -> list[str]:
    """Files in the cache and the home, other than an empty tmp."""
    return [str(p) for root in (space.store.root, space.home.root) for p in root.rglob("*") if p.is_file()]


LAYERS = "See: vizkit list layers blocks"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lokk"], "There is no technique 'lokk'. Did you mean 'look'? See: vizkit list techniques"),
        (["look", "--model", "block"], "There is no model 'block'. Did you mean 'blocks'? See: vizkit list models"),
        (["look", "--dataset", "sqares"],
         "There is no dataset 'sqares'. Did you mean 'squares'? See: vizkit list datasets"),
        (["look", "--dataset", "floder:x"], "Nothing opens 'floder'. Did you mean 'folder'? For example: folder:PATH"),
        (["look", "--layer", "cels"], f"blocks has no layer 'cels'. Did you mean 'cells'? {LAYERS}"),
        (["look", "--layer", "mean"],
         "layer cannot be 'mean': it gives 3 values without rows and columns, and a layer with rows and columns is needed."
         f" Try 'bright'. {LAYERS}"),
        (["look", "--label", "bleu"],
         "blocks has no class 'bleu'. Did you mean 'blue'? label is a name, or an index from 0 to 2."),
        (["look", "--top", "0"], "top is 0; it must be a whole number from 1 to 50. See: vizkit run look --help"),
        (["look", "--top", "51"], "top is 51; it must be a whole number from 1 to 50. See: vizkit run look --help"),
        (["look", "--query", "squares/x"],
         "squares has no image 'x'. There are: 0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007, …."),
        (["look", "--query", "nothing.png"],
         "There is no image 'nothing.png'. Give a file, or a reference such as photos/chelsea."),
        (["look", "--query", "upload/123"], "There is no upload '123': it was removed, or made on another machine."),
        (["look", "--query", "result/123/0"],
         "There is no picture result/123/0: its result is no longer in the cache. Run it again."),
        (["look", "--images", "squares/0001", "--images", "squares/zz"],
         "squares has no image 'zz'. There are: 0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007, …."),
        (["steep"], "Steepness needs gradients, which blocks does not offer."),
    ],
)  # fmt: skip
def test_one_line_and_nothing_half_written(shell: Shell, space: vk.Workspace, arguments: list[str], said: str) -> None:
    assert shell("run", *arguments) == (2, "", f"vizkit: {said}\n")
    assert left_behind(space) == []


def test_a_metric_that_is_none(registry: vk.Registry) -> None:
    search: Any = registry.technique("search")
    with pytest.raises(vk.InvalidParameter) as caught:
        search.signature.validate({"metric": "cosin"})
    assert caught.value.fields == {
        "metric": "metric is 'cosin'; it must be one of cosine, euclidean, sqeuclidean, minkowski, manhattan, correlation,"
        " chebyshev. Did you mean 'cosine'? See: vizkit run search --help"
    }


# --- pictures


def bomb(path: Path) -> None:
    """A picture of a few bytes that says it has ten thousand million pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "bomb"])
def test_a_file_that_is_no_picture(shell: Shell, space: vk.Workspace, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "pic ture.png"
    Image.effect_noise((64, 64), 50).save(file)
    if kind == "text":
        file.write_text("This is no picture.")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        bomb(file)
    code, text, errors = shell("run", "look", "--query", str(file))
    assert (code, text) == (2, "")
    assert errors.count("\n") == 1
    assert "vizkit opens JPEG, PNG, WebP, BMP, TIFF and GIF of at most 80 million pixels" in errors
    assert "choose another picture" in errors
    assert left_behind(space) == []


def test_a_picture_is_not_kept_for_a_run_that_cannot_be(shell: Shell, space: vk.Workspace, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    assert shell("run", "look", "--query", str(tmp_path / "x.png"), "--top", "0")[0] == 2
    assert left_behind(space) == []


def test_a_folder_is_no_picture(shell: Shell, tmp_path: Path) -> None:
    said = f"There is no image '{tmp_path}'. Give a file, or a reference such as photos/chelsea."
    assert shell("run", "look", "--query", str(tmp_path)) == (2, "", f"vizkit: {said}\n")


# --- folders


def test_an_empty_folder(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "leer und allein ✓"
    folder.mkdir()
    said = f"The folder {folder} holds no pictures: it is empty. Put JPEG, PNG, WebP, BMP, TIFF or GIF files there."
    for command in (["run", "look", "--dataset", f"folder:{folder}"], ["add", str(folder)]):
        assert shell(*command) == (2, "", f"vizkit: {said}\n")


def test_a_folder_that_is_not_there_or_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place, what in (("gone", "does not exist"), ("file", "is a file, not a folder")):
        code, _, errors = shell("run", "look", "--dataset", f"folder:{tmp_path / place}")
        assert code == 2
        assert errors == (
            f"vizkit: The folder {tmp_path / place} {what}. Name a folder of pictures, with one subfolder a class or none.\n"
        )


def test_a_folder_with_spaces_and_umlauts_works(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "Meine Bäume 木"
    folder.mkdir()
    Image.new("RGB", (1, 1)).save(folder / "ein Pixel ä.png")
    code, text, errors = shell("run", "look", "--dataset", f"folder:{folder}", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(text)["summary"] == "1 images"


def test_a_search_in_a_folder_of_one_picture(registry: vk.Registry, tmp_path: Path, make_workspace: Make) -> None:
    import vizkit_folder
    import vizkit_search

    Image.new("RGB", (20, 20), (90, 0, 0)).save(tmp_path / "only.png")
    space = make_workspace(plugin("p", models=[Blocks()]), vizkit_folder, vizkit_search)
    result = space.run("search", dataset=f"folder:{tmp_path}")
    (note,) = [v for v in result.views if isinstance(v, vk.Note)][:1]
    name = space.registry.datasets[next(iter(space.registry.datasets))].name
    assert note.text == f"There is no other image to compare {name}/only.png with."


def test_more_results_than_images(make_workspace: Make) -> None:
    import vizkit_search

    space = make_workspace(plugin("p", models=[Blocks()], datasets=[Squares(4)]), vizkit_search)
    result = space.run("search", top=50)
    grid = next(v for v in result.views if isinstance(v, vk.ImageGrid))
    assert [i.rank for i in grid.items] == [1, 2, 3]
    texts = [v.text for v in result.views if isinstance(v, vk.Note)]
    assert "50 results were asked for; there are 3 other images, and all are shown." in texts


# --- places that cannot be written


def test_an_export_takes_the_place_of_nothing(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    code, _, errors = shell("run", "look", "--out", str(file))
    assert (code, errors) == (2, f"vizkit: {file} is a file. Name a folder for the export.\n")
    assert file.read_text() == "mine"
    folder = tmp_path / "photos of mine"
    folder.mkdir()
    (folder / "cat.jpg").write_text("mine")
    code, text, errors = shell("run", "look", "--out", str(folder))
    assert (code, text) == (2, "")
    assert errors == (
        f"vizkit: {folder} holds other files, 'cat.jpg' among them, which an export would replace."
        " Name a new folder, or one of an earlier export.\n"
    )
    assert [p.name for p in folder.iterdir()] == ["cat.jpg"]
    for _ in range(2):  # an export of our own is replaced
        assert shell("run", "look", "--out", str(tmp_path / "new"))[0] == 0


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc to fail to write to")
def test_an_export_to_a_place_that_cannot_be_written(shell: Shell) -> None:
    code, text, errors = shell("run", "look", "--out", "/proc/vizkit")
    assert (code, text) == (2, "")
    assert errors.startswith("vizkit: The export could not be written to /proc/vizkit: ")
    assert errors.endswith(". Name a folder elsewhere, or make room.\n")


def test_a_full_disk_costs_the_cache_and_not_the_result(
    shell: Shell, space: vk.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    monkeypatch.setattr(os, "rename", full)
    code, text, errors = shell("run", "look", "--json")
    assert code == 0
    assert json.loads(text)["summary"] == "10 images"
    assert set(errors.splitlines()) == {
        "vizkit: Not kept in the cache: No space left on device. Free some space, or set VIZKIT_CACHE to another folder."
    }
    assert left_behind(space) == []
    monkeypatch.undo()


def test_a_full_disk_refuses_an_upload_and_leaves_nothing(
    shell: Shell, space: vk.Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    monkeypatch.setattr(os, "replace", full)
    code, _, errors = shell("run", "look", "--query", str(tmp_path / "x.png"))
    assert code == 2
    assert errors.startswith(f"vizkit: {space.home.root / 'uploads'}/")
    assert errors.endswith(
        "cannot be written: No space left on device. Free some space or set VIZKIT_HOME to another folder.\n"
    )
    assert left_behind(space) == []


def own(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=120)


def test_a_file_in_place_of_the_cache_or_the_home(clean_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    found = own({**clean_env, "VIZKIT_CACHE": str(tmp_path / "file")}, "list", "models", "--json")
    assert found.returncode == 0  # it works, without keeping anything
    assert found.stderr == (
        f"vizkit: The cache {tmp_path / 'file'} cannot be written (Not a directory); results are kept until this process"
        " ends. Set VIZKIT_CACHE to another folder.\n"
    )
    assert json.loads(found.stdout)
    found = own({**clean_env, "VIZKIT_HOME": str(tmp_path / "file")}, "add", str(tmp_path))
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1
    assert str(tmp_path / "file") in found.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("limit", ["much", "nan", "inf", "0", "-1", "", "10 GB"])
def test_a_cache_limit_that_is_no_number(clean_env: dict[str, str], limit: str) -> None:
    found = own({**clean_env, "VIZKIT_CACHE_LIMIT": limit}, "cache", "info")
    assert (found.returncode, found.stdout) == (2, "")
    assert (
        found.stderr == f"vizkit: VIZKIT_CACHE_LIMIT is {limit!r}; it must be a number of gigabytes above 0, such as 10.\n"
    )


# --- damage


def test_a_half_written_entry_is_made_again(shell: Shell, space: vk.Workspace) -> None:
    first = json.loads(shell("run", "look", "--json")[1])
    for damage in ("cut", "json", "gone"):
        for entry in [p.parent for p in space.store.root.rglob("entry.json")]:
            if damage == "gone":
                (entry / "entry.json").unlink()
            elif damage == "json":
                (entry / "entry.json").write_text('{"views": [')
            else:
                for array in entry.glob("*.npy"):
                    array.write_bytes(array.read_bytes()[:-1])
        code, text, errors = shell("run", "look", "--json")
        assert (code, errors) == (0, "")
        again = json.loads(text)
        assert again["views"] == first["views"]
        assert again["provenance"]["key"] == first["provenance"]["key"]


def test_a_technique_that_returns_something_else(make_workspace: Make) -> None:
    @vk.technique("odd", title="Odd", question="?")
    def odd(*, top: int = 1) -> vk.Result:
        return [1, 2]  # type: ignore[return-value]

    with pytest.raises(vk.VizkitError) as caught:
        make_workspace(plugin("p", techniques=[odd])).run("odd")
    assert str(caught.value) == "odd returned list; a technique returns a vizkit.Result."


def test_nothing_is_installed(make_workspace: Make) -> None:
    with pytest.raises(vk.NotFound) as caught:
        make_workspace(plugin("p", techniques=[look])).run("look")
    assert str(caught.value) == "No model is installed. See: vizkit plugins"
    with pytest.raises(vk.NotFound) as caught:
        make_workspace(plugin("p", models=[Blocks()], techniques=[look])).run("look")
    assert str(caught.value) == "No dataset is installed. See: vizkit plugins"
