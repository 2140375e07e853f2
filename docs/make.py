"""Write the reference pages and the JSON schema from the code: `python docs/make.py`.

With --check nothing is written; the exit code is 1 where a page is stale, and the difference is shown.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import signatures
from result_schema import result_schema

import vizkit as vk
from vizkit import views
from vizkit.cli import cli
from vizkit.hookspecs import Hooks
from vizkit.store import Home, Store

ROOT = Path(__file__).resolve().parents[1]
_MADE = "<!-- Made by `python docs/make.py` from the code; change it there. -->"
_WIDTH = 100


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    wanted = pages()
    if parser.parse_args().check:
        difference = "".join(stale(wanted, ROOT / "docs"))
        print(f"{difference}\nThe reference is stale. Run: python docs/make.py" if difference else "The reference is fresh.")
        return 1 if difference else 0
    for name, text in wanted.items():
        (ROOT / "docs" / name).parent.mkdir(exist_ok=True)
        (ROOT / "docs" / name).write_text(text, "utf-8")
    return 0


def pages() -> dict[str, str]:
    """Every generated file below docs/ with its text."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = vk.Workspace(first_party(), Store(Path(folder, "cache")), Home(Path(folder, "home")))
        return {
            "reference/cli.md": cli_page(workspace),
            "reference/techniques.md": techniques_page(workspace.registry),
            "reference/views.md": views_page(),
            "reference/hooks.md": hooks_page(),
            "reference/python.md": python_page(),
            "result.schema.json": json.dumps(result_schema(), indent=2, ensure_ascii=False) + "\n",
        }


def stale(wanted: Mapping[str, str], folder: Path) -> Iterator[str]:
    """What in a folder differs from the wanted texts, as the lines of a unified diff; and pages that nothing makes."""
    for name, text in wanted.items():
        path = folder / name
        there = path.read_text("utf-8") if path.exists() else ""
        yield from difflib.unified_diff(there.splitlines(True), text.splitlines(True), f"docs/{name}", "from the code", n=1)
    for path in sorted((folder / "reference").glob("*")):
        if f"reference/{path.name}" not in wanted:
            yield f"docs/reference/{path.name} is made by nothing; write it elsewhere, or remove it\n"


def first_party() -> vk.Registry:
    """The plugins of this repository, whatever else is installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    registry = vk.Registry(importlib.import_module(m) for m in sorted(project["entry-points"]["vizkit"].values()))
    if registry.problems:
        raise SystemExit("\n".join(map(str, registry.problems)))
    return registry


def cli_page(workspace: vk.Workspace) -> str:
    """The --help of every command."""
    parts = ["# Command line", _MADE, "Every command says this with `--help`. A mistake is one line and exit code 2."]
    context = click.Context(cli, info_name="vizkit", obj=workspace, terminal_width=_WIDTH, **cli.context_settings)
    for path, text in commands(cli, context):
        parts += [f"## {path}", f"```text\n{text}\n```"]
    return _page(parts)


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Each command below this one, itself first: its full name and its help."""
    help = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, help
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, click.Context(child, info_name=name, parent=context))


def techniques_page(registry: vk.Registry) -> str:
    """Each technique with its question, how it works, its inputs and its parameters."""
    parts = [
        "# Techniques",
        _MADE,
        "What vizkit can be asked. Each runs in the app, with `vizkit run` and with `vizkit.run`;"
        " the parameters are the same everywhere, and a default that is not given here comes from the model or the dataset.",
    ]
    for technique in sorted(registry.techniques.values(), key=lambda t: t.id):
        inputs = [kind for kind in technique.signature.inputs.values() if kind not in ("progress", "runner")]
        facts = {
            "Takes": ", ".join(inputs),
            "Needs a model with": ", ".join(sorted(technique.needs)),
            "Uses": ", ".join(f"[`{name}`](#{name})" for name in sorted(technique.uses)),
        }
        parts += [
            f"## {technique.id}",
            f"**{technique.title}.** {technique.question}",
            f"{technique.summary}\n\n{technique.explanation}".strip(),
            "\n".join(f"- {fact}: {value}" for fact, value in facts.items() if value),
        ]
        rows = [
            (
                f"`{name}`",
                param.description,
                param.allowed(),
                "required" if param.required else _code(param.schema.get("default")),
            )
            for name, param in technique.signature.params.items()
        ]
        parts += _table(("parameter", "what it is", "allowed", "default"), rows)
    return _page(parts)


