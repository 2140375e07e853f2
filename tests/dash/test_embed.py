"""`TechniqueAIO` in somebody else's app, and a technique of somebody else's in ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from dash import Dash, Input, Output, html
from pydantic import Field
from vizkit_dash import ImageGrid, TechniqueAIO, attach, create_server

import vizkit as vk
from tests.dash.conftest import Site, asks, done, query, ranked, until


def host(workspace: vk.Workspace, prefix: str = "/", *panels: Any) -> Dash:
    app = Dash(__name__, url_base_pathname=prefix, assets_folder="/nonexistent")
    attach(app, workspace)
    attach(app, workspace)
    app.layout = html.Div([html.H1("Mine"), *panels])
    return app


def test_two_panels_leave_each_other_alone(
    served: Callable[[Any], Site], browse: Callable[..., Any], workspace: vk.Workspace
) -> None:
    common: dict[str, Any] = {"dataset": "photos", "workspace": workspace}
    panels = [
        html.Div(TechniqueAIO("search", id="one.a", **common), id="left"),
        html.Div(TechniqueAIO("search", id="two", metric="euclidean", top=4, **common), id="right"),
    ]
    app = host(workspace, "/foreign/", *panels, html.P(id="said"))

    @app.callback(Output("said", "children"), Input(TechniqueAIO.ids.state("one.a"), "data"))
    def say(state: Any) -> str:
        return f"host heard {state['params'].get('query', 'nothing yet')}"

    page = browse(served(app.server).url + "/foreign/")
    until(lambda: page.locator(".vk-results.vk-done").count() == 2)
    left, right = ranked(page, "#left"), ranked(page, "#right")
    assert (len(left), len(right)) == (15, 4)
    page.click(f"#left .vk-results .vk-cell[data-id='{left[1]}']")
    asks(page, left[1], "#left")
    assert page.wait_for_selector(f"text=host heard {left[1]}")
    assert (query(page, "#right"), ranked(page, "#right")) == ("photos/chelsea", right)
    now = ranked(page, "#left")
    page.select_option("#right [data-field=metric] select", "chebyshev")
    until(lambda: ranked(page, "#right") != right)
    assert (query(page, "#left"), ranked(page, "#left")) == (left[1], now)
    assert page.url.endswith("/foreign/")


def test_two_apps_in_one_process(
    served: Callable[[Any], Site], browse: Callable[..., Any], workspace: vk.Workspace, live_app: Site
) -> None:
    first = host(workspace, "/", TechniqueAIO("search", id="find", dataset="photos", workspace=workspace))
    second = host(workspace, "/", TechniqueAIO("search", id="find", dataset="photos", workspace=workspace, top=3))
    pages = [browse(served(app.server).url) for app in (first, second)]
    for page, count in zip(pages, (15, 3), strict=True):
        done(page)
        assert len(ranked(page)) == count
    plain = Dash(__name__)  # an app that has nothing of ours in it stays as it is
    plain.layout = html.P("Nothing")
    page = browse(served(plain.server).url)
    page.wait_for_selector("text=Nothing")
    page.wait_for_timeout(300)


def test_an_image_grid_alone(served: Callable[[Any], Site], browse: Callable[..., Any], workspace: vk.Workspace) -> None:
    items = [{"id": "photos/coffee", "label": "espresso", "similarity": 40.0}, {"id": "photos/moon", "label": "moon"}]
    app = host(workspace, "/", ImageGrid(items, id="grid", label="Two"), html.P(id="said"))

    @app.callback(Output("said", "children"), Input("grid", "selected"), prevent_initial_call=True)
    def say(selected: str) -> str:
        return f"selected {selected}"

    page = browse(served(app.server).url)
    page.wait_for_selector("#grid .vk-cell")
    page.click("#grid [data-id='photos/moon']")
    assert page.wait_for_selector("text=selected photos/moon")


@vk.technique("kinds", title="Every kind", question="What does each look like?")
def kinds(
    images: vk.ImageBatch,
    *,
    size: Annotated[int, Field(ge=2, le=20, description="How large")] = 6,
    colour: Annotated[Literal["red", "green"], Field(description="Which colour")] = "red",
    loud: Annotated[bool, Field(description="Whether to shout")] = False,
    name: Annotated[str, Field(description="What to call it", json_schema_extra={"advanced": True})] = "it",
) -> vk.Result:
    """One of everything."""
    rng = np.random.default_rng(0)
    numbers = rng.random((size, size))
    picture = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    return vk.Result(
        vk.Note(f"{name} is {colour}{'!' * loud}", title="A note"),
        vk.ImageGrid("Made here", (vk.GridItem("a", "one"), vk.GridItem("b", "two")), np.stack([picture, 255 - picture])),
        vk.Heatmap("Heat", numbers, image=str(images.refs[0])),
        vk.Bars("Bars", numbers[0], tuple(map(str, range(size)))),
        vk.Lines("Lines", np.arange(size), numbers[:2], ("a", "b")),
        vk.Scatter("Points", rng.random((5, 2))),
        vk.Tree("Tree", (vk.TreeNode("r"), vk.TreeNode("c", "r", weight=1.0))),
        vk.Graph("Graph", (vk.GraphNode("x"), vk.GraphNode("y", column=1)), (vk.GraphEdge("x", "y"),)),
        vk.Table("Table", ("word", "number"), (("one", 1), ("two", 2.5))),
        vk.SpriteSheet("Sheet", picture, 16, 4),
        vk.Media("Media", picture),
        vk.CellMap("Cells", picture, rng.integers(0, 9, (2, 2, 1)), rng.random((2, 2, 1))),
        vk.SimilarityOverlay("Alike", rng.random((1, 4, 4, 8)), picture[None]),
        vk.Figure("Figure", {"data": [], "layout": {}}),
        summary="One of everything.",
    )


@vk.technique("fails", title="Breaks", question="What happens?")
def fails(*, seed: int = 0) -> vk.Result:
    """Break."""
    raise ZeroDivisionError("a plugin's own fault")


class Pictures(vk.DatasetBase):
    name = title = "noise"

    def ids(self) -> list[str]:
        return ["x", "y.z/ä b"]

    def content(self, id: str) -> Any:
        return np.full((40, 40, 3), len(id) * 20, np.uint8)


class Plugin:
    @vk.hookimpl
    def register_techniques(self) -> list[Any]:
        return [kinds, fails]

    @vk.hookimpl
    def register_datasets(self) -> list[Any]:
        return [Pictures()]


class Broken:
    @vk.hookimpl
    def register_models(self) -> list[Any]:
        raise RuntimeError("its file is missing")


@pytest.fixture(scope="module")
def other(places: Any, served: Callable[[Any], Site]) -> Site:
    return served(create_server(vk.Workspace(vk.Registry([Plugin(), Broken()]))))


def test_every_kind_of_view_and_control(other: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{other.url}/kinds?size=4")
    done(page)
    assert page.locator(".vk-view").count() == 13
    assert page.locator(".vk-scroll td").all_inner_texts() == ["one", "1", "two", "2.5"]
    for image in page.locator(".vk-results img:visible").all():
        image.scroll_into_view_if_needed()
        until(lambda image=image: image.evaluate("i => i.complete && i.naturalWidth > 0"), 20)
        assert image.get_attribute("alt")
    slider = page.locator("[data-field=size] input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/kinds?size=5")
    page.check("[data-field=loud] input")
    page.wait_for_url("**/kinds?size=5&loud=true")
    page.wait_for_selector("text=it is red!")
    assert not page.is_visible("[data-field=name] input")
    page.click("text=Advanced")
    page.fill("[data-field=name] input", "she & co")
    page.press("[data-field=name] input", "Enter")
    page.wait_for_selector("text=she & co is red!")
    page.reload()
    page.wait_for_selector("text=she & co is red!")


def test_a_plugin_fails_in_its_own_card(other: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{other.url}/fails")
    page.wait_for_selector("text=a plugin's own fault")
    assert "Traceback" not in page.content()
    page.click("nav >> text=Plugins")
    page.wait_for_selector("text=RuntimeError: its file is missing")
    assert page.inner_text(".vk-badge") == "1"
    page.click("nav >> text=Every kind")
    done(page)


def test_a_page_whose_technique_is_not_installed_says_so(other: Site, browse: Callable[..., Any]) -> None:
    page = browse(f"{other.url}/search")
    page.wait_for_selector("text=There is no technique 'search'.")


def test_a_mistake_in_python_is_raised(workspace: vk.Workspace) -> None:
    with pytest.raises(vk.NotFound, match="Did you mean 'search'"):
        TechniqueAIO("serch", id="x", workspace=workspace)
