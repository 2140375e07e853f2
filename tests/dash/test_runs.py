"""What the app does without a browser: runs that nobody watches, what it reads, what it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dash import Dash
from vizkit_dash import TechniqueAIO, attach
from vizkit_dash.attached import Attached
from vizkit_dash.choice import Choice
from vizkit_dash.controls import fields
from vizkit_dash.facts import Facts
from vizkit_dash.jobs import Runs
from vizkit_dash.show import Panel, _left_out

import vizkit as vk
from tests.dash.conftest import until

_begun = threading.Event()


@vk.technique("endless", title="Endless", question="When does it end?")
def endless(progress: vk.Progress, *, seed: int = 0) -> vk.Result:
    """Go on until nobody watches."""
    _begun.set()
    while True:
        progress.report(1, 3)


class Unread(vk.DatasetBase):
    name = title = "unread"

    def ids(self) -> list[str]:
        return ["a", "b"]

    def content(self, id: str) -> Any:
        raise AssertionError("a picture was read")

    def skipped(self) -> list[tuple[str, str]]:
        return [("broken.png", "is empty")]


class Readable(Unread):
    name = title = "readable"

    def content(self, id: str) -> Any:
        return np.full((40, 40, 3), 9, np.uint8)


class Plugin:
    @vk.hookimpl
    def register_techniques(self) -> list[Any]:
        return [endless]

    @vk.hookimpl
    def register_datasets(self) -> list[Any]:
        return [Readable(), Unread()]


@pytest.fixture
def small(places: Any) -> vk.Workspace:
    return vk.Workspace(vk.Registry([Plugin()]))


@pytest.fixture
def runs(small: vk.Workspace) -> Iterator[Runs]:
    runs = Runs(small, sweep=0.05, forgotten=0.2)
    yield runs
    runs.close()


def test_a_run_ends_when_its_tab_is_closed(runs: Runs) -> None:
    ticket = runs.start(Choice("endless"))
    until(lambda: (look := runs.look(ticket)) and look.phase == "running", 20)
    job = runs._runs[ticket].job
    assert job is not None
    assert job.finished.wait(10)
    assert job.status.state == "cancelled"
    until(lambda: runs._sweeper is None, 5)


def test_a_stopped_run_begins_again_under_its_ticket(small: vk.Workspace) -> None:
    runs = Runs(small)
    ticket = runs.start(Choice("endless"))
    until(lambda: (look := runs.look(ticket)) and look.phase == "running", 20)
    assert not runs.again(ticket)
    runs.leave(ticket)
    look = runs.look(ticket)
    assert look is not None
    assert look.phase == "cancelled"
    assert runs.again(ticket)
    until(lambda: (look := runs.look(ticket)) and look.phase == "running", 20)
    runs.close()


def test_only_an_open_dataset_is_read(small: vk.Workspace, workspace: vk.Workspace) -> None:
    facts = Facts(small)
    unread = small.registry.datasets["unread"]
    until(lambda: facts.size(unread).value, 5)
    assert facts.size(unread).value == (2, 0)
    assert ("pictures", "unread") not in facts._known
    facts.close()
    facts = Facts(workspace)
    search = workspace.registry.technique("search")
    until(lambda: not fields(search, Choice("search"), facts)[1], 60)
    opened = {name for kind, name in facts._known if kind in ("layers", "pictures")}
    assert opened == {workspace.model().name}
    facts.close()


def test_a_panel_of_another_workspace_says_so(small: vk.Workspace, workspace: vk.Workspace) -> None:
    app = Dash(__name__)
    attach(app, workspace)
    made = TechniqueAIO("endless", id="x", workspace=small)
    own = Attached()
    own.given = workspace
    panel = Panel(own, "/", Choice("endless"), made.children[2].data, {"group": "x", "aio_id": "x"})
    assert "another workspace" in str(panel.update()["results.children"])


def test_files_left_out_are_named(small: vk.Workspace) -> None:
    own = Attached()
    own.given = small
    own.facts.pictures(small.dataset())
    until(lambda: own.facts.left_out(small.dataset()), 10)
    assert own.facts.left_out(small.dataset()) == (("broken.png", "is empty"),)
    said = str(_left_out([(f"{n}.png", "is empty") for n in range(60)]))
    assert "60 files left out" in said
    assert "49.png: is empty" in said
    assert "50.png" not in said
    own.close()
