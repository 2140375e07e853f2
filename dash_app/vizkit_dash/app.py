"""`vizkit serve`: the app, the server round it, and the model that loads meanwhile."""

from __future__ import annotations

import errno
import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

from dash import Dash

from vizkit import VizkitError, Workspace
from vizkit.quiet import quiet_tensorflow
from vizkit.store import log
from vizkit_dash import attached, shell
from vizkit_dash.callbacks import attach
from vizkit_dash.guard import LARGEST, LOCAL, Guard
from vizkit_dash.routes import add_file

_PATIENCE = 1.5  # seconds in which jobs may stop by themselves after Ctrl-C
_INDEX = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="ICON" type="image/svg+xml">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""


def create_app(workspace: Workspace | None = None, *, prefix: str = "/") -> Dash:
    """The Dash app of `vizkit serve`, under a prefix where it is not at the root of its server."""
    workspace = workspace or Workspace()
    app = Dash(
        __name__,
        title="vizkit",
        update_title=None,
        assets_folder="/nonexistent",
        include_assets_files=False,
        url_base_pathname=prefix,
        external_stylesheets=[f"{prefix}_vizkit/bootstrap.css"],
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        suppress_callback_exceptions=True,
    )
    attach(app, workspace)
    app.server.config["MAX_CONTENT_LENGTH"] = LARGEST
    app.index_string = _INDEX.replace("ICON", f"{prefix}_vizkit/icon.svg")
    add_file(app, "bootstrap.css", _bootstrap(), "text/css")
    add_file(app, "icon.svg", Path(__file__).parent / "assets" / "icon.svg", "image/svg+xml")
    app.layout = lambda: shell.layout(workspace, prefix)
    shell.add_callbacks(app, workspace)
    return app


def create_server(workspace: Workspace | None = None, *, hosts: frozenset[str] = LOCAL, prefix: str = "/") -> Guard:
    """The app as WSGI, behind its guard, for any server of one process: `waitress-serve --call vizkit_dash:create_server`.

    `hosts` are the names that it answers to.
    """
    return _guarded(create_app(workspace, prefix=prefix), hosts)


def serve(workspace: Workspace, *, host: str = "127.0.0.1", port: int = 8050, browser: bool = True) -> None:
    """Serve until Ctrl-C, which is raised as KeyboardInterrupt once everything has stopped."""
    loading = threading.Thread(target=warm_up, args=(workspace,), name="vizkit-warm-up", daemon=True)
    loading.start()
    import waitress

    app = create_app(workspace)
    hosts = LOCAL | {host} if host not in ("0.0.0.0", "::", "") else frozenset({"*"})
    try:
        server = waitress.create_server(
            _guarded(app, hosts), host=host, port=port, threads=16, max_request_body_size=LARGEST, ident="vizkit"
        )
    except OSError as error:
        raise VizkitError(_refused(host, port, error)) from error
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.effective_port}/"
    print(f"vizkit is at {url}", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    server.run()  # comes back when it was interrupted
    _stop(app, loading)
    raise KeyboardInterrupt


def warm_up(workspace: Workspace) -> None:
    """Load TensorFlow and the model that a person sees first."""
    try:
        with quiet_tensorflow():
            pass
        model: Any = workspace.model()
        if hasattr(model, "keras_model"):
            model.keras_model()
    except Exception as error:  # the run that needs it says so to the person who asked for it
        log.debug("The default model was not loaded: %s", error)


def _guarded(app: Dash, hosts: frozenset[str]) -> Guard:
    return Guard(app.server, hosts=hosts, scripts=app.csp_hashes())


def _stop(app: Dash, loading: threading.Thread) -> None:
    """End within a second or two. What computes cannot be asked to stop in the middle of a step; all that is on disk is
    written whole or not at all, so leaving it there loses nothing."""
    own, _ = attached.of(app)
    closing = threading.Thread(target=own.close, daemon=True)
    closing.start()
    closing.join(_PATIENCE)
    if closing.is_alive() or loading.is_alive():
        print("Stopped.", file=sys.stderr, flush=True)
        os._exit(130)


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use. Take any free one with: vizkit serve --port 0"
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used by you. Take any free one with: vizkit serve --port 0"
    return f"The address {host}:{port} cannot be listened on: {error.strerror}. Try: vizkit serve --port 0"


def _bootstrap() -> Path:
    """Bootstrap's CSS, which an installed package carries: the page is the same with the network cut."""
    import flask_bootstrap

    return Path(flask_bootstrap.__file__).parent / "static" / "bootstrap5" / "css" / "bootstrap.min.css"

