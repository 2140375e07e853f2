"""The reference is made from the code, is fresh, and lacks nothing: no hook, view, command, technique or public name."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

import vizkit as vk
from vizkit import views
from vizkit.cli import cli
from vizkit.hookspecs import Hooks
from vizkit.store import Home, Store


@pytest.fixture(scope="module")
def page(docs: Path) -> dict[str, dict[str, str]]:
    """Each page of the reference: heading -> the text below it."""
    return {path.stem: chapters(path.read_text("utf-8")) for path in (docs / "reference").glob("*.md")}


def chapters(text: str) -> dict[str, str]:
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def cells(text: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.M)


def test_the_reference_is_fresh(make: ModuleType, docs: Path) -> None:
    assert "".join(make.stale(make.pages(), docs)) == ""


def test_a_stale_page_is_shown_as_a_difference(make: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference/a.md").write_text("one\ntwo\nthree\n", "utf-8")
    (tmp_path / "reference/old.md").write_text("", "utf-8")
    lines = list(make.stale({"reference/a.md": "one\n2\nthree\n", "new.json": "{}\n"}, tmp_path))
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")] == ["-two\n", "+2\n", "+{}\n"]
    assert lines[-1].startswith("docs/reference/old.md is made by nothing")
    assert list(make.stale({"reference/a.md": "one\ntwo\nthree\n", "reference/old.md": ""}, tmp_path)) == []


def test_the_command_checks_and_mends(docs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "docs"
    shutil.copytree(docs, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(docs.parent / "pyproject.toml", tmp_path)
    hooks = copy / "reference" / "hooks.md"
    right = hooks.read_text("utf-8")
    hooks.write_text(right.replace("## register_models", "## register_nothing"), "utf-8")

    def command(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, str(copy / "make.py"), *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout

    code, said = command("--check")
    assert code == 1
    assert "-## register_nothing\n+## register_models\n" in said
    assert said.endswith("The reference is stale. Run: python docs/make.py\n")
    assert command() == (0, "")
    assert hooks.read_text("utf-8") == right
    assert command("--check") == (0, "The reference is fresh.\n")


def test_every_hook_is_there_with_its_arguments(page: dict[str, dict[str, str]]) -> None:
    hooks = {name: hook for name, hook in vars(Hooks).items() if name.startswith("register_")}
    assert set(hooks) == {"register_models", "register_datasets", "register_techniques"}
    assert set(page["hooks"]) - {"Hooks"} == set(hooks)
    for name, hook in hooks.items():
        text = page["hooks"][name]
        signature = inspect.signature(hook)
        arguments = ", ".join(p for p in signature.parameters if p != "self")
        assert f"def {name}({arguments}) -> {signature.return_annotation}" in text
        assert (inspect.getdoc(hook) or "nothing") in text


def test_every_view_is_there_with_its_fields(page: dict[str, dict[str, str]]) -> None:
    assert len(views.VIEWS) == 14
    for view in views.VIEWS:
        text = page["views"][view.__name__]
        kind = re.search(r"`kind`: `([a-z-]+)`", text)
        assert kind
        assert views.json_schema()["discriminator"]["mapping"][kind[1]] == f"#/$defs/{view.__name__}"
        assert cells(text) == [field.name for field in dataclasses.fields(view) if field.init]
        assert (inspect.getdoc(view) or "nothing") in text
    for part in (vk.GridItem, vk.Box, vk.Link, vk.TreeNode, vk.GraphNode, vk.GraphEdge):
        assert cells(page["views"][part.__name__]) == [field.name for field in dataclasses.fields(part)]


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, click.Context(child, info_name=name, parent=context))


def test_every_command_is_there_with_its_options(make: ModuleType, page: dict[str, dict[str, str]], tmp_path: Path) -> None:
    workspace = vk.Workspace(make.first_party(), Store(tmp_path), Home(tmp_path))
    found = dict(commands(cli, click.Context(cli, info_name="vizkit", obj=workspace)))
    assert {"vizkit run search", "vizkit list layers", "vizkit cache explain", "vizkit serve"} <= set(found)
    assert set(page["cli"]) - {"Command line"} == set(found)
    for path, command in found.items():
        text = page["cli"][path]
        assert f"Usage: {path} " in text
        flags = {flag for p in command.params if isinstance(p, click.Option) for flag in p.opts}
        assert {flag for flag in flags if not re.search(rf"^  (-\w, )?{flag}\b", text, flags=re.M)} == set()


def test_every_technique_is_there_with_its_parameters(make: ModuleType, page: dict[str, dict[str, str]]) -> None:
    ours = make.first_party().techniques
    assert "search" in ours
    assert set(page["techniques"]) - {"Techniques"} == set(ours)
    for id, technique in ours.items():
        text = page["techniques"][id]
        assert f"**{technique.title}.** {technique.question}" in text
        assert technique.summary in text
        assert technique.explanation in text
        assert cells(text) == list(technique.signature.params)


def test_the_parameters_of_the_search_as_a_person_reads_them(page: dict[str, dict[str, str]]) -> None:
    text = page["techniques"]["search"]
    assert "- Takes: model, images\n" in text
    assert "| `top` | How many results | a whole number from 1 to 1000 | `15` |\n" in text
    assert "| `layer` | The layer whose activations are compared | a layer's path |  |\n" in text
    assert "| one of mean, max, none | `mean` |\n" in text


def test_every_public_name_is_there(page: dict[str, dict[str, str]]) -> None:
    assert [name for name in vk.__all__ if name not in page["python"]] == []
    for name in vk.__all__:
        text = page["python"][name]
        block = re.search(r"```python\n(.*?)\n```", text, flags=re.S)
        assert block, f"{name} is not shown"
        assert re.match(rf"(class |def )?{name}\b", block[1])


def test_every_public_class_and_function_says_what_it_is(page: dict[str, dict[str, str]]) -> None:
    silent = []
    for name in vk.__all__:
        before, block, after = re.split(r"```", page["python"][name], maxsplit=2)
        alias = block.startswith(f"python\n{name} = ")  # its definition says it all
        if not alias and (before.strip() or not after.strip() or after.strip().startswith("- ")):
            silent.append(name)
    assert silent == []


def test_signatures_are_as_they_are_written(page: dict[str, dict[str, str]]) -> None:
    python = page["python"]
    assert 'def package_file(package: str, path: str, *, distribution: str = "") -> Path\n' in python["package_file"]
    assert 'Result(\n    *views: v.View | Section,\n    summary: str = "",\n' in python["Result"]
    assert "class NotFound(VizkitError)\n" in python["NotFound"]
    assert 'Channel(*, role: str | None = None, of: str = "layer")\n' in python["Channel"]
    assert "Link(technique: str, params: dict[str, Any] = dict(), bind: str | None = None)\n" in python["Link"]
    assert "LayerName = Annotated[str, Layer()]\n" in python["LayerName"]
    assert "\n- `layers() -> tuple[LayerInfo, ...]`: Every addressable layer" in python["ModelAdapter"]
    assert "\n- `labels: tuple[str, ...]`: Class names in index order" in python["ModelAdapter"]
    assert "\n- `image_size: Size`\n" in python["ModelAdapter"]
    assert "\n- `problems: list[Problem]`\n" in python["Registry"]
    assert "\n- `ImageRef.parse(text: str) -> ImageRef`: Read" in python["ImageRef"]


def as_python(block: str) -> str:
    """What stands in a block of the reference, as a module: a class or a definition without its body, or an assignment."""
    head, _, rest = block.partition("\n") if block.startswith("class ") else ("", "", block)
    stub = rest if not rest or re.match(r"\w+ = ", rest) else f"def {rest.removeprefix('def ')}: ..."
    return f"{head}: ...\n{stub}" if head else stub


def test_what_is_shown_as_python_is_python(docs: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)\n```", (docs / "reference/python.md").read_text("utf-8"), flags=re.S)
    assert len(blocks) == len(vk.__all__)
    names = [ast.parse(as_python(block)).body[0] for block in blocks]
    shown = {n.targets[0].id if isinstance(n, ast.Assign) else n.name for n in names}  # type: ignore[attr-defined]
    assert shown == set(vk.__all__)