def views_page() -> str:
    """Each view and what views are made of, with their fields."""
    parts = [
        "# Views",
        _MADE,
        "The pictures that a `Result` can hold. The app and the exports draw every one of them, so a technique contains no"
        " drawing. In JSON a view is an object with its `kind`; [the schema](../result.schema.json) has every field.",
        "\n".join(
            f"- `{a.name}` is `{signatures.plain(a.definition)}`{f': {a.text}' if a.text else ''}"
            for a in signatures.aliases("vizkit.views")
            if a.name in ("Array", "Picture", "ColourMap")
        ),
    ]
    kinds = set(views.VIEWS)
    members = [getattr(vk, n) for n in vk.__all__]
    helpers = [m for m in members if isinstance(m, type) and m.__module__ == "vizkit.views" and m not in kinds]
    for view in [*views.VIEWS, *helpers]:
        fields = signatures.fields(view)
        kind = next((f.default for f in fields if f.name == "kind"), None)
        parts += [f"## {view.__name__}", *([f"`kind`: `{json.loads(kind)}`"] if kind else []), signatures.docstring(view)]
        rows = [
            (f"`{f.name}`", _code(f.annotation), "required" if f.default is None else _code(f.default))
            for f in fields
            if f.name != "kind"
        ]
        parts += _table(("field", "type", "default"), rows)
    return _page(parts)


def hooks_page() -> str:
    """The hooks of a plugin."""
    parts = [
        "# Hooks",
        _MADE,
        "A plugin is a module in the entry-point group `vizkit` with any of these functions, each marked with"
        " `@vizkit.hookimpl`. What it gets wrong is shown by `vizkit plugins`; the rest goes on working.",
        '```toml\n[project.entry-points.vizkit]\nmine = "vizkit_mine"\n```',
    ]
    for name, hook in vars(Hooks).items():
        if not name.startswith("_"):
            parts += [f"## {name}", _python(f"def {signatures.call(hook, name)}"), signatures.docstring(hook)]
    return _page(parts)


def python_page() -> str:
    """Every public name, in the chapters of the modules that they come from."""
    parts = [
        "# Python",
        _MADE,
        "All that a plugin or a program may use, after `import vizkit as vk`. What is not here may change at any time.",
    ]
    for module, names in signatures.public_names().items():
        parts += [
            f"## {module.rpartition('.')[2].capitalize()}",
            signatures.first_paragraph(importlib.import_module(module)),
        ]
        known = {a.name: a for a in signatures.aliases(module)}
        for name in names:
            thing = getattr(vk, name)
            parts.append(f"### {name}")
            if name in known:
                parts += [_python(f"{name} = {signatures.wrapped(known[name].definition)}"), known[name].text]
            elif isinstance(thing, type):
                lines = [f"- `{m.form}`{f': {m.text}' if m.text else ''}" for m in signatures.members(thing)]
                parts += [_python(signatures.constructor(thing)), signatures.first_paragraph(thing), "\n".join(lines)]
            else:
                parts += [_python(f"def {signatures.call(thing, name)}"), signatures.first_paragraph(thing)]
    return _page(parts)


def _page(parts: list[str]) -> str:
    return "\n\n".join(p for p in parts if p) + "\n"


def _python(text: str) -> str:
    return f"```python\n{text}\n```"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [heads, tuple("---" for _ in heads), *rows]
    return ["\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)]


def _code(value: Any) -> str:
    """A value in a table's cell; nothing for what is decided elsewhere."""
    if value is None:
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    sys.exit(main())
