"""What lies in the repository, what it depends on, and what its texts must not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

HOUSE = {"pyproject.toml", "vizkit", "plugins", "dash_app", "spritemaps", "tests", "docs"}
USUAL = {".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md"}
FOLDERS = {"plugins", "dash_app", "spritemaps"}
"""Folders for people: their names are not imported, so they hold no __init__.py."""

MACHINE = re.compile(r"(?<![\w.~$}<>-])/(?:home|root|Users|work|opt|mnt|srv|private)/[\w.-]+|\b[A-Z]:\\+Users\\+\w")
INDEX = re.compile(
    r"(?i)\b(?:extra[-_])?index[-_]url\b|https?://[^\s\"')>]+/simple\b|\bregistry\s*=\s*\S*://"
    r"|https?://[\w.:@-]*\b(?:pypi|pythonhosted|npmjs|registry|proxy|mirrors?|packages?)\b"
)


def test_the_house_has_seven_names(tracked: tuple[str, ...]) -> None:
    top = {name.partition("/")[0] for name in tracked}
    assert top >= HOUSE
    assert top - HOUSE <= USUAL


def test_folders_for_people_are_no_packages(tracked: tuple[str, ...]) -> None:
    assert not {f"{folder}/__init__.py" for folder in FOLDERS} & set(tracked)
    inside = {name.split("/")[1] for name in tracked if name.partition("/")[0] in FOLDERS - {"spritemaps"}}
    assert {name for name in inside if not name.startswith("vizkit_")} == set()
    packages = {name.rpartition("/")[0] for name in tracked if re.fullmatch(r"(\w+)/vizkit_\w+/__init__.py", name)}
    assert {f"{name.partition('/')[0]}/{name.split('/')[1]}" for name in tracked if "/vizkit_" in f"/{name}"} >= packages
    assert {p.partition("/")[0] for p in packages} == FOLDERS


def requirements(project: dict[str, Any]) -> Iterator[Requirement]:
    yield from map(Requirement, project["build-system"]["requires"])
    yield from map(Requirement, project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        yield from map(Requirement, extra)


def bounded_above(specifier: SpecifierSet) -> bool:
    return any(s.operator not in (">=", ">", "!=") for s in specifier)


@pytest.mark.parametrize(
    ("text", "pinned"), [("a>=1", False), ("a>=1,!=1.2", False), ("a<2", True), ("a==1.0", True), ("a~=1.2", True)]
)
def test_what_an_upper_pin_is(text: str, pinned: bool) -> None:
    assert bounded_above(Requirement(text).specifier) is pinned


def test_no_dependency_has_an_upper_pin(project: dict[str, Any]) -> None:
    found = list(requirements(project))
    assert len(found) > 20
    assert [str(r) for r in found if bounded_above(r.specifier)] == []
    assert [r.name for r in found if not r.specifier and r.name != "vizkit"] == []  # each has a lower bound
    assert not bounded_above(SpecifierSet(project["project"]["requires-python"]))
    assert [str(r) for r in found if r.url] == []


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("see /" + "home/ada/pictures", MACHINE, True),
        ("'/" + "opt/venv/bin/python'", MACHINE, True),
        ("C:\\" + "Users\\ada", MACHINE, True),
        ("~/pictures and https://example.org/" + "work/1", MACHINE, False),
        ("docs/opt/x, ./work/x", MACHINE, False),
        ("pip install --index" + "-url x", INDEX, True),
        ("https://mir" + "ror.example.org/simple/", INDEX, True),
        ("https://json-schema.org/draft/2020-12/schema", INDEX, False),
        ("http://127.0.0.1:8050/search?simple=1", INDEX, False),
    ],
)
def test_what_the_texts_are_searched_for(text: str, pattern: re.Pattern[str], found: bool) -> None:
    assert bool(pattern.search(text)) is found


def test_no_text_names_a_machine_or_an_index(root: Path, tracked: tuple[str, ...]) -> None:
    seen, found = 0, []
    for name in tracked:
        try:
            text = (root / name).read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        seen += 1
        for number, line in enumerate(text.splitlines(), start=1):
            found += [f"{name}:{number}: {m[0]}" for pattern in (MACHINE, INDEX) if (m := pattern.search(line))]
    assert seen > 50
    assert found == []
