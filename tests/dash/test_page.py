"""The page of a technique as a person uses it, against what the same technique gives in Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import vizkit as vk
from tests.dash.conftest import Site, asks, done, query, ranked, until


def ids(result: vk.Result) -> list[str]:
    grid = next(v for v in result.views if isinstance(v, vk.ImageGrid))
    return [item.id for item in grid.items]


def test_the_cat_is_searched_before_any_click(live_app: Site, browse: Callable[..., Any], workspace: vk.Workspace) -> None:
    page = browse(live_app.url)
    done(page)
    assert page.inner_text(".vk-caption strong") == "cat"
    assert len(ranked(page)) == 15
    assert ranked(page) == ids(workspace.run("search"))
    large = page.locator(".vk-large")
    assert large.get_attribute("alt") == "cat"
    assert large.evaluate("image => image.complete && image.naturalWidth") == 448
    assert "Search score" in page.inner_text(".vk-headlines")
    assert "100 · (1 − d" in page.inner_text(".vk-view .vk-note")


def test_each_result_shows_what_python_says(live_app: Site, browse: Callable[..., Any], workspace: vk.Workspace) -> None:
    page = browse(f"{live_app.url}/search?layer=block2_add")
    done(page)
    result = workspace.run("search", layer="block2_add")
    grid = next(v for v in result.views if isinstance(v, vk.ImageGrid))
    own = workspace.dataset()
    label = dict(zip(own.ids(), own.labels(), strict=True))
    asked = label[query(page).partition("/")[2]]
    assert {item.same_class for item in grid.items} == {True, False}  # both marks are on this page
    for cell, item in zip(page.query_selector_all(".vk-results .vk-cell"), grid.items, strict=True):
        said = cell.get_attribute("aria-label")
        assert f"{item.rank}: {item.label}, {item.similarity:.1f} % similar" in said
        assert cell.query_selector(".vk-percent").inner_text() == f"{item.similarity:.1f} %"
        bar, fill = (cell.query_selector(s).bounding_box()["width"] for s in (".vk-bar", ".vk-fill"))
        assert fill / bar * 100 == pytest.approx(item.similarity, abs=1)
        mark = cell.query_selector(".vk-mark")
        same = label[item.id.partition("/")[2]] == asked
        assert mark.inner_text().split() == (["✓", "same"] if same else ["–", "other"])
        assert ("same class" in said) == same
        assert cell.query_selector("img").get_attribute("alt") == item.label


def test_a_click_on_a_result_asks_about_it_and_back_returns(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos")
    done(page)
    before = ranked(page)
    page.click(f".vk-results .vk-cell[data-id='{before[2]}']")
    asks(page, before[2])
    done(page)
    after = ranked(page)
    assert after != before
    assert before[2] not in after
    assert f"query={before[2]}" in page.url
    assert page.locator(".vk-shelf .vk-cell[aria-current=true]").get_attribute("data-id") == before[2]
    page.reload()
    done(page)
    assert (query(page), ranked(page)) == (before[2], after)
    page.click(f".vk-shelf .vk-cell[data-id='{before[0]}']")
    asks(page, before[0])
    page.go_back()
    asks(page, before[2])
    done(page)
    assert ranked(page) == after
    page.go_back()
    asks(page, "photos/chelsea")
    done(page)
    assert ranked(page) == before
    assert page.url.endswith("/search?dataset=photos")
    page.go_forward()
    asks(page, before[2])


def test_settings_change_the_address_and_the_result(
    live_app: Site, browse: Callable[..., Any], workspace: vk.Workspace
) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos")
    done(page)
    page.select_option("[data-field=metric] select", "euclidean")
    page.wait_for_url("**/search?dataset=photos&metric=euclidean")
    page.fill("[data-field=top] input", "5")
    page.press("[data-field=top] input", "Enter")
    page.wait_for_url("**/search?dataset=photos&metric=euclidean&top=5")
    until(lambda: len(ranked(page)) == 5)
    done(page)
    assert ranked(page) == ids(workspace.run("search", dataset="photos", metric="euclidean", top=5))
    page.click("[data-field=layer] button")
    options = page.locator("[data-field=layer] [role=option]")
    model = workspace.model()
    assert options.count() == len(model.curated) + len(model.layers())
    first = page.inner_text("[data-field=layer] [role=option] >> nth=0")
    layer = next(n for n in model.layers() if n.path == model.curated[0])
    assert re.findall(r"[\w×]+", first)[:2] == [str(layer.index), layer.path]
    assert f"{layer.channels:,} channels" in first
    assert f"{layer.params:,} parameters" in first
    page.keyboard.type("block4_add")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?dataset=photos&layer=block4_add&metric=euclidean&top=5")
    page.wait_for_selector("text=Nearest in block4_add")
    done(page)
    assert ranked(page) == ids(workspace.run("search", dataset="photos", layer="block4_add", metric="euclidean", top=5))
    page.select_option("[data-field=metric] select", "cosine")
    page.wait_for_url("**/search?dataset=photos&layer=block4_add&top=5")


def test_models_are_listed_with_layers_and_size(live_app: Site, browse: Callable[..., Any], workspace: vk.Workspace) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos")
    done(page)
    page.click("[data-field=model] button")
    page.wait_for_selector("[data-field=model] [role=option]")
    text = page.inner_text("[data-field=model] [role=listbox]")
    for model in workspace.registry.models.values():
        assert model.name in text
        known = getattr(model, "known_layers")()  # noqa: B009
        assert f"{len(known) if known else '?'} layers, {model.image_size[0]} × {model.image_size[1]} pixels" in text


def test_the_keyboard_reaches_everything(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos")
    done(page)

    def focused(expression: str) -> Any:
        return page.evaluate(f"(() => {{ const e = document.activeElement; return {expression}; }})()")

    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        field = focused("e.closest('[data-field]') && e.closest('[data-field]').dataset.field")
        reached.append(field or focused("e.dataset.id || e.innerText.split('\\n')[0]"))
        if focused("Boolean(e.closest('.vk-results .vk-grid'))"):
            break
    assert reached[:3] == ["Skip to the page", "vizkit", "Find alike"]
    assert {"How it works", "photos/chelsea", "model", "dataset", "layer", "metric", "top"} <= set(reached)
    shown = ranked(page)
    page.keyboard.press("ArrowRight")
    assert focused("e.dataset.id") == shown[1]
    page.keyboard.press("End")
    assert focused("e.dataset.id") == shown[-1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    columns = page.eval_on_selector(".vk-results .vk-grid", "e => getComputedStyle(e).gridTemplateColumns.split(' ').length")
    assert focused("e.dataset.id") == shown[columns]
    page.keyboard.press("Enter")
    asks(page, shown[columns])
    done(page)
    assert focused("Boolean(e.closest('.vk-results .vk-grid'))")  # the results changed in their place
    until(lambda: page.text_content("[aria-live]").startswith(f"Most like {shown[columns]}:"))


@pytest.mark.parametrize("width", [360, 390, 768, 1440, 1920])
def test_nothing_scrolls_sideways(live_app: Site, browse: Callable[..., Any], width: int) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos", viewport={"width": width, "height": 900})
    done(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if width < 640:
        page.click(".vk-settings > summary")
    for field in ("model", "dataset", "layer"):
        page.click(f"[data-field={field}] button")
        box = page.locator(f"[data-field={field}] .vk-popover").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.keyboard.press("Escape")


def test_light_and_dark(live_app: Site, browse: Callable[..., Any]) -> None:
    def colours(page: Any) -> tuple[str, str]:
        shell = page.locator(".vk-shell")
        return tuple(shell.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"))

    address = f"{live_app.url}/search?dataset=photos"
    light = browse(address, color_scheme="light")
    dark = browse(address, color_scheme="dark")
    done(light)
    done(dark)
    assert colours(light) == ("rgb(255, 255, 255)", "rgb(25, 29, 36)")
    assert colours(dark) == ("rgb(22, 25, 30)", "rgb(236, 239, 243)")
    dark.evaluate("document.documentElement.dataset.bsTheme = 'light'")
    assert colours(dark) == colours(light)
    light.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    assert colours(light) == ("rgb(22, 25, 30)", "rgb(236, 239, 243)")


def test_nothing_jumps_when_a_setting_changes(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos")
    done(page)
    page.evaluate("""() => {
      window.tops = new Set();
      const note = () => {
        const cell = document.querySelector('.vk-results .vk-grid');
        window.tops.add(cell ? Math.round(cell.getBoundingClientRect().top) : 'gone');
        window.timer = requestAnimationFrame(note);
      };
      note();
    }""")
    for metric in ("euclidean", "chebyshev", "cosine"):
        page.select_option("[data-field=metric] select", metric)
        page.wait_for_timeout(500)
        done(page)
    assert len(page.evaluate("[...window.tops]")) == 1


def test_a_number_cannot_be_left_empty(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search?dataset=photos&top=4")
    done(page)
    page.fill("[data-field=top] input", "")
    page.press("[data-field=top] input", "Enter")
    assert page.input_value("[data-field=top] input") == "4"
    assert "top=4" in page.url
    page.fill("[data-field=top] input", "-3")
    page.press("[data-field=top] input", "Enter")
    page.wait_for_selector("[data-field=top] .vk-error")
    assert "--help" not in page.inner_text("[data-field=top]")
    assert page.locator("[role=alert]").count() == 0  # the live region says it, once


def test_the_shelf_scrolls_to_the_picture_and_the_page_has_one_heading(live_app: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{live_app.url}/search")
    done(page)
    cell = page.locator(".vk-shelf .vk-cell").nth(-1)
    cell.evaluate("e => e.click()")
    current = page.locator(".vk-shelf .vk-cell[aria-current=true]")
    until(lambda: current.get_attribute("data-id") == cell.get_attribute("data-id"))
    shelf = page.locator(".vk-shelf").bounding_box()
    until(lambda: current.bounding_box()["y"] + current.bounding_box()["height"] <= shelf["y"] + shelf["height"] + 1, 5)
    assert page.evaluate("window.scrollY") == 0
    assert page.locator("h1").count() == 1
    assert page.get_by_role("button", name="Layer ").count() == 1  # a picker says what it chooses, then what is chosen
