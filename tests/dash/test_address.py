"""What an address asks for is checked like everything else, and never opens a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vizkit_dash.choice import Choice, known_image, request

import vizkit as vk
from tests.dash.conftest import Site, done, query, ranked


@pytest.mark.parametrize(
    ("asked", "field", "sentence"),
    [
        ("metric=cosin", "metric", "it must be one of cosine,"),
        ("top=0", "top", "it must be a whole number from 1 to 1000."),
        ("top=many", "top", "it must be a whole number"),
        ("layer=nope", "layer", "efficientnet-lite0 has no layer 'nope'."),
        ("model=resnet", "model", "There is no model 'resnet'."),
        ("dataset=folder:/etc", "dataset", "There is no dataset 'folder:/etc'."),
        ("p=seven", "p", "it must be a number from 0.1 to 20."),
    ],
)
def test_a_wrong_value_has_its_sentence_under_its_field(
    live_app: Site, browse: Callable[..., Any], workspace: vk.Workspace, asked: str, field: str, sentence: str
) -> None:
    page = browse(f"{live_app.url}/search?{asked}")
    error = page.wait_for_selector(f"[data-field={field}] .vk-error", state="attached")
    assert sentence in error.text_content()
    if field not in ("model", "dataset"):  # the text of the command line, without its hint
        with pytest.raises(vk.InvalidParameter) as caught:
            workspace.run("search", **{field: asked.partition("=")[2]})
        assert error.text_content() == caught.value.fields[field].partition(" See: vizkit run")[0]
    assert page.locator("[data-field] .vk-error").count() == 1
    assert page.locator(".vk-results .vk-cell").count() == 0


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("photos/chelse", "photos has no image 'chelse'. Did you mean 'chelsea'?"),
        ("/etc/passwd", "'/etc/passwd' is not an image reference."),
        ("nowhere/x", "There is no dataset 'nowhere'."),
        ("upload/../../secret", "There is no upload '../../secret'"),
    ],
)
def test_a_wrong_picture_has_its_sentence_in_place_of_it(
    live_app: Site, browse: Callable[..., Any], ref: str, sentence: str
) -> None:
    page = browse(f"{live_app.url}/search?query={ref}")
    assert page.wait_for_selector(".vk-query .vk-error").text_content().startswith(sentence)


def test_several_wrong_values_and_one_unknown(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?metric=cosin&top=-3&utm_source=letter&query=photos/none")
    page.wait_for_selector("[data-field=top] .vk-error")
    assert page.locator(".vk-error").count() == 3
    page.select_option("[data-field=metric] select", "cosine")
    page.wait_for_url("**/search?query=photos/none&top=-3")  # what nobody asked for is gone from the address


def test_a_mended_value_gives_the_result(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos&top=0")
    page.wait_for_selector("[data-field=top] .vk-error")
    page.fill("[data-field=top] input", "3")
    page.press("[data-field=top] input", "Enter")
    done(page)
    assert len(ranked(page)) == 3
    assert page.locator(".vk-error").count() == 0


def test_a_copied_link_shows_the_same_picture(live_app: Site, browse: Callable[..., Any]) -> None:
    address = f"{live_app.url}/search?dataset=photos&query=photos/coffee&layer=block9_add&metric=minkowski&top=4&p=1.5"
    first, second = browse(address), browse(address)
    for page in (first, second):
        done(page)
        assert query(page) == "photos/coffee"
    assert ranked(first) == ranked(second)
    assert len(ranked(first)) == 4


def test_a_page_that_is_not_there(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/nothing")
    page.wait_for_selector("text=There is no page 'nothing'.")
    page.click("main a >> text=Find alike")
    page.wait_for_url("**/search")
    page.wait_for_selector(".vk-panel")


def test_a_choice_round_trips_through_its_address(workspace: vk.Workspace) -> None:
    choice = Choice("search", "efficientnet-lite1", "photos", {"query": "photos/coffee", "top": 7, "p": 2.5})
    again = Choice.from_query("search", choice.query())
    assert (again.model, again.dataset) == (choice.model, choice.dataset)
    assert request(workspace, again).key == request(workspace, choice).key


def test_what_equals_its_default_leaves_the_address(workspace: vk.Workspace) -> None:
    choice = Choice("search", params={"metric": "euclidean"})
    assert choice.changed(workspace, "metric", "cosine") == Choice("search")
    assert choice.changed(workspace, "dataset", workspace.dataset().name).dataset is None


def test_a_new_model_keeps_the_layer_where_it_has_one(workspace: vk.Workspace) -> None:
    choice = Choice("search", params={"layer": "block2_add", "query": "photos/coffee"})
    assert choice.changed(workspace, "model", "efficientnet-lite1").params.get("query") == "photos/coffee"
    assert choice.changed(workspace, "dataset", "digits-200").params == {"layer": "block2_add"}


def test_no_file_is_opened(workspace: vk.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    file = tmp_path / "photos" / "secret.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)
    monkeypatch.chdir(tmp_path)
    for text in (str(file), "photos/secret.png", "secret.png", "upload/x/../y", "result/../0", "folder:photos/secret.png"):
        with pytest.raises(vk.VizkitError):
            known_image(workspace, text)
        with pytest.raises(vk.InvalidParameter) as caught:
            request(workspace, Choice("search", params={"query": text}))
        assert list(caught.value.fields) == ["query"]
    assert not list((workspace.home.root / "uploads").glob("*"))
