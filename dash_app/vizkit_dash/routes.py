"""What a browser fetches beside the page: thumbnails, arrays, drawn views. No path that it sends touches the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dash import Dash
from flask import Response, abort, request

from vizkit import ImageRef, Result, VizkitError
from vizkit.datasets import THUMBNAIL_SIDES
from vizkit.draw import DARK, LIGHT, png, svg
from vizkit_dash.attached import Attached
from vizkit_dash.choice import known_image

_FOREVER = "private, max-age=31536000, immutable"


def add_routes(app: Dash, own: Attached) -> None:
    """Add the routes to the app's own Flask server, under the app's prefix, so that whatever guards the app guards them."""
    server = app.server
    if not callable(getattr(server, "add_url_rule", None)) or not hasattr(server, "test_client"):
        raise VizkitError("vizkit works in Dash apps on Flask. Use Dash(__name__), or attach(app) once it has a server.")
    prefix = app.config.routes_pathname_prefix

    def add(rule: str, view: Callable[..., Response]) -> None:
        full = f"{prefix}_vizkit/{rule}"
        server.add_url_rule(full, endpoint=full, view_func=view, methods=["GET"])

    def thumb(side: int, ref: str) -> Response:
        if side not in THUMBNAIL_SIDES:
            abort(404)
        try:
            data = own.workspace.thumbnail(_image(own, ref), side)
        except VizkitError:
            abort(404)
        return _kept(data, "image/webp", versioned="v" in request.args and "step" not in request.args)

    def array(key: str, name: str) -> Response:
        result = _result(own, key)
        arrays = result.pack()[1]
        if name not in arrays:
            abort(404)
        values = np.ascontiguousarray(arrays[name])
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        response = _kept(little.tobytes(), "application/octet-stream", versioned=not result.partial)
        response.headers["X-Vizkit-Shape"] = ",".join(map(str, values.shape))
        response.headers["X-Vizkit-Dtype"] = values.dtype.name
        return response

    def view(key: str, n: int, kind: str) -> Response:
        result = _result(own, key)
        if n >= len(result.views) or kind not in ("png", "svg"):
            abort(404)
        look = DARK if "dark" in request.args else LIGHT
        try:
            if kind == "png":
                return _kept(png(result.views[n], own.workspace.pixels, look), "image/png", versioned=not result.partial)
            drawn = svg(result.views[n], own.workspace.pixels, look)
        except VizkitError:
            abort(404)
        if drawn is None:
            abort(404)
        return _kept(drawn.encode(), "image/svg+xml", versioned=not result.partial)

    def nothing(rest: str) -> Response:  # else Dash would answer with its page, and a script would take that for data
        abort(404)

    add("thumb/<int:side>/<path:ref>", thumb)
    add("array/<key>/<name>", array)
    add("view/<key>/<int:n>.<kind>", view)
    add("<path:rest>", nothing)


def add_file(app: Dash, name: str, path: Path, kind: str) -> None:
    """Serve one file of an installed package, known beforehand."""
    full = f"{app.config.routes_pathname_prefix}_vizkit/{name}"
    app.server.add_url_rule(full, endpoint=full, view_func=lambda: _kept(path.read_bytes(), kind, versioned=False))


def _image(own: Attached, text: str) -> ImageRef:
    return known_image(own.workspace, text)


def _result(own: Attached, key: str) -> Result:
    found = own.runs.result(key) if key.isalnum() else None
    if found is None:
        abort(404)
    return found


def _kept(data: bytes, kind: str, *, versioned: bool) -> Response:
    """An answer that a browser keeps: for good where the address changes with the content, else asked again by its hash."""
    response = Response(data, content_type=kind)
    response.headers["Cache-Control"] = _FOREVER if versioned else "private, no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.add_etag()
    done: Any = response.make_conditional(request)
    return done  # type: ignore[no-any-return]
