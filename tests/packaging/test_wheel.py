"""What a release contains: the sdist, the wheel made from it, and what they say of themselves."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import re
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from typing import Any

import pytest
from click.testing import CliRunner

import vizkit as vk
from tests.packaging.places import Built
from vizkit.cli import cli

SOURCES = {"vizkit/": "", "plugins/": "plugins/", "dash_app/": "dash_app/", "spritemaps/vizkit_spritemaps/": "spritemaps/"}
"""Folders that are shipped -> the prefix that they lose in the wheel."""


@pytest.fixture(scope="session")
def wheel(built: Built) -> zipfile.ZipFile:
    return zipfile.ZipFile(built.wheel)


@pytest.fixture(scope="session")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_everything_in_the_wheel_begins_with_vizkit(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {t for t in top if not t.startswith("vizkit")} == set()
    assert top > {"vizkit", "vizkit_dash", "vizkit_spritemaps", f"vizkit-{vk.__version__}.dist-info"}
    assert top > set(project["project"]["entry-points"]["vizkit"].values())


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: zipfile.ZipFile, tracked: tuple[str, ...]) -> None:
    shipped = {name.removeprefix(lost) for folder, lost in SOURCES.items() for name in tracked if name.startswith(folder)}
    assert {n for n in wheel.namelist() if ".dist-info/" not in n} == shipped


def test_data_travels_with_the_code(wheel: zipfile.ZipFile) -> None:
    classes = json.loads(wheel.read("vizkit_efficientnet_lite/imagenet_classes.json"))
    assert (len(classes), classes[0], classes[282], classes[999]) == (1000, "tench", "tiger cat", "toilet tissue")
    assert b"{" in wheel.read("vizkit/draw/page.css")
    ends = {name.rpartition(".")[2] for name in wheel.namelist() if name.startswith("vizkit_dash/")}
    assert {"py", "js", "css", "toml", "typed"} <= ends


def test_every_package_with_code_is_typed(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    packages = {n.removesuffix("/__init__.py") for n in names if n.count("/") == 1 and n.endswith("/__init__.py")}
    untyped = {p for p in packages if f"{p}/py.typed" not in names}
    assert untyped <= {"vizkit_spritemaps"}  # data only


def test_no_test_and_no_document_is_installed(wheel: zipfile.ZipFile) -> None:
    parts = {part for name in wheel.namelist() for part in name.split("/")}
    assert not parts & {"tests", "docs", "plugins", "dash_app", "spritemaps", "conftest.py"}


def test_the_wheel_says_what_pyproject_says(metadata: Message, project: dict[str, Any]) -> None:
    said = project["project"]
    assert (metadata["Name"], metadata["Version"]) == ("vizkit", said["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert set(metadata.get_all("Provides-Extra") or ()) == set(said["optional-dependencies"])
    required = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert sorted(required) == sorted(said["dependencies"])


def test_the_wheel_offers_the_command_and_the_plugins(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt"))
    points = configparser.ConfigParser(delimiters="=")
    points.read_string(wheel.read(name).decode())
    assert set(points.sections()) == {"console_scripts", "vizkit"}  # no dash_hooks: it would load into every Dash app
    assert dict(points["console_scripts"]) == {"vizkit": "vizkit.cli:entry"}
    assert dict(points["vizkit"]) == project["project"]["entry-points"]["vizkit"]
    assert {f"{module}/__init__.py" for module in points["vizkit"].values()} <= set(wheel.namelist())


def test_every_plugin_folder_is_an_entry_point(tracked: tuple[str, ...], project: dict[str, Any]) -> None:
    folders = {name.split("/")[1] for name in tracked if name.startswith("plugins/")}
    assert folders == set(project["project"]["entry-points"]["vizkit"].values())


def test_the_sdist_can_be_tested_and_has_no_rubbish(built: Built, tracked: tuple[str, ...]) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/conftest.py", "docs/make.py", "PKG-INFO"} <= names
    assert names - {"PKG-INFO"} <= set(tracked)


def test_one_version(built: Built, project: dict[str, Any]) -> None:
    version = project["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert vk.__version__ == version
    assert importlib.metadata.version("vizkit") == version
    assert CliRunner().invoke(cli, ["--version"]).output == f"vizkit {version}\n"
    assert built.wheel.name == f"vizkit-{version}-py3-none-any.whl"
    assert built.sdist.name == f"vizkit-{version}.tar.gz"
