"""A server and a browser for the tests of the app. What a page writes to its console, and where it asks, is watched."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest


class Site:
    """A server in a thread of this process."""

    def __init__(self, application: Any) -> None:
        import waitress

        self._server = waitress.create_server(application, host="127.0.0.1", port=0, threads=16)
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # closed under its feet, at the end
            self._server.run()

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home and cache of our own."""
    root: Path = tmp_path_factory.mktemp("vizkit")
    patch = pytest.MonkeyPatch()
    patch.setenv("VIZKIT_HOME", str(root / "home"))
    patch.setenv("VIZKIT_CACHE", str(root / "cache"))
    yield root
    patch.undo()


@pytest.fixture(scope="session")
def workspace(places: Path) -> Any:
    """What the app and the tests both work with."""
    import vizkit as vk

    return vk.Workspace()


@pytest.fixture(scope="session")
def live_app(workspace: Any) -> Iterator[Site]:
    """The app as `vizkit serve` shows it."""
    from vizkit_dash import create_server

    site = Site(create_server(workspace))
    yield site
    site.close()


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[Any], Site]]:
    """Serve any WSGI application until the tests are over."""
    sites: list[Site] = []

    def serve(application: Any) -> Site:
        sites.append(Site(application))
        return sites[-1]

    yield serve
    for site in sites:
        site.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a context of its own; at the end nothing may have gone wrong, and nobody else been asked."""
    contexts: list[Any] = []
    faults: list[str] = []

    def hear(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            faults.append(f"asked {request.url}")

    def open_(url: str, **options: Any) -> Any:
        context = chromium.new_context(**({"viewport": {"width": 1440, "height": 1000}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: faults.append(f"page error: {e}"))
        page.on("request", hear)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults, faults


def until(happened: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that the test itself can tell. (The page's own policy forbids scripts that wait inside it.)"""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def done(page: Any) -> None:
    """Wait until the panel is at rest with a result."""
    page.wait_for_selector(".vk-results.vk-done")


def asks(page: Any, ref: str, scope: str = "") -> None:
    """Wait until a picture is the one that is asked about, and its results are there."""
    page.wait_for_selector(f'{scope} .vk-caption .vk-help:text-is("{ref}")')
    until(lambda: page.locator(f"{scope} .vk-results.vk-done").count() and ref not in ranked(page, scope))


def ranked(page: Any, scope: str = "") -> list[str]:
    """The ids of the results, in order."""
    found: list[str] = page.eval_on_selector_all(f"{scope} .vk-results .vk-cell", "cells => cells.map(c => c.dataset.id)")
    return found


def query(page: Any, scope: str = "") -> str:
    """The reference of the picture that is asked about."""
    text: str = page.inner_text(f"{scope} .vk-caption .vk-help")
    return text
