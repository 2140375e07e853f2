"""An installed vizkit: what it leaves in site-packages, and that it works from there, away from the checkout.

The environments are empty to begin with. Once it is seen what an installation left there, they borrow the packages of the
environment that runs the tests, so nothing is downloaded and TensorFlow is not installed again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vizkit as vk
from tests.packaging.places import Built, Environment

WHERE = "import vizkit as a, vizkit_dash as b, vizkit_search as c; print(a.__file__, b.__file__, c.__file__, sep='\\n')"


@pytest.fixture(scope="module")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an empty environment, alone."""
    made = Environment.empty(tmp_path_factory.mktemp("wheel"))
    assert made.files() == set()
    made.pip("install", "--no-deps", "--no-index", str(built.wheel))
    return made


@pytest.fixture(scope="module")
def installed(environment: Environment) -> Environment:
    """The same, with what vizkit depends on."""
    environment.borrow()
    return environment


def test_the_wheel_leaves_only_names_that_begin_with_vizkit(environment: Environment, project: dict[str, Any]) -> None:
    plugins = set(project["project"]["entry-points"]["vizkit"].values())
    found = environment.files() - {"borrowed.pth"}
    assert found == plugins | {"vizkit", "vizkit_dash", "vizkit_spritemaps", f"vizkit-{vk.__version__}.dist-info"}
    before = {path.name for path in (Environment.empty(environment.place / "other").place / "bin").iterdir()}
    assert {path.name for path in (environment.place / "bin").iterdir()} - before == {"vizkit"}


def test_what_runs_is_what_was_installed(installed: Environment) -> None:
    for file in installed.run("python", "-Ic", WHERE).splitlines():
        assert Path(file).is_relative_to(installed.site)


def test_the_installed_command_finds_the_models(installed: Environment) -> None:
    models = {m["name"]: m for m in json.loads(installed.run("vizkit", "list", "models", "--json"))}
    lite0 = models["efficientnet-lite0"]
    assert (lite0["height"], lite0["width"], lite0["classes"], len(lite0["curated"])) == (224, 224, 1000, 8)
    assert (models["efficientnet-lite1"]["height"], models["efficientnet-lite2"]["height"]) == (240, 260)


def test_the_installed_command_finds_the_plugins(installed: Environment, project: dict[str, Any]) -> None:
    found = json.loads(installed.run("vizkit", "plugins", "--json"))
    assert found["problems"] == []
    assert {p["name"]: p["version"] for p in found["plugins"]} == dict.fromkeys(
        project["project"]["entry-points"]["vizkit"], vk.__version__
    )
    search = next(p for p in found["plugins"] if p["name"] == "search")
    assert search["techniques"] == ["search"]
    assert "search" in installed.run("vizkit", "plugins")


def test_the_installed_command_knows_its_version(installed: Environment) -> None:
    assert installed.run("vizkit", "--version") == f"vizkit {vk.__version__}\n"


def test_an_editable_install_points_to_the_checkout(root: Path, tmp_path: Path) -> None:
    made = Environment.empty(tmp_path / "editable")
    made.borrow()  # first: the build backend runs in this environment
    made.pip("install", "--no-deps", "--no-index", "--no-build-isolation", "--editable", str(root))
    left = made.files() - {"borrowed.pth"}
    assert f"vizkit-{vk.__version__}.dist-info" in left
    (pointer,) = (name for name in left if not name.startswith("vizkit"))
    assert pointer.endswith("vizkit.pth")  # hatchling's own name for it
    lines = (made.site / pointer).read_text("utf-8").split()
    assert {Path(line).relative_to(root).as_posix() for line in lines} == {".", "plugins", "dash_app", "spritemaps"}
    for file in made.run("python", "-Ic", WHERE).splitlines():
        assert Path(file).is_relative_to(root)
    assert json.loads(made.run("vizkit", "plugins", "--json"))["problems"] == []


def test_a_plain_install_builds_the_same_wheel(root: Path, environment: Environment, tmp_path: Path) -> None:
    made = Environment.empty(tmp_path / "plain")
    made.borrow()
    made.pip("install", "--no-deps", "--no-index", "--no-build-isolation", str(root))
    (made.site / "borrowed.pth").unlink()
    assert made.files() == environment.files() - {"borrowed.pth"}
    ours, theirs = ({p.relative_to(e.site) for p in e.site.rglob("*.py")} for e in (made, environment))
    assert ours == theirs
