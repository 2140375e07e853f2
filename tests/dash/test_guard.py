"""What `vizkit serve` turns away, and what its routes never give."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vizkit_dash import create_server
from vizkit_dash.guard import name_of
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

import vizkit as vk


@pytest.fixture(scope="module")
def client(workspace: vk.Workspace) -> Client:
    return Client(create_server(workspace))


def ask(client: Client, path: str = "/", method: str = "GET", **headers: str) -> Any:
    names = {"Host": "127.0.0.1:8050"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return client.open(path, method=method, headers=names)


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050", "[::1]:8050", "localhost"])
def test_names_of_this_machine(client: Client, host: str) -> None:
    assert ask(client, Host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test:8050", "", "localhost@evil.test", "[::2]:8050"])
def test_a_foreign_name(client: Client, host: str) -> None:
    assert ask(client, Host=host).status_code == 403


def test_a_write_from_elsewhere(client: Client) -> None:
    update = "/_dash-update-component"
    assert ask(client, update, "POST", Origin="http://evil.test").status_code == 403
    assert ask(client, update, "POST", Origin="null").status_code == 403
    assert ask(client, update, "POST", Sec_Fetch_Site="cross-site").status_code == 403
    assert ask(client, update, "POST", Sec_Fetch_Site="same-site").status_code == 403


def test_too_large(workspace: vk.Workspace) -> None:
    environ = EnvironBuilder("/_dash-update-component", method="POST", headers={"Host": "localhost"}).get_environ()
    body, status, _ = run_wsgi_app(create_server(workspace), environ | {"CONTENT_LENGTH": str(33 * 2**20)})
    assert status.startswith("413")
    assert b"".join(body) == b"At most 32 MB may be sent at once."


def test_every_answer_says_what_may_be_done_with_it(client: Client) -> None:
    for path in ("/", "/_dash-layout", "/_vizkit/bootstrap.css", "/_vizkit/thumb/160/photos/chelsea"):
        headers = ask(client, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert "http" not in policy
    assert ask(client, Host="evil.test").headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/_vizkit/thumb/160/../../../etc/passwd",
        "/_vizkit/thumb/160/%2e%2e/%2e%2e/etc/passwd",
        "/_vizkit/thumb/160/photos/..%2f..%2fpyproject.toml",
        "/_vizkit/thumb/160/folder:%2Fetc/passwd",
        "/_vizkit/thumb/160/upload/..%2f..%2fx",
        "/_vizkit/thumb/161/photos/chelsea",
        "/_vizkit/thumb/160/photos/nobody",
        "/_vizkit/view/..%2f..%2fetc/0.png",
        "/_vizkit/view/abc/0.png",
        "/_vizkit/array/abc/v0.0",
        "/_vizkit/array/..%2f../v0.0",
        "/assets/../../etc/passwd",
    ],
)
def test_nothing_outside(client: Client, path: str) -> None:
    answer = ask(client, path)
    assert b"root:" not in answer.data
    if path.startswith("/_vizkit"):
        assert answer.status_code == 404


def test_a_thumbnail_is_kept_by_its_content(client: Client) -> None:
    answer = ask(client, "/_vizkit/thumb/160/photos/chelsea?v=abc")
    assert answer.content_type == "image/webp"
    assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(io.BytesIO(answer.data)) as image:
        assert image.size == (160, 160)
    again = ask(client, "/_vizkit/thumb/160/photos/chelsea", If_None_Match=answer.headers["ETag"])
    assert again.status_code == 304
    assert "no-cache" in again.headers["Cache-Control"]


def test_arrays_and_drawings_of_a_result(places: Any) -> None:
    grown = np.arange(4000, dtype=np.float32).reshape(40, 100)

    @vk.technique("maps", title="Maps", question="What does it look like?")
    def maps(*, seed: int = 0) -> vk.Result:
        return vk.Result(vk.Heatmap("A map", grown), vk.Bars("Bars", np.array([1.0, 2.0]), ("a", "b")))

    class Plugin:
        @vk.hookimpl
        def register_techniques(self) -> list[Any]:
            return [maps]

    workspace = vk.Workspace(vk.Registry([Plugin()]))
    result = workspace.run("maps")
    client = Client(create_server(workspace))
    name = next(iter(result.pack()[1]))
    answer = ask(client, f"/_vizkit/array/{result.key}/{name}")
    shape = tuple(map(int, answer.headers["X-Vizkit-Shape"].split(",")))
    assert answer.headers["X-Vizkit-Dtype"] == "float32"
    assert np.array_equal(np.frombuffer(answer.data, "<f4").reshape(shape), grown)
    assert ask(client, f"/_vizkit/array/{result.key}/other").status_code == 404
    assert ask(client, f"/_vizkit/view/{result.key}/1.svg").data.startswith(b"<?xml")
    assert ask(client, f"/_vizkit/view/{result.key}/0.png?dark=1").data.startswith(b"\x89PNG")
    assert ask(client, f"/_vizkit/view/{result.key}/7.png").status_code == 404


def test_names_in_hosts() -> None:
    assert [name_of(h) for h in ("LocalHost:1", "[::1]:80", "::1", "a.b")] == ["localhost", "::1", ":", "a.b"]
