"""The callbacks of a panel: three in all, for every technique and every panel of an app."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update, set_props
from dash.exceptions import PreventUpdate

from vizkit import VizkitError, Workspace
from vizkit_dash import attached, ids
from vizkit_dash.choice import Choice, image_param
from vizkit_dash.routes import add_routes
from vizkit_dash.show import Panel

_OUTPUTS = {
    "head": "children",
    "controls": ("fields", "values", "errors"),
    "query": "children",
    "gallery-head": "children",
    "gallery": ("items", "current"),
    "status": "className",
    "status-text": "children",
    "status-bar": "value",
    "cancel": "children",
    "results": ("children", "className"),
    "live": "children",
    "pulse": ("wait", "heard"),
    "shown": "data",
}


def attach(app: Dash, workspace: Workspace | None = None) -> None:
    """Let panels work in an app: callbacks and routes. Call it once the app exists and before it serves; calling it again
    does no harm. An app made after `import vizkit_dash` is attached already, with the workspace of the process."""
    own, new = attached.of(app)
    if workspace is not None:
        if "workspace" in own.__dict__ and own.workspace is not workspace:
            raise VizkitError("This app already works with another workspace. Attach before its first panel is shown.")
        own.given = workspace
    if not new:
        return
    add_routes(app, own)

    @app.callback(  # type: ignore[untyped-decorator]
        Output(ids.own("state"), "data"),
        Input(ids.own("controls"), "changed"),
        Input(ids.own("gallery"), "n_selected"),
        Input(ids.every("link"), "n_selected"),
        Input(ids.own("goto"), "data"),
        State(ids.own("state"), "data"),
        State(ids.own("gallery"), "selected"),
        State(ids.every("link"), "selected"),
        State(ids.every("link"), "link"),
        prevent_initial_call=True,
    )
    def choose(changed: Any, _: Any, clicks: Any, goto: Any, state: Any, picked: Any, items: Any, links: Any) -> Any:
        """Whatever a person did, as the new choice."""
        before = Choice.from_json(state)
        known = own.workspace.registry.techniques
        if before.technique not in known or not ctx.triggered_id:
            raise PreventUpdate
        part = ctx.triggered_id["part"]
        after = before
        if part == "controls" and changed:
            after = before.changed(own.workspace, str(changed["name"]), changed["value"])
        elif part == "gallery" and picked and (name := image_param(known[before.technique])):
            after = before.changed(own.workspace, name, picked)
        elif part == "link":
            at = next((i for i, x in enumerate(ctx.inputs_list[2]) if x["id"] == ctx.triggered_id), None)
            if at is None or not clicks[at] or not links[at] or links[at].get("technique") not in known:
                raise PreventUpdate
            after = before.followed(own.workspace, links[at], str(items[at]))
        elif part == "goto" and goto:
            after = Choice.from_json(goto).known(own.workspace)
        if after == before:
            raise PreventUpdate
        return after.to_json() | {"from": part}

    outputs = {f"{part}.{prop}": Output(ids.own(part), prop) for part, props in _OUTPUTS.items()
               for prop in ((props,) if isinstance(props, str) else props)}  # fmt: skip

    @app.callback(  # type: ignore[untyped-decorator]
        outputs,
        Input(ids.own("state"), "data"),
        Input(ids.own("pulse"), "beat"),
        State(ids.own("shown"), "data"),
        State(ids.own("state"), "id"),
    )
    def show(state: Any, _: Any, shown: Any, id: Any) -> Any:
        """What a panel shows now: after a choice, and while its run goes on."""
        panel = Panel(own, app.config.requests_pathname_prefix, Choice.from_json(state or {}), shown or {}, id)
        changed = panel.update()
        for part, props in panel.placed:
            set_props(part, props)
        return dict.fromkeys(outputs, no_update) | changed

    @app.callback(  # type: ignore[untyped-decorator]
        Output(ids.own("cancel"), "title"),
        Input(ids.own("cancel"), "n_clicks"),
        State(ids.own("shown"), "data"),
        State(ids.own("pulse"), "id"),
        prevent_initial_call=True,
    )
    def cancel(clicks: int, shown: Any, pulse: Any) -> str:
        """Stop the run that this panel waits for, unless somebody else does too; where it is stopped, go on."""
        ticket = str(shown.get("ticket") or "") if clicks and shown else ""
        if ticket and own.runs.again(ticket):
            set_props(pulse, {"wait": 1, "heard": clicks})
        elif ticket:
            own.runs.leave(ticket)
        return ""
