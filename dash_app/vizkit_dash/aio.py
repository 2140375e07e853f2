"""`TechniqueAIO`: a technique with its controls, its pictures and its results, in anybody's Dash app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dash import dcc, html

from vizkit import ModelAdapter, Workspace
from vizkit.workspace import default_workspace
from vizkit_dash import attached, ids
from vizkit_dash.choice import Choice, image_param
from vizkit_dash.components import Controls, ImageGrid, Pulse

_WAITING = 15  # tiles of the placeholder


class TechniqueAIO(html.Div):  # type: ignore[misc]
    """A technique, ready to use: controls generated from its declaration, a gallery to choose a picture from, results.

    `model` and `dataset` are names, or objects, which then become known to the workspace by their names; `params` are the
    technique's own and are what the panel begins with. Panels of one `group` are meant to choose together; by default each
    is its own. A host reads what was chosen from the `data` of the Store `TechniqueAIO.ids.state(id)`, and sets it through
    `TechniqueAIO.ids.goto(id)`.
    """

    class ids:
        """The ids that a host app may use in its own callbacks."""

        @staticmethod
        def state(id: str, group: str | None = None) -> dict[str, Any]:
            """The Store with what is chosen: {technique, model, dataset, params}. Read it."""
            return ids.make("state", ids.plain(group or id), ids.plain(id))

        @staticmethod
        def goto(id: str, group: str | None = None) -> dict[str, Any]:
            """The Store to write a choice into, in the same form."""
            return ids.make("goto", ids.plain(group or id), ids.plain(id))

    _children_props: ClassVar[list[str]] = []

    def __init__(
        self,
        technique: str,
        *,
        id: str,
        model: str | ModelAdapter | None = None,
        dataset: Any = None,
        workspace: Workspace | None = None,
        group: str | None = None,
        heading: bool = True,
        **params: Any,
    ) -> None:
        shown = {"workspace": attached.token(workspace)} if workspace is not None else {}
        workspace = workspace or default_workspace()
        found = workspace.registry.technique(technique)
        if model is not None and not isinstance(model, str):
            adapter = workspace.model(model)
            workspace.registry.add_model(adapter)
            model = adapter.name
        if dataset is not None and not isinstance(dataset, str):
            workspace.registry.add_dataset(dataset)
        elif isinstance(dataset, str):
            dataset = workspace.dataset(dataset)
        choice = Choice(found.id, model, dataset.name if dataset is not None else None, params)
        aio_id = ids.plain(id)
        gallery = image_param(found) is not None
        super().__init__(panel(choice, ids.plain(group or id), aio_id, gallery, heading, shown), className="vizkit vk-panel")


def panel(choice: Choice, group: str, aio_id: str, gallery: bool, heading: bool, shown: Mapping[str, Any]) -> list[Any]:
    """The parts of a panel, every one at its final size before anything is known."""

    def own(part: str, field: str = "") -> Mapping[str, Any]:
        return ids.make(part, group, aio_id, field)

    side = html.Aside(
        [
            html.P("The picture you ask about", className="vk-side-label"),
            html.Div(_blank_query(), id=own("query"), className="vk-query"),
            html.Div(
                [
                    html.Div(id=own("gallery-head"), className="vk-gallery-head"),
                    html.P("Click any picture to ask about it", className="vk-side-label"),
                    html.Div(
                        ImageGrid(id=own("gallery"), compact=True, label="Choose a picture", side=72), className="vk-shelf"
                    ),
                ],
                className="vk-gallery",
            ),
        ],
        className="vk-side",
        hidden=not gallery,
    )
    status = html.Div(
        [
            html.Span(id=own("status-text"), className="vk-status-text"),
            html.Progress(id=own("status-bar"), max="1", value="0", **{"aria-label": "How far it is"}),
            html.Button("Cancel", id=own("cancel"), type="button", className="vk-button", n_clicks=0),
        ],
        id=own("status"),
        className="vk-status vk-idle",
    )
    return [
        dcc.Store(id=own("state"), data=choice.to_json()),
        dcc.Store(id=own("goto")),
        dcc.Store(id=own("shown"), data=dict(shown)),
        Pulse(id=own("pulse")),
        html.Header(id=own("head"), className="vk-head", hidden=not heading),
        html.Div(
            [
                side,
                html.Div(
                    [
                        Controls(id=own("controls")),
                        status,
                        html.Div(waiting(), id=own("results"), className="vk-results vk-loading"),
                    ],
                    className="vk-main",
                ),
            ],
            className="vk-body" if gallery else "vk-body vk-alone",
        ),
        html.Div(id=own("live"), className="vk-unseen", **{"aria-live": "polite", "role": "status"}),
    ]


def waiting() -> list[Any]:
    """A placeholder of the size that results have."""
    tiles = [html.Div(className="vk-tile") for _ in range(_WAITING)]
    return [html.Div(className="vk-tile vk-tile-head"), html.Div(tiles, className="vk-tiles", **{"aria-hidden": "true"})]


def _blank_query() -> list[Any]:
    return [html.Div(className="vk-tile vk-tile-query")]
