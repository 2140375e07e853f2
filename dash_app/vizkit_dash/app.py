"""`vizkit serve`: the app, the server round it, and the model that loads meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
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
    """Serve until Ctrl-C, which is raised as KeyboardInterrupt once everything has stopped, or until SIGTERM, which is
    an orderly end."""
    if host not in LOCAL:
        raise VizkitError(_for_everybody(host, port))
    listening = _listen(host, port)
    says = os.dup(sys.stderr.fileno())  # TensorFlow's chatter is kept away meanwhile, and ours would go the same way
    loading = threading.Thread(target=warm_up, args=(workspace,), name="vizkit-warm-up", daemon=True)
    loading.start()
    import waitress

    app = create_app(workspace)
    threading.Thread(target=_look_ahead, args=(attached.of(app)[0],), daemon=True).start()
    server = waitress.create_server(
        _guarded(app, LOCAL), sockets=[listening], threads=16, max_request_body_size=LARGEST, ident="vizkit"
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    print(f"vizkit is at {url}", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()
        raise SystemExit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
    server.run()  # comes back when it was interrupted
    _stop(app, loading, says, 0 if ended.is_set() else 130)
    if not ended.is_set():
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


def _look_ahead(own: attached.Attached) -> None:
    """Find out what the first page shows, before anybody asks."""
    with contextlib.suppress(VizkitError):
        own.facts.pictures(own.workspace.dataset())
        own.facts.layers(own.workspace.model())


def _guarded(app: Dash, hosts: frozenset[str]) -> Guard:
    return Guard(app.server, hosts=hosts, scripts=app.csp_hashes())


def _stop(app: Dash, loading: threading.Thread, says: int, code: int) -> None:
    """End within a second or two. What computes cannot be asked to stop in the middle of a step; all that is on disk is
    written whole or not at all, so leaving it there loses nothing."""
    own, _ = attached.of(app)
    closing = threading.Thread(target=own.close, daemon=True)
    closing.start()
    closing.join(_PATIENCE)
    if closing.is_alive() or loading.is_alive():
        os.write(says, b"Stopped.\n")
        os._exit(code)


def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address, or a sentence. It is taken before anything slow begins."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise VizkitError(_refused(host, port, error)) from error
    return listening


def _for_everybody(host: str, port: int) -> str:
    return (
        f"vizkit serve does not listen at {host!r}, because it has no passwords yet and anybody who reaches it could use "
        f"your files and your machine; leave --host out, and from another machine use an SSH tunnel: "
        f"ssh -L {port}:127.0.0.1:{port} YOU@THIS-MACHINE"
    )


def _refused(host: str, port: int, error: OSError) -> str:
    free = "vizkit serve --port 0"
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use. Take any free one with: {free}"
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used by you. Take any free one with: {free}"
    return f"Nothing can listen at {host}, port {port}: {error.strerror}. Try: {free}"


def _bootstrap() -> Path:
    """Bootstrap's CSS, which an installed package carries: the page is the same with the network cut."""
    import flask_bootstrap

    return Path(flask_bootstrap.__file__).parent / "static" / "bootstrap5" / "css" / "bootstrap.min.css"
