"""`vizkit serve` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dash.conftest import done, until

COMMAND = [sys.executable, "-c", "from vizkit.cli import entry; entry()", "serve", "--no-browser"]
SLOW = float(os.environ.get("VIZKIT_SLOW_MACHINE", "1"))
"""How much more time than ours a machine is given."""


class Served:
    def __init__(self, process: Any, url: str, started: float) -> None:
        self.process, self.url, self.started = process, url, started

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def interrupt(self, how: signal.Signals = signal.SIGINT) -> tuple[int, float, str]:
        """Ctrl-C: the exit code, the seconds that it took, and what was said."""
        before = time.monotonic()
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - before, err


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start the command with an empty home and cache."""
    running: list[Any] = []

    def start(*arguments: str) -> Served:
        started = time.monotonic()
        env = os.environ | {"VIZKIT_HOME": str(tmp_path / "home"), "VIZKIT_CACHE": str(tmp_path / "cache")}
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        line = process.stdout.readline()  # type: ignore[union-attr]
        found = re.fullmatch(r"vizkit is at (http://127\.0\.0\.1:\d+/)\n", line)
        assert found, line
        return Served(process, found[1], started)

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_controls_answer_while_tensorflow_loads(cold: Callable[..., Served], browse: Callable[..., Any]) -> None:
    app = cold()
    listens = app.seconds
    page = browse(f"{app.url}search?dataset=photos")
    page.wait_for_selector(".vk-large")
    picture = app.seconds
    page.wait_for_selector("[data-field=metric] select")
    times = []
    for metric in ("euclidean", "chebyshev", "manhattan"):
        before = time.monotonic()
        page.select_option("[data-field=metric] select", metric)
        page.wait_for_url(f"**metric={metric}")  # the server has taken the choice
        times.append(round(1000 * (time.monotonic() - before)))
    loading = not page.query_selector(".vk-results.vk-done")
    page.select_option("[data-field=metric] select", "cosine")
    page.wait_for_selector(".vk-results .vk-cell")
    first = app.seconds
    done(page)
    print(f"\nlistens {listens:.1f} s, picture {picture:.1f} s, ranked {first:.1f} s, controls {sorted(times)} ms")
    assert loading
    assert sorted(times)[1] < 300 * SLOW
    page.goto("about:blank")
    code, seconds, _ = app.interrupt()
    assert code == 130
    assert seconds < 4


def test_something_true_is_seen_soon(cold: Callable[..., Served], browse: Callable[..., Any]) -> None:
    app = cold()
    page = browse(app.url)
    page.wait_for_selector(".vk-large")
    picture = app.seconds
    page.wait_for_selector(".vk-results .vk-cell")
    first, partial = app.seconds, page.locator(".vk-results.vk-partial").count()
    words = page.inner_text(".vk-status")
    done(page)
    print(f"\npicture {picture:.1f} s, first ranking {first:.1f} s, all {app.seconds:.1f} s")
    assert partial
    assert re.match(r"Looking at the images: \d+ of 202", words)
    assert first < 30 * SLOW


def test_ctrl_c_ends_a_running_job(cold: Callable[..., Served], browse: Callable[..., Any]) -> None:
    app = cold()
    page = browse(f"{app.url}search?dataset=digits")
    page.wait_for_selector(".vk-results.vk-partial")
    page.goto("about:blank")
    code, seconds, said = app.interrupt()
    assert code == 130
    assert seconds < 4
    assert said.strip() == "Stopped."


def test_being_told_to_end_is_no_failure(cold: Callable[..., Served], browse: Callable[..., Any]) -> None:
    app = cold()
    page = browse(app.url)
    page.wait_for_selector(".vk-large")
    page.goto("about:blank")
    code, seconds, _ = app.interrupt(signal.SIGTERM)
    assert code == 0
    assert seconds < 4


def test_cancel_stops_the_run_and_keeps_what_there_is(cold: Callable[..., Served], browse: Callable[..., Any]) -> None:
    app = cold()
    page = browse(f"{app.url}search?dataset=digits")
    page.wait_for_selector(".vk-results.vk-partial .vk-cell")
    page.click("text=Cancel")
    stopped = r"Stopped after \d+ of 1,797 images; the score and ranks are of these only\."
    until(lambda: re.fullmatch(stopped, page.inner_text(".vk-status-text")), 5)
    assert page.locator(".vk-results .vk-cell").count() > 0
    assert page.locator(".vk-results.vk-partial").count()
    assert page.evaluate("document.activeElement.innerText") == "Go on"
    page.keyboard.press("Enter")
    page.wait_for_selector("button:text-is('Cancel')")
    page.wait_for_selector(".vk-status-text:has-text('So far the score and ranks are of these first')")
    page.goto("about:blank")


def test_the_network_is_refused() -> None:
    from vizkit_dash import serve

    import vizkit as vk

    with pytest.raises(
        vk.VizkitError, match=r"does not listen at '0\.0\.0\.0'.*no passwords.*ssh -L 8050:127\.0\.0\.1:8050"
    ):
        serve(vk.Workspace(), host="0.0.0.0", browser=False)


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"vizkit: Port {port} of 127.0.0.1 is in use. Take any free one with: vizkit serve --port 0\n"
