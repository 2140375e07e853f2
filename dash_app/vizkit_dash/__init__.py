"""The vizkit app: a Dash shell around components that anybody can embed.

    from dash import Dash, html
    from vizkit_dash import TechniqueAIO

    app = Dash(__name__)
    app.layout = html.Div([html.H1("Mine"), TechniqueAIO("search", id="find")])

An app made before this import needs `vizkit_dash.attach(app)`.
"""

from __future__ import annotations

import dash

__version__ = "0.1.0"

from vizkit_dash.aio import TechniqueAIO
from vizkit_dash.app import create_app, create_server, serve
from vizkit_dash.callbacks import attach
from vizkit_dash.components import Controls, ImageGrid

# What Dash serves to the browser, in this order.
_js_dist = [
    {"namespace": "vizkit_dash", "relative_package_path": f"assets/{name}.js"}
    for name in ("vizkit", "image_grid", "picker", "controls", "drawing", "pulse", "address")
]
_css_dist = [{"namespace": "vizkit_dash", "relative_package_path": "assets/vizkit.css"}]

dash.hooks.setup()(attach)

__all__ = ["Controls", "ImageGrid", "TechniqueAIO", "attach", "create_app", "create_server", "serve"]
