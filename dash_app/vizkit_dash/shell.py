"""What `vizkit serve` puts round the panels: a bar, the address, and a page about the plugins."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from dash import Dash, Input, Output, State, html, no_update, set_props
from dash.exceptions import PreventUpdate

from vizkit import VizkitError, Workspace
from vizkit_dash import attached, ids
from vizkit_dash.aio import TechniqueAIO
from vizkit_dash.choice import Choice
from vizkit_dash.components import Address
from vizkit_dash.pages import Page, pages

GROUP = "page"
_PLUGINS = "plugins"
_ABOUT = "Each plugin adds models, pictures or techniques. One that fails is left out; the rest works on."


def layout(workspace: Workspace, prefix: str) -> Any:
    """The bar, and room for one page."""
    listed = pages(workspace.registry)
    links = [_link(prefix, page.name, page.title) for page in listed]
    problems = len(workspace.registry.problems)
    count = [html.Span(str(problems), className="badge vk-badge", title="problems")] if problems else []
    bar = html.Nav(
        [
            html.H1(html.A("vizkit", href=prefix, className="navbar-brand", **{"data-vk-link": ""}), className="vk-brand"),
            html.Div(links, className="navbar-nav"),
            html.Div([_link(prefix, _PLUGINS, ["Plugins", *count])], className="navbar-nav ms-auto"),
        ],
        className="navbar vk-navbar",
        **{"aria-label": "Pages"},
    )
    return html.Div(
        [
            html.A("Skip to the page", href="#vk-page", className="vk-skip"),
            Address(id="vk-address"),
            html.Header(bar, className="vk-top"),
            html.Main(id="vk-page", className="vk-page", tabIndex=-1),
        ],
        className="vizkit vk-shell",
    )


def add_callbacks(app: Dash, workspace: Workspace) -> None:
    """Address to page, and choice to address."""
    prefix = app.config.requests_pathname_prefix
    own, _ = attached.of(app)

    @app.callback(  # type: ignore[untyped-decorator]
        Output("vk-page", "children"),
        Output("vk-address", "title"),
        Input("vk-address", "visited"),
        State(ids.anywhere("state", GROUP), "data"),
        State(ids.anywhere("shown", GROUP), "data"),
        prevent_initial_call=True,
    )
    def visit(visited: Any, states: Any, shown: Any) -> Any:
        """The page that an address names; where it is open already, its panel goes to what the address asks for."""
        parts = urlsplit(str(visited["href"]))
        name = unquote(parts.path).removeprefix(prefix).strip("/")
        if name == _PLUGINS:
            _leave(own, shown)
            return plugins(workspace), "Plugins · vizkit"
        listed = pages(workspace.registry)
        page = next((p for p in listed if p.name == name), None) or (listed[0] if listed and not name else None)
        if page is None:
            return missing(name, listed, prefix), "Not found · vizkit"
        technique = workspace.registry.techniques.get(page.technique)
        if technique is None:
            return missing_technique(page, workspace), f"{page.title} · vizkit"
        choice = Choice.from_query(page.technique, parts.query).known(workspace)
        open_now = [Choice.from_json(s) for s in states or ()]
        if open_now and open_now[0].technique == choice.technique:
            if open_now[0] == choice:
                raise PreventUpdate
            set_props(TechniqueAIO.ids.goto("panel", GROUP), {"data": choice.to_json() | {"n": visited.get("n")}})
            return no_update, f"{page.title} · vizkit"  # PreventUpdate would drop what was set
        _leave(own, shown)
        return _panel(page, choice, workspace), f"{page.title} · vizkit"

    @app.callback(  # type: ignore[untyped-decorator]
        Output("vk-address", "to"),
        Input(ids.anywhere("state", GROUP), "data"),
        State("vk-address", "to"),
        prevent_initial_call=True,
    )
    def write(states: Any, before: Any) -> Any:
        """What a person chose, in the address: a new entry of the history, unless it came from there."""
        if not states or not states[0]:
            raise PreventUpdate
        choice = Choice.from_json(states[0])
        page = next((p for p in pages(workspace.registry) if p.technique == choice.technique), None)
        if page is None:
            raise PreventUpdate
        came = states[0].get("from") in (None, "goto")
        return {"href": f"{prefix}{page.name}{choice.query()}", "replace": came, "n": ((before or {}).get("n") or 0) + 1}


def _leave(own: attached.Attached, shown: Any) -> None:
    """The panels of this page go away: nobody here waits for their runs any more."""
    for panel in shown or ():
        if panel and panel.get("ticket"):
            own.runs.leave(str(panel["ticket"]))


def _panel(page: Page, choice: Choice, workspace: Workspace) -> Any:
    try:
        panel = TechniqueAIO(page.technique, id="panel", group=GROUP, workspace=workspace)
    except VizkitError as error:
        return card(page.title, str(error))
    panel.children[0].data = choice.to_json()  # as the address has it, wrong values and all: the panel says what is wrong
    return panel


def missing(name: str, listed: list[Page], prefix: str) -> Any:
    """What stands where an address names no page."""
    known = [html.Li(_link(prefix, page.name, page.title)) for page in listed]
    return html.Div(
        [html.H2(f"There is no page {name!r}."), html.P("There are:"), html.Ul(known)] if listed
        else [html.H2("No technique is installed."), html.P("Install a plugin that adds one. See: vizkit plugins")],
        className="vk-text",
    )  # fmt: skip


def missing_technique(page: Page, workspace: Workspace) -> Any:
    """What stands on a page whose technique is not installed."""
    try:
        workspace.registry.technique(page.technique)
        text = ""
    except VizkitError as error:
        text = str(error)
    return card(page.title, f"{text} Install the plugin that adds it.")


def plugins(workspace: Workspace) -> Any:
    """What is installed, what each adds, and what is wrong with any."""
    registry = workspace.registry
    wrong = {p.plugin for p in registry.problems}
    names = [*registry.plugins, *(p for p in sorted(wrong) if p not in registry.plugins)]
    return html.Div(
        [
            html.P("Plugins", className="vk-eyebrow"),
            html.H2("What is installed here?"),
            html.P(_ABOUT, className="vk-lead"),
            html.Ul([html.Li(_plugin(name, workspace)) for name in names], className="vk-plugins"),
        ],
        className="vk-text vk-wide",
    )


def _plugin(name: str, workspace: Workspace) -> Any:
    registry = workspace.registry
    plugin = registry.plugins.get(name)
    rows = []
    for kind in ("models", "datasets", "techniques"):
        ids_ = getattr(plugin, kind, [])
        if ids_:
            rows += [html.Dt(kind.capitalize()), html.Dd(", ".join(ids_))]
    openers = [s for s in registry.openers if plugin and not rows and s == name]
    rows += [row for s in openers for row in (html.Dt("Opens"), html.Dd(f"{s}:PATH"))]
    problems = [html.P(f"{p.stage}: {p.error}", className="vk-error") for p in registry.problems if p.plugin == name]
    version = [html.Span(plugin.version, className="vk-help")] if plugin and plugin.version else []
    return html.Div(
        [html.Div([html.H3(name), *version], className="vk-plugin-head"), html.Dl(rows) if rows else None, *problems],
        className="vk-plugin vk-broken" if problems else "vk-plugin",
    )


def card(title: str, text: str) -> Any:
    """A sentence in a card, for what is not there."""
    return html.Div([html.H4(title), html.P(text)], className="vk-card vk-warning", role="alert")


def _link(prefix: str, name: str, text: Any) -> Any:
    return html.A(text, href=f"{prefix}{name}", className="nav-link", **{"data-vk-link": name})
